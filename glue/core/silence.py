"""How long a connected feed has said nothing, by its own doing."""

AWAY_S = 1.0
"""A reader that was away for less did not keep its feed from sending."""


class Silence:
    """Times are seconds of a clock that never goes back.

    A reader that is away, as while its broker is down, lets the connection fill up. Its sender then looks
    only now and then whether there is room again, at pauses that have grown to at most the time since it was
    stopped: for so long after the reader's return nothing may come, and that is no silence of the feed.
    """

    def __init__(self, now_s: float) -> None:
        self._since_s = now_s
        self._left_s: float | None = None

    def heard(self, now_s: float) -> None:
        """Take in that the feed said something."""
        self._since_s = max(self._since_s, now_s)

    def back(self, now_s: float) -> None:
        """Take in that the reader looks for more."""
        away_s = 0.0 if self._left_s is None else now_s - self._left_s
        if away_s > AWAY_S:
            self._since_s = max(self._since_s, now_s + away_s)

    def left(self, now_s: float) -> None:
        """Take in that the reader does something else."""
        self._left_s = now_s

    def lasts(self, now_s: float) -> float:
        """Return for how long the feed has been silent, s; below 0 while it could not speak."""
        return now_s - self._since_s
