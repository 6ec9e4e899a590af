"""Sessions of the US stock exchanges by the rules of NYSE, like CORE.DIM_CALENDAR in the warehouse."""

from datetime import date, time, timedelta
from functools import lru_cache

OPENS, CLOSES, CLOSES_EARLY = time(9, 30), time(16), time(13)
"""New York time; a session ends early on half days."""
CLOSED_ONCE = frozenset(map(date.fromisoformat, ("2012-10-29", "2012-10-30", "2018-12-05", "2025-01-09")))
"""Days that no rule gives: hurricane Sandy, the days of mourning for Presidents Bush and Carter."""
MONDAY, THURSDAY, FRIDAY = 0, 3, 4


def session_of(day: date) -> tuple[time, time] | None:
    """Return open and close of a day's session in New York time, None on a day without one.

    Right from 2009 on; a day of mourning to come is not known.
    """
    if day.weekday() > FRIDAY or day in CLOSED_ONCE or day in holidays(day.year):
        return None
    return OPENS, CLOSES_EARLY if is_half_day(day) else CLOSES


def is_half_day(day: date) -> bool:
    """Tell whether a session ends early: on two eves, and on the day after Thanksgiving."""
    if (day.month, day.day) in ((7, 3), (12, 24)):
        return day.weekday() < FRIDAY
    return day == _nth(day.year, 11, THURSDAY, 4) + timedelta(days=1)


@lru_cache(maxsize=8)
def holidays(year: int) -> frozenset[date]:
    """Return the weekdays of a year on which the exchange is closed by rule."""
    found = {
        _nth(year, 1, MONDAY, 3),  # Martin Luther King
        _nth(year, 2, MONDAY, 3),  # Washington's Birthday
        _easter(year) - timedelta(days=2),  # Good Friday
        _nth(year, 6, MONDAY, 1) - timedelta(days=7),  # Memorial Day, the last Monday of May
        _observed(date(year, 7, 4)),
        _nth(year, 9, MONDAY, 1),  # Labor Day
        _nth(year, 11, THURSDAY, 4),  # Thanksgiving
        _observed(date(year, 12, 25)),
    }
    new_year = date(year, 1, 1)
    if new_year.weekday() != FRIDAY + 1:  # never observed on the Friday before, which is of the year before
        found.add(_observed(new_year))
    if year >= 2022:
        found.add(_observed(date(year, 6, 19)))  # Juneteenth
    return frozenset(found)


def _observed(day: date) -> date:
    """Return the Friday before a Saturday, the Monday after a Sunday."""
    return day + timedelta(days={5: -1, 6: 1}.get(day.weekday(), 0))


def _nth(year: int, month: int, weekday: int, n: int) -> date:
    first = date(year, month, 1)
    return first + timedelta(days=(weekday - first.weekday()) % 7 + 7 * (n - 1))


def _easter(year: int) -> date:
    """Return Easter Sunday of the Gregorian calendar (Meeus, Jones, Butcher; any year)."""
    a, (b, c) = year % 19, divmod(year, 100)
    d, e = divmod(b, 4)
    g = (8 * b + 13) // 25
    h = (19 * a + b - d - g + 15) % 30
    i, k = divmod(c, 4)
    length = (32 + 2 * e + 2 * i - h - k) % 7
    m = (a + 11 * h + 19 * length) // 433
    month = (h + length - 7 * m + 90) // 25
    return date(year, month, (h + length - 7 * m + 33 * month + 19) % 32)
