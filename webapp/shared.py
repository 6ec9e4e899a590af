"""Answers that take long and that all pages of a process share: made in a thread, one at a time."""

import asyncio
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from webapp.threads import in_thread

T = TypeVar("T")


class Shared(Generic[T]):
    """One answer for all: whoever asks gets it, and it is made anew when it is older than asked for."""

    def __init__(self, make: Callable[[], T], clock: Callable[[], float] = time.monotonic) -> None:
        self._make = make
        self._clock = clock
        self._lock = asyncio.Lock()
        self._answer: T | None = None
        self._made_at: float | None = None

    async def get(self, not_older_than_s: float) -> T:
        """Return the answer; while one is made, the others wait for it."""
        async with self._lock:
            if (
                self._answer is None
                or self._made_at is None
                or self._clock() - self._made_at >= not_older_than_s
            ):
                asked_at = self._clock()
                self._answer = await in_thread(self._make)
                self._made_at = asked_at
            return self._answer

    @property
    def age_s(self) -> float | None:
        """Seconds since the answer was asked for, None where there is none."""
        return None if self._made_at is None else self._clock() - self._made_at
