"""When a market is open: hours, holidays and half days of New York, other exchanges, what never closes."""

from datetime import UTC, datetime

import pytest

from glue.errors import SettingsError
from glue.io.bar_feed import Batch, FeedBar
from glue.settings import Settings
from tests.unit.dashboard_bars import T0, bar
from webapp.hub import Hub
from webapp.market import Market


def settings(**fields):
    return Settings(_env_file=None, **fields)


def at(text):
    return int(datetime.fromisoformat(text).timestamp() * 1000)


@pytest.mark.parametrize(
    ("moment", "is_open"),
    [
        ("2026-11-24T09:29:59-05:00", False),
        ("2026-11-24T09:30:00-05:00", True),
        ("2026-11-24T15:59:59-05:00", True),
        ("2026-11-24T16:00:00-05:00", False),
        ("2026-07-01T15:59:59-04:00", True),
        ("2026-11-28T12:00:00-05:00", False),  # Saturday
        ("2026-11-26T12:00:00-05:00", False),  # Thanksgiving
        ("2026-11-27T12:59:59-05:00", True),  # the half day after it
        ("2026-11-27T13:00:00-05:00", False),
    ],
)
def test_new_york_keeps_hours_holidays_and_half_days(moment, is_open):
    assert Market(settings()).is_open(at(moment)) is is_open


def test_longer_hours_end_early_on_half_days_only():
    market = Market(settings(dashboard_session="04:00-20:00"))
    assert market.is_open(at("2026-11-24T19:59:00-05:00"))
    assert not market.is_open(at("2026-11-27T13:00:00-05:00"))
    assert market.is_open(at("2026-11-27T04:00:00-05:00"))


def test_other_exchanges_are_open_monday_to_friday():
    market = Market(settings(dashboard_exchange_zone="Europe/Berlin", dashboard_session="09:00-17:30"))
    assert market.is_open(at("2026-11-26T17:00:00+01:00"))
    assert not market.is_open(at("2026-11-28T12:00:00+01:00"))


@pytest.mark.parametrize(
    ("now", "opens"),
    [
        ("2026-11-24T08:00:00-05:00", "2026-11-24T14:30:00+00:00"),
        ("2026-11-25T16:00:00-05:00", "2026-11-27T14:30:00+00:00"),
        ("2026-11-27T13:00:00-05:00", "2026-11-30T14:30:00+00:00"),
    ],
)
def test_the_next_opening_passes_over_days_without_a_session(now, opens):
    assert Market(settings()).opens_at(at(now)).astimezone(UTC).isoformat() == opens


def test_always_is_never_closed():
    market = Market(settings(dashboard_session="always"))
    assert market.is_open(at("2026-11-28T12:00:00-05:00"))
    assert market.trades_always("WDC")


@pytest.mark.parametrize(
    ("symbol", "expected"), [("BTCUSDT", True), ("ETH-USD", True), ("WDC", False), ("USDT.X", False)]
)
def test_some_symbols_trade_always(symbol, expected):
    assert Market(settings()).trades_always(symbol) is expected
    assert not Market(settings(dashboard_always_open="FX:*")).trades_always(symbol)


@pytest.mark.parametrize("hours", ["16:00-09:30", "9", "never", "09:30"])
def test_hours_that_are_none_are_refused(monkeypatch, hours):
    monkeypatch.setenv("DASHBOARD_SESSION", hours)
    with pytest.raises(SettingsError, match="DASHBOARD_SESSION"):
        Settings.load()


def test_of_a_silent_feed_a_page_says_closed_or_stale_by_its_symbol():
    """A Tuesday at 17:00 in New York, two hours after the last bar."""
    hub = Hub(settings(), clock=lambda: T0 + 7_200_000)
    hub.connected(1.0, 0)
    hub.take(batch(bar(0)))
    assert (hub.board()[0], hub.condition_of("WDC")) == ("closed", "closed")
    hub = Hub(settings(), clock=lambda: T0 + 7_200_000)
    hub.connected(1.0, 0)
    hub.take(batch(bar(0), bar(0, "BTCUSDT")))
    assert (hub.board()[0], hub.condition_of("BTCUSDT"), hub.condition_of("WDC")) == (
        "stale",
        "stale",
        "closed",
    )


def test_a_symbol_without_bars_is_not_live_because_others_are():
    hub = Hub(settings(), clock=lambda: T0 + 2000)
    assert hub.condition_of("NOPE") == "starting"
    hub.connected(1.0, 0)
    hub._board = None
    assert hub.condition_of("NOPE") == "waiting"
    hub.take(batch(bar(0)))
    hub._board = None
    assert [hub.condition_of(symbol) for symbol in ("WDC", "NOPE", "")] == ["live", "no_bars", "live"]


def batch(*bars):
    return Batch([FeedBar(b, b.end_ts_ms + 550, None, False) for b in bars], [])
