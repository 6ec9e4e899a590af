"""When files of bins end, and when they are loaded: soon after that, while the warehouse is awake anyway."""

from collections.abc import Callable

ASK_EVERY_MS = 2_000
RETRY_MS = 10_000


class LoadSchedule:
    """Files end at whole multiples of `every_ms` of wall time; then a load waits for `wait_ms` at most.

    It comes at once when the warehouse runs for somebody else, e.g. for a flush of the minute rollup, or when
    that is not to be known. All times are ms UTC.
    """

    def __init__(self, every_ms: int, wait_ms: int, now_ms: int) -> None:
        self._every_ms = every_ms
        self._wait_ms = wait_ms
        self._next_end_ms = self._after(now_ms)
        self._wanted_ms: int | None = None
        self._ask_ms = 0

    def ends_files(self, now_ms: int) -> bool:
        """Tell once in each period that files are to end now; they are to be loaded then."""
        if now_ms < self._next_end_ms:
            return False
        self._next_end_ms = self._after(now_ms)
        self.want(now_ms)
        return True

    def want(self, now_ms: int) -> None:
        """Ask for a load of what there is."""
        if self._wanted_ms is None:
            self._wanted_ms = now_ms
            self._ask_ms = now_ms

    def is_due(self, now_ms: int, is_awake: Callable[[], bool | None]) -> bool:
        """Tell whether to load now; `is_awake` is asked every two seconds at most."""
        if self._wanted_ms is None or now_ms < self._ask_ms:
            return False
        self._ask_ms = now_ms + ASK_EVERY_MS
        return now_ms - self._wanted_ms >= self._wait_ms or is_awake() is not False

    def failed(self, now_ms: int) -> None:
        """Wait for a while before the next try."""
        self._ask_ms = now_ms + RETRY_MS

    def done(self) -> None:
        """Note that all is loaded."""
        self._wanted_ms = None

    def _after(self, now_ms: int) -> int:
        return now_ms - now_ms % self._every_ms + self._every_ms
