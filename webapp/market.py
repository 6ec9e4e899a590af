"""When a symbol trades: the hours of its exchange, with the holidays of the US exchanges, or always."""

import re
from datetime import UTC, date, datetime, time, timedelta
from fnmatch import translate
from zoneinfo import ZoneInfo

from glue.core.us_sessions import CLOSES, session_of
from glue.settings import ALWAYS, Settings

US_ZONE = "America/New_York"
LONGEST_BREAK_DAYS = 14


class Market:
    """The exchange of the settings.

    In the zone of New York it keeps the holidays and half days of NYSE; others are open Monday to Friday.
    """

    def __init__(self, settings: Settings) -> None:
        self.zone = settings.dashboard_exchange_zone
        self._zone = ZoneInfo(self.zone)
        self._hours: tuple[time, time] | None = None
        if settings.dashboard_session != ALWAYS:
            opens, _, closes = settings.dashboard_session.partition("-")
            self._hours = time.fromisoformat(opens), time.fromisoformat(closes)
        patterns = [p.strip() for p in settings.dashboard_always_open.split(",") if p.strip()]
        self._always = re.compile("|".join(map(translate, patterns)) or r"(?!)")

    def trades_always(self, symbol: str) -> bool:
        """Tell whether a symbol knows no closing hours, as crypto currencies do."""
        return self._hours is None or self._always.match(symbol) is not None

    def is_open(self, now_ms: int) -> bool:
        """Tell whether the exchange is open at a wall time in ms since 1970 UTC."""
        local = datetime.fromtimestamp(now_ms / 1000, self._zone)
        hours = self._hours_of(local.date())
        return hours is not None and hours[0] <= local.time() < hours[1]

    def opens_at(self, now_ms: int) -> datetime | None:
        """Return the next opening after a wall time, None where there is none in two weeks."""
        now = datetime.fromtimestamp(now_ms / 1000, UTC)
        for days in range(LONGEST_BREAK_DAYS):
            day = now.astimezone(self._zone).date() + timedelta(days=days)
            hours = self._hours_of(day)
            if hours and (opening := datetime.combine(day, hours[0], self._zone)) > now:
                return opening
        return None

    def _hours_of(self, day: date) -> tuple[time, time] | None:
        if self._hours is None:
            return time.min, time.max
        if self.zone != US_ZONE:
            return self._hours if day.weekday() < 5 else None
        session = session_of(day)
        if session is None:
            return None
        opens, closes = self._hours
        return opens, closes if session[1] == CLOSES else min(closes, session[1])
