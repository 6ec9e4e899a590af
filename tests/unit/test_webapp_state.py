"""What an open page is sent, without a browser."""

import asyncio

import pytest
from reflex.istate.manager.memory import StateManagerMemory
from reflex.state import StateUpdate
from reflex.utils.format import json_dumps

from glue.engine import local_engine
from glue.errors import TransientError
from glue.io.bar_feed import Batch, FeedBar
from glue.io.topic_stats import Latency
from glue.overview import Status, Warehouse
from glue.parts import ANSWERS, Part
from glue.settings import Settings
from tests.unit.dashboard_bars import T0, bar
from webapp import pipeline, state
from webapp.hub import Hub
from webapp.rxconfig import config
from webapp.shared import Shared

STATUS = Status(
    at_ms=T0, parts=[Part("kafka", ANSWERS)], engine=local_engine(Settings(_env_file=None)), lag=[],
    publish_latency=Latency(0), bar_latency=Latency(0), dead_letters={},
    warehouse=Warehouse(0, 0, Latency(0)), connectors=[], service_levels=[],
)  # fmt: skip


@pytest.fixture
def hub(monkeypatch):
    hub = Hub(Settings(_env_file=None), clock=lambda: T0 + 20_000)
    monkeypatch.setattr(state, "hub", hub)
    return hub


def page(symbol="WDC"):
    opened = state.Live(_reflex_internal_init=True)
    opened.symbol = symbol
    opened._start_view()
    return opened


def take(hub, *bars):
    hub.take(Batch([FeedBar(b, b.end_ts_ms + 550, b.end_ts_ms + 560, False) for b in bars], []))


def test_a_page_is_sent_all_bars_once_and_then_what_changed(hub):
    take(hub, *map(bar, range(3)))
    opened = page()
    assert [row[0] for row in opened.feed["bars"]] == [T0, T0 + 1000, T0 + 2000]
    take(hub, bar(3))
    opened._push()
    assert [row[0] for row in opened.feed["bars"]] == [T0 + 3000]
    assert opened.feed["after"] < opened.feed["revision"]


def test_a_quote_tells_over_how_long_its_change_is(hub):
    take(hub, bar(0), bar(59, close=44.0))
    assert state.quote("WDC") == [T0 // 1000 + 59, 44.0, 10.0, 60]
    assert state.quote("NONE") == [0, None, None, 0]


def test_the_progress_of_the_fill_is_told(hub):
    assert page().filled == 0
    hub.connected(0.436, 0)
    hub._board = None
    assert page().filled == 43
    hub.connected(1.0, 0)
    hub._board = None
    assert page().filled == 100


def test_a_view_is_newer_than_all_that_a_tab_had_from_an_earlier_server(hub, monkeypatch):
    monkeypatch.setattr(state, "now_ms", lambda: T0)
    before = page()
    before._start_view()
    monkeypatch.setattr(state, "now_ms", lambda: T0 + 3000)
    assert page().feed["view"] > before.feed["view"] > T0


def test_what_cannot_be_the_name_of_a_symbol_is_passed_over(hub):
    opened = page("WDC")
    for name in ("A,B", "<img>", "X" * 33, " "):
        opened.choose(name)
        opened.toggle_watch(name)
    assert (opened.symbol, opened.watch_text) == ("WDC", "")
    opened.watch_text = "A B,WDC,-x,<b>"
    assert opened._watched() == ["WDC", "-x"]
    opened.choose(" EUR/USD ")
    assert opened.symbol == "EUR/USD"


def test_a_watchlist_that_another_tab_changed_is_sent_with_its_past(hub):
    take(hub, *(bar(second, name) for second in range(3) for name in ("WDC", "AAPL")))
    opened = page("WDC")
    opened.watch_text = "AAPL"
    opened._push()
    assert [one[0] for one in opened.quotes] == ["AAPL"]
    assert len(opened.sparks["AAPL"]) == 3


def test_a_tab_is_remembered_for_days_and_takes_little_when_it_is_gone(hub, monkeypatch):
    take(hub, *map(bar, range(600)))
    opened = page()
    opened._forget()
    assert len(json_dumps(opened.dict())) < 5000
    opened._start_view()
    assert len(opened.feed["bars"]) == 301
    monkeypatch.setattr("reflex.istate.manager.get_config", lambda: config)
    assert StateManagerMemory().token_expiration >= 3 * 86_400


@pytest.mark.parametrize("watched", [1, state.MOST_WATCHED])
def test_a_page_takes_less_than_a_kilobyte_a_second(hub, watched):
    names = [f"BINANCE:SYM{i:02d}USDT" for i in range(watched)]

    def second(number: int) -> None:
        hub._clock = lambda: T0 + 1000 * number + 1560 + 100 * (number % 7)  # badges change, too
        closes = (64_123.123456 + 7.5 * number + i for i in range(watched))
        take(
            hub,
            *(
                bar(number, name, close=close, high=close + 1, notional=close * 4, volume=4.012345)
                for name, close in zip(names, closes, strict=True)
            ),
        )

    second(0)
    opened = page(names[0])
    opened.watch_text = ",".join(names)
    opened._push()
    sizes, prices = [], dict.fromkeys(names, 0)
    for number in range(1, 20):
        second(number)
        opened._clean()
        hub._board = None
        opened._push()
        assert {"badges", "feed", "moves"} <= opened.dirty_vars
        sizes.append(len(json_dumps(StateUpdate(delta=opened.get_delta()), separators=(",", ":"))))
        prices |= {names[place]: at for place, at, *_ in opened.moves}
    assert max(sizes) < 1000
    assert min(prices.values()) >= T0 // 1000 + 17  # each of them moves every three seconds


def test_a_look_that_fails_is_told_and_the_next_one_goes_on(hub, monkeypatch):
    def fail(*args, **options):
        raise TransientError("no broker answers")

    opened = pipeline.Pipeline(_reflex_internal_init=True)
    monkeypatch.setattr(pipeline, "collect", lambda *args, **options: STATUS)
    opened._show(asyncio.run(Shared(pipeline._look).get(5)))
    shown = opened.at, opened.parts
    assert [level[0] for level in opened.levels] == [
        "dashboard p95 (bar end -> dashboard)", "newest bar on the dashboard"
    ]  # fmt: skip
    assert (opened.error, shown) == ("", ("2026-11-24T20:00:00Z", [["kafka", "answers", "", "", "good"]]))
    monkeypatch.setattr(pipeline, "collect", fail)
    opened._show(asyncio.run(Shared(pipeline._look).get(5)))
    assert (opened.error, (opened.at, opened.parts)) == ("no broker answers", shown)
    monkeypatch.setattr(pipeline, "collect", lambda *args, **options: STATUS)
    opened._show(asyncio.run(Shared(pipeline._look).get(5)))
    assert opened.error == ""


def test_while_the_first_look_goes_on_no_table_says_none():
    assert str(pipeline.pipeline_page()).count('"looking ') == 8
