"""Progress of a worker: a line that renews itself on a terminal, else a log event every few seconds."""

import sys
import time
from collections.abc import Callable

import structlog
from rich.console import Console
from rich.live import Live
from rich.text import Text

LOG_EVERY_S = 5.0
REFRESH_EVERY_S = 0.25


class Progress:
    """Shows the fields that `fields` returns, and the rate per second of the counters among them."""

    def __init__(self, name: str, fields: Callable[[], dict[str, object]], counters: tuple[str, ...]) -> None:
        self._fields = fields
        self._counters = counters
        self._name = name
        self._log = structlog.get_logger()
        self._live = (
            Live(console=Console(stderr=True), auto_refresh=False, transient=True)
            if sys.stderr.isatty()
            else None
        )
        self._every_s = REFRESH_EVERY_S if self._live else LOG_EVERY_S
        self._last = time.monotonic()
        self._counts: dict[str, object] = {}
        if self._live:
            self._live.start()

    def tick(self) -> None:
        """Show where things stand, if it is time to."""
        elapsed = time.monotonic() - self._last
        if elapsed < self._every_s:
            return
        self._last += elapsed
        shown: dict[str, object] = {}
        for name, value in self._fields().items():
            shown[name] = value
            if name in self._counters and isinstance(value, int):
                before = self._counts.get(name, 0)
                assert isinstance(before, int)  # noqa: S101
                shown[f"{name}_per_s"] = round((value - before) / elapsed)
                self._counts[name] = value
        if self._live:
            parts = [f"{name} {_readable(value)}" for name, value in shown.items() if value is not None]
            self._live.update(Text(f"{self._name}: " + "  ".join(parts), style="dim"), refresh=True)
        else:
            self._log.info("progress", **shown)

    def close(self) -> None:
        """Clear the line."""
        if self._live:
            self._live.stop()


def _readable(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)
