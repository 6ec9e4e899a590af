"""Answers that take long and that all pages of a process share: made in a thread, one at a time."""

import asyncio
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from webapp.threads import in_thread

T = TypeVar("T")
FAILED_S = 10.0


class Shared(Generic[T]):
    """One answer for all: whoever asks gets it, and it is made anew when it is older than asked for.

    One that `has_failed` is for those who waited for it, and for whoever comes in the next `FAILED_S`.
    """

    def __init__(
        self,
        make: Callable[[], T],
        clock: Callable[[], float] = time.monotonic,
        has_failed: Callable[[T], bool] = lambda _: False,
    ) -> None:
        self._make = make
        self._clock = clock
        self._has_failed = has_failed
        self._lock = asyncio.Lock()
        self._kept: tuple[T, float] | None = None

    async def get(self, not_older_than_s: float) -> T:
        """Return the answer; while one is made, the others wait for it."""
        async with self._lock:
            if self._kept is None or not self.left_s(not_older_than_s):
                asked_at = self._clock()
                answer = await in_thread(self._make)
                self._kept = answer, self._clock() if self._has_failed(answer) else asked_at
            return self._kept[0]

    def left_s(self, not_older_than_s: float) -> float:
        """Return the seconds until `get` makes the answer anew, 0 where it does so now."""
        if self._kept is None:
            return 0.0
        answer, at = self._kept
        kept_s = min(not_older_than_s, FAILED_S) if self._has_failed(answer) else not_older_than_s
        return max(0.0, at + kept_s - self._clock())

    @property
    def is_empty(self) -> bool:
        """Whether there never was an answer."""
        return self._kept is None
