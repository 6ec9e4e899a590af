"""Latencies, percentiles, conditions, badges and pace of the dashboard, by a clock of the test's own."""

import asyncio

import msgspec
import pytest

from glue.errors import TransientError
from glue.io.bar_feed import Batch
from glue.io.kafka import MissingTopic
from glue.io.registry import RegistryAway
from glue.io.topic_stats import Latency
from glue.settings import Settings
from tests.unit.dashboard_bars import T0, bar
from webapp import hub as hub_module
from webapp.cache import CachedBar
from webapp.health import Facts, against, age_ms, badges, condition, service_levels, span
from webapp.hub import Hub
from webapp.latency import STEPS, LatencyWindow, Sample, sample
from webapp.pace import Pace

SETTINGS = Settings(_env_file=None)
HOUR_MS = 3_600_000
GOOD = Facts(
    now_ms=T0 + 2000,
    is_connected=True,
    fault=None,
    error="",
    is_current=True,
    filled=1.0,
    bar_count=5,
    newest_end_ms=T0 + 1000,
    received_ms=T0 + 1600,
    backlog=0,
    latencies={step: Latency(100, 500, 700, 900) for step in STEPS},
    dead_letters=0,
)


def but(**fields):
    return msgspec.structs.replace(GOOD, **fields)


def test_the_latencies_of_a_bar_are_counted_from_each_of_its_times():
    taken = sample(CachedBar(bar(0), T0 + 1540, T0 + 1600, 1))
    assert taken == Sample(receive_ms=T0 + 1600, api=1595, producer=90, emit=510, end=600, log=60)


def test_a_bar_that_was_there_before_has_no_latency():
    assert sample(CachedBar(bar(0), T0 + 1540, None, 1)) is None


def test_a_bar_of_another_day_has_a_log_lag_and_nothing_else():
    now = T0 + 400 * 86_400_000
    cached = CachedBar(bar(0, api_send_ts_ms=None, ingest_ts_ms=now - 50), now - 40, now, 1)
    assert sample(cached) == Sample(receive_ms=now, api=None, producer=50, emit=None, end=None, log=40)


def test_percentiles_are_of_the_nearest_rank_over_the_last_minute():
    window = LatencyWindow()
    for i in range(1, 101):
        window.add(Sample(T0 + i, api=None, producer=i, emit=None, end=10 * i, log=1))
    summary = window.summary(T0 + 100)
    assert summary["end"] == Latency(100, 500, 950, 990)
    assert summary["producer"] == Latency(100, 50, 95, 99)
    assert summary["api"] == Latency(0)
    later = window.summary(T0 + 60_000 + 98)
    assert later["end"] == Latency(2, 990, 1000, 1000)
    assert window.summary(T0 + 200_000)["end"] == Latency(0)


def test_the_window_holds_no_more_than_it_may():
    window = LatencyWindow(most=10)
    for i in range(50):
        window.add(Sample(T0, api=i, producer=i, emit=i, end=i, log=i))
    assert window.summary(T0)["end"] == Latency(10, 44, 49, 49)


OLD_MS = T0 - 400 * 86_400_000


@pytest.mark.parametrize(
    ("fields", "while_open", "while_closed"),
    [
        ({}, "live", "live"),
        ({"is_connected": False}, "starting", "starting"),
        ({"is_connected": False, "fault": "kafka_down"}, "kafka_down", "kafka_down"),
        ({"is_connected": False, "fault": "registry_down"}, "registry_down", "registry_down"),
        ({"bar_count": 0, "newest_end_ms": None}, "waiting", "waiting"),
        ({"is_current": False, "now_ms": T0 + 60_000}, "starting", "starting"),
        ({"now_ms": T0 + 10_999}, "live", "live"),
        ({"now_ms": T0 + 11_000}, "stale", "closed"),
        ({"newest_end_ms": OLD_MS}, "replay", "replay"),
        ({"newest_end_ms": OLD_MS, "now_ms": T0 + 30_000}, "stale", "stale"),
        ({"newest_end_ms": OLD_MS, "received_ms": None}, "stale", "stale"),
    ],
)
def test_the_condition_of_the_page(fields, while_open, while_closed):
    facts = but(**fields)
    found = [condition(facts, is_open=is_open) for is_open in (True, False)]
    assert found == [while_open, while_closed]


@pytest.mark.parametrize(
    ("is_open", "symbol_age_ms", "expected"),
    [(True, 600_000, "live"), (False, 600_000, "closed"), (False, 1_000, "live")],
)
def test_a_closed_symbol_is_told_while_others_go_on(is_open, symbol_age_ms, expected):
    assert condition(GOOD, is_open=is_open, symbol_end_ms=GOOD.now_ms - symbol_age_ms) == expected


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (TransientError("no Kafka broker answers"), "kafka_down"),
        (RegistryAway("registry at http://r: ConnectError"), "registry_down"),
        (MissingTopic("topic ticks.dlt does not exist"), "no_topic"),
    ],
)
def test_what_is_down_is_named(error, expected):
    hub = Hub(SETTINGS)
    hub.disconnected(error)
    condition, _, facts = hub.board()
    assert (condition, facts.error, hub.condition_of("WDC")) == (expected, str(error), expected)
    hub.connected(1.0, 0)
    hub._board = None
    assert hub.board()[0] == "waiting"


def test_only_what_was_read_or_an_end_tells_that_all_is_well_again(monkeypatch):
    """A registry is away: the client has not fetched yet in every other turn, and all is still to be read."""
    told = []

    class Feed:
        filled, backlog, is_at_end = 0.0, 5, False
        turns = 0

        def __init__(self, *args):
            pass

        def poll(self, timeout_s):
            self.turns += 1
            told.append(hub.facts())
            if self.turns == 9:
                self.backlog, self.is_at_end = 0, True
            if self.turns == 11:
                raise asyncio.CancelledError
            if self.turns % 2 == 0 and self.turns < 9:
                raise RegistryAway("away")
            return Batch([], [])

    hub = Hub(SETTINGS)
    monkeypatch.setattr(hub_module, "BarFeed", Feed)
    monkeypatch.setattr(hub_module, "RETRY_S", 0)
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(hub.run())
    assert [facts.fault for facts in told] == [None, None, *["registry_down"] * 7, None, None]
    assert [facts.is_connected for facts in told] == [False] * 9 + [True, True]


@pytest.mark.parametrize(
    ("fields", "is_open", "expected"),
    [
        ({}, True, [("700 ms", True), ("1.0 s", True)]),
        ({"now_ms": T0 + 3500}, True, [("700 ms", True), ("2.5 s", False)]),
        ({"now_ms": T0 + HOUR_MS}, False, [("700 ms", True), ("market closed", None)]),
        ({"latencies": {"end": Latency(9, 800, 1000, 1300)}}, True, [("1000 ms", False), ("1.0 s", True)]),
        (
            {"newest_end_ms": None, "latencies": {"end": Latency(0)}},
            True,
            [("no live data", None), ("no bars", None)],
        ),
    ],
)
def test_the_dashboard_is_held_to_its_own_service_levels(fields, is_open, expected):
    levels = service_levels(but(**fields), SETTINGS, is_open=is_open)
    assert [(level.seen, level.is_met) for level in levels] == expected
    assert [level.limit for level in levels] == ["< 1000 ms", "< 2500 ms old"]


def test_a_closed_market_has_no_late_bar():
    facts = but(now_ms=T0 + HOUR_MS)
    age = [{b.name: b.level for b in badges(facts, SETTINGS, is_open=is_open)} for is_open in (True, False)]
    assert [levels["newest bar"] for levels in age] == ["bad", "none"]


def test_badges_are_coloured_by_their_limits():
    levels = {b.name: b.level for b in badges(GOOD, SETTINGS)}
    assert set(levels.values()) == {"good"}
    late = but(
        now_ms=T0 + 4000,
        backlog=20_000,
        dead_letters=3,
        latencies={step: Latency(9, 800, 1200, 1300) for step in STEPS},
    )
    assert {b.name: (b.value, b.level) for b in badges(late, SETTINGS)} == {
        "latency p95": ("1200 ms", "bad"),
        "log lag p95": ("1200 ms", "bad"),
        "newest bar": ("3.0 s", "bad"),
        "backlog": ("20,000", "bad"),
        "dead letters": ("3", "warn"),
    }


def test_badges_say_where_there_is_nothing_to_say():
    empty = but(newest_end_ms=None, bar_count=0, latencies={step: Latency(0) for step in STEPS})
    assert [b.value for b in badges(empty, SETTINGS)] == ["n/a", "n/a", "n/a", "0", "0"]


def test_the_age_of_a_replay_counts_from_when_its_bar_came():
    old = but(newest_end_ms=T0 - 400 * 86_400_000)
    assert age_ms(old) == 400
    assert age_ms(but(newest_end_ms=T0 + 9000)) == 0  # a clock ahead of this one


@pytest.mark.parametrize(("value", "level"), [(800, "good"), (801, "warn"), (1000, "warn"), (1001, "bad")])
def test_a_level_turns_at_four_fifths_and_at_the_limit(value, level):
    assert against(value, 1000) == level


def test_spans_are_written_for_people():
    written = [span(ms) for ms in (0, 1650, 12_400, 119_000, 130_000, 3 * HOUR_MS, 72 * HOUR_MS)]
    assert written == ["0.0 s", "1.6 s", "12 s", "119 s", "2 min", "3 h", "3 d"]


def test_a_page_is_sent_a_bar_when_it_comes_and_not_more_often_than_it_asked_for():
    pace = Pace(1.0, 100.0)
    pace.sent(has_bar=True, now_s=100.0)
    assert pace.left_s(has_bar=True, now_s=100.9) <= 0
    assert pace.left_s(has_bar=True, now_s=100.5) == pytest.approx(0.25)
    assert pace.left_s(has_bar=False, now_s=101.0) == pytest.approx(0.5)
    pace.sent(has_bar=False, now_s=101.5)
    assert pace.left_s(has_bar=True, now_s=101.55) <= 0  # an age that was sent is not in a bar's way
