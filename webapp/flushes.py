"""When the rollup, on whatever machine, has just flushed: the warehouse is awake then."""

import time
from collections.abc import Callable

from webapp.shared import Shared

LOOK_S = 5.0
FRESH_S = 2 * LOOK_S
"""So long after a flush the warehouse is taken to be awake; it is suspended a minute after its last work."""


class Flushes:
    """Sees a flush by what the rollup commits after it, in looks that all pages share.

    `written_ms` returns until when facts are written, event time. Between two looks that are further apart
    than `FRESH_S` it may have been at any time, so that flush counts as long ago.
    """

    def __init__(self, written_ms: Callable[[], int], clock: Callable[[], float] = time.monotonic) -> None:
        self._written = Shared(written_ms, clock)
        self._clock = clock
        self._looked_at: float | None = None
        self._written_ms = 0
        self._flushed_at: float | None = None

    async def is_fresh(self) -> bool:
        """Look, at most every `LOOK_S`, and tell whether a flush was seen less than `FRESH_S` ago.

        Raises:
            TapelineError: the broker does not answer.
        """
        written_ms = await self._written.get(LOOK_S * 0.9)
        now = self._clock()
        if written_ms > self._written_ms:
            if self._looked_at is not None and now - self._looked_at <= FRESH_S:
                self._flushed_at = now
            self._written_ms = written_ms
        self._looked_at = now
        return self._flushed_at is not None and now - self._flushed_at <= FRESH_S
