"""What a long run is doing, on a terminal's stderr; silent when it is quick or nobody looks."""

import time
from types import TracebackType
from typing import IO, Self

from rich.console import Console
from rich.status import Status

QUIET_S = 2.0
"""A run that is over by then shows nothing."""


class Progress:
    """A status line that appears after `QUIET_S`."""

    def __init__(self, stream: IO[str]) -> None:
        self._console = Console(file=stream)
        self._started_s = time.monotonic()
        self._status: Status | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._status:
            self._status.stop()

    def show(self, text: str) -> None:
        """Say what is going on now."""
        if self._status:
            self._status.update(text)
        elif self._console.is_terminal and time.monotonic() - self._started_s > QUIET_S:
            self._status = self._console.status(text)
            self._status.start()
