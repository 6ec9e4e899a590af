"""What the pages for operators are made of: history, shared answers, rows as text."""

import asyncio
import subprocess
import sys
from datetime import date, datetime
from decimal import Decimal

from glue.io.bar_feed import Batch, FeedBar
from glue.io.marts import as_points, as_text
from glue.settings import Settings
from tests.unit.dashboard_bars import T0, bar
from webapp import warehouse
from webapp.flushes import Flushes
from webapp.history import History
from webapp.hub import Hub
from webapp.shared import Shared

S0 = T0 // 1000


def test_throughput_and_latency_are_those_of_each_five_seconds_of_append_time():
    history = History()
    for second in range(10):
        history.add(T0 + second * 1000, T0 + second * 1000 - 600 - second, ticks=20)
    assert history.throughput(T0 + 10_000) == [[S0, 20.0, 1.0], [S0 + 5, 20.0, 1.0]]
    assert history.latency(T0 + 10_000) == [[S0, 602, 604], [S0 + 5, 607, 609]]


def test_a_step_that_is_not_over_is_not_shown_and_a_silent_one_is():
    history = History()
    history.add(T0, T0 - 600, ticks=5)
    assert history.throughput(T0 + 4999) == []
    assert history.throughput(T0 + 15_000) == [[S0, 1.0, 0.2], [S0 + 5, 0.0, 0.0], [S0 + 10, 0.0, 0.0]]
    assert history.latency(T0 + 10_000)[1] == [S0 + 5, None, None]


def test_a_quarter_of_an_hour_is_kept():
    history = History()
    for second in range(0, 2000, 5):
        history.add(T0 + second * 1000, T0 + second * 1000 - 600, ticks=5)
    history.add(T0, T0 - 600, ticks=5)  # read from the past
    rows = history.throughput(T0 + 2_000_000)
    assert (rows[0][0], rows[-1][0]) == (S0 + 1105, S0 + 1995)
    assert rows[0][2] == 0.2


def test_bars_of_another_day_have_throughput_and_no_latency():
    history = History()
    history.add(T0, T0 - 400 * 86_400_000, ticks=5)
    assert history.throughput(T0 + 5000) == [[S0, 1.0, 0.2]]
    assert history.latency(T0 + 5000) == [[S0, None, None]]


def test_the_past_fills_a_quarter_of_an_hour_whatever_the_cache_holds():
    now = T0 + 1_800_000
    hub = Hub(Settings(_env_file=None, dashboard_cache_bars=600), clock=lambda: now)
    past = [bar(second) for second in range(1_799, 0, -1)]
    wanted = [b for b in past if not hub_takes(hub, b)]
    assert len(wanted) == 900
    assert hub.cache.bar_count == 600
    rows = hub.history.throughput(now)
    assert (rows[0][0], {row[2] for row in rows}) == (S0 + 905, {1.0})


def hub_takes(hub, one):
    """Take a bar as the reader brings it from the past; tell whether it was passed over."""
    if hub.is_settled(one.symbol, one.start_ts_ms, one.end_ts_ms):
        return True
    hub.take(Batch([FeedBar(one, one.end_ts_ms, None, True)], []))
    return False


def test_an_answer_is_shared_until_it_is_too_old():
    now, made = [100.0], []

    def make() -> int:
        made.append(now[0])
        return len(made)

    async def ask() -> None:
        shared = Shared(make, lambda: now[0])
        assert shared.is_empty
        assert await asyncio.gather(*[shared.get(300) for _ in range(20)]) == [1] * 20
        now[0] += 299
        assert (await shared.get(300), shared.left_s(300)) == (1, 1)
        assert await shared.get(float("inf")) == 1
        now[0] += 1
        assert await shared.get(300) == 2

    asyncio.run(ask())
    assert made == [100.0, 400.0]


def test_a_failed_answer_is_kept_for_ten_seconds_after_it_came():
    now, answers = [100.0], ["no", "no", "yes"]

    def make() -> str:
        now[0] += 60
        return answers.pop(0)

    async def ask() -> None:
        shared = Shared(make, lambda: now[0], has_failed=lambda answer: answer == "no")
        assert await asyncio.gather(*[shared.get(300) for _ in range(20)]) == ["no"] * 20
        now[0] += 9
        assert (await shared.get(float("inf")), shared.left_s(300)) == ("no", 1)
        now[0] += 1
        assert await shared.get(float("inf")) == "no"
        now[0] += 10
        assert await shared.get(300) == "yes"
        now[0] += 100
        assert (await shared.get(300), shared.left_s(300)) == ("yes", 140)

    asyncio.run(ask())
    assert answers == []


def test_nothing_of_a_symbol_is_shown_under_the_name_of_another_one():
    page = warehouse.Warehouse(_reflex_internal_init=True)
    page._turn_to("AAPL")
    assert page.asked == ""
    page.asked = page.failed = page.again = "2026-11-24T15:00:00Z"
    page.error, page.columns, page.rows = "no", [["start"]], [[["1"]]]
    page.points = [[[1.0, 2.0]]]
    page._turn_to("AAPL")
    assert page.rows == [[["1"]]]
    page._turn_to("NVDA")
    nothing = [[] for _ in warehouse.QUERIES]
    assert (page.symbol, page.columns, page.rows, page.points) == ("NVDA", nothing, nothing, nothing)
    assert (page.asked, page.error, page.failed, page.again) == ("", "", "", "")


def test_a_flush_is_fresh_for_ten_seconds_and_only_where_it_was_seen_to_happen():
    now, written = [100.0], [60_000]
    flushes = Flushes(lambda: written[0], lambda: now[0])

    def look(after_s: float, until_ms: int) -> bool:
        now[0] += after_s
        written[0] = until_ms
        return asyncio.run(flushes.is_fresh())

    assert not look(0, 60_000)  # it was there at the start: nobody knows since when
    assert not look(5, 60_000)
    assert look(5, 120_000)
    assert [look(5, 120_000) for _ in range(3)] == [True, True, False]
    assert not look(600, 180_000)  # no page was open meanwhile
    assert look(5, 240_000)


def test_the_warehouse_is_asked_again_at_a_flush_and_not_when_five_minutes_are_over(monkeypatch):
    now, written, asked = [0.0], [0], []
    monkeypatch.setattr(warehouse, "flushes", Flushes(lambda: written[0], lambda: now[0]))

    async def open_page() -> None:
        shared = Shared(lambda: asked.append(now[0]), lambda: now[0])
        while now[0] < 2000:
            if await warehouse.is_due(shared):
                await shared.get(warehouse.LEAST_S - warehouse.JITTER_S)
            now[0] += 5.0
            written[0] = int((now[0] - 153) // 300)  # a flush each five minutes

    asyncio.run(open_page())
    assert asked == [0.0, 455.0, 755.0, 1055.0, 1355.0, 1655.0, 1955.0]


def test_numbers_have_the_decimals_that_a_trader_expects():
    names = ["START", "OPEN", "CLOSE", "VWAP", "VOLUME", "TICKS", "LOG_RETURN_PCT"]
    rows = [
        (datetime(2026, 11, 24, 21, 1), Decimal("189.50000000"), Decimal("189.6"),  # noqa: DTZ001
         Decimal("189.43217654"), Decimal("4.01230000"), 1795, 0.0123456),
        (date(2026, 11, 24), Decimal("1189.00000000"), Decimal("1.00"), None, Decimal("2"), 2, None),
    ]  # fmt: skip
    assert as_text(names, rows) == [
        ["2026-11-24T21:01Z", "189.50", "189.60", "189.4322", "4.0123", "1,795", "0.01"],
        ["2026-11-24", "1,189.00", "1.00", "-", "2.0000", "2", "-"],
    ]
    assert as_text(names, []) == []


def test_an_average_has_no_decimals_that_it_does_not_need_and_never_fewer_than_prices():
    texts = [as_text(["CLOSE", "VWAP"], [(189.125, vwap)])[0][1] for vwap in (189.0, 189.1234, 189.123456)]
    assert texts == ["189.000", "189.1234", "189.12346"]


def test_each_symbol_of_a_table_has_the_decimals_that_it_needs():
    names = ["RANK", "SYMBOL", "FIRST_OPEN", "LAST_CLOSE", "CHANGE_PCT"]
    rows = [
        (1, "SHIB", Decimal("0.00000001"), Decimal("0.00000003"), 200.0),
        (2, "AAPL", Decimal("189.20000000"), Decimal("1189.25000000"), 0.2549),
    ]
    assert as_text(names, rows) == [
        ["1", "SHIB", "0.00000001", "0.00000003", "200.00"],
        ["2", "AAPL", "189.20", "1,189.25", "0.25"],
    ]


def test_points_are_numbers_oldest_first():
    rows = [
        (datetime(2026, 11, 24, 21, 1), Decimal("189.5"), "x"),  # noqa: DTZ001
        (datetime(2026, 11, 24, 21, 0), None, "y"),  # noqa: DTZ001
    ]
    assert as_points(rows, [0, 1]) == [[1_795_554_000.0, None], [1_795_554_060.0, 189.5]]
    assert as_points(rows, []) == []


def test_a_start_does_not_wait_for_the_driver_of_the_warehouse():
    code = "import sys, webapp.warehouse; sys.exit('snowflake.connector' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
