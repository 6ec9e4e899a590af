"""Sessions of the US exchanges by rule, beside an independent calendar."""

from datetime import date, time, timedelta
from zoneinfo import ZoneInfo

import exchange_calendars
import pytest

from glue.core.us_sessions import session_of

NEW_YORK = ZoneInfo("America/New_York")


@pytest.mark.filterwarnings("ignore:Series.values")
def test_the_sessions_are_exactly_those_of_the_exchange():
    exchange = exchange_calendars.get_calendar("XNYS", start="2009-01-01", end="2050-12-31").schedule
    expected = {
        label.date(): (opens.astimezone(NEW_YORK).time(), closes.astimezone(NEW_YORK).time())
        for label, opens, closes in zip(exchange.index, exchange["open"], exchange["close"], strict=True)
    }
    days = [date(2009, 1, 1) + timedelta(days=n) for n in range((max(expected) - date(2009, 1, 1)).days + 1)]
    assert {day: session for day in days if (session := session_of(day))} == expected


@pytest.mark.parametrize(
    ("day", "expected"),
    [
        ("2026-11-26", None),  # Thanksgiving
        ("2026-11-27", (time(9, 30), time(13))),
        ("2026-11-28", None),  # Saturday
        ("2026-11-30", (time(9, 30), time(16))),
        ("2027-12-31", (time(9, 30), time(16))),  # New Year's Day is a Saturday
        ("2027-12-24", None),  # Christmas, observed
    ],
)
def test_holidays_half_days_and_weekends(day, expected):
    assert session_of(date.fromisoformat(day)) == expected
