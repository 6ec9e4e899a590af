"""How often a page is sent something."""

EARLY = 0.75
QUIET = 1.5


class Pace:
    """One page's rhythm: bars at most once a refresh, the rest with them. Times in s of a monotonic clock.

    Bars do not keep step, so one may come a quarter early rather than wait; what is no bar (an age that
    grows) is sent alone only where no bar came, late enough not to be in a bar's way.
    """

    def __init__(self, refresh_s: float, now_s: float) -> None:
        self._refresh_s = refresh_s
        self._sent_s = self._bar_sent_s = now_s

    def left_s(self, has_bar: bool, now_s: float) -> float:
        """Return how long to wait yet before the next sending; 0 or less: now."""
        quiet_s = self._sent_s + QUIET * self._refresh_s - now_s
        return min(quiet_s, self._bar_sent_s + EARLY * self._refresh_s - now_s) if has_bar else quiet_s

    def sent(self, has_bar: bool, now_s: float) -> None:
        """Note a sending."""
        self._sent_s = now_s
        if has_bar:
            self._bar_sent_s = now_s
