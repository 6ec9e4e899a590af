"""What an open page is sent, without a browser."""

import pytest

from glue.io.bar_feed import Batch, FeedBar
from glue.settings import Settings
from tests.unit.dashboard_bars import T0, bar
from webapp import state
from webapp.hub import Hub


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
