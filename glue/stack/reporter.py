"""What `up` tells while it works: lines, and a bar for downloads on a terminal."""

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

MB = 1_000_000
LINE_EVERY = 0.1


class Reporter:
    """Says nothing; the base of those that do."""

    def line(self, text: str) -> None:
        """Take one line for the user."""

    @contextmanager
    def download(self, count: int, size: int) -> Iterator[Callable[[int], None]]:
        """Follow a download of `count` files and `size` bytes.

        Yields:
            A function that takes each number of bytes that came; negative when some have to come again.
        """
        yield lambda received: None


class TextReporter(Reporter):
    """Writes to stdout: a bar for downloads on a terminal, a line every tenth elsewhere."""

    def __init__(self) -> None:
        self._console = Console()

    def line(self, text: str) -> None:
        """Write one line."""
        if self._console.is_terminal:
            self._console.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            with suppress(BrokenPipeError):  # `… up | head`: the reader is gone, the work goes on
                sys.stdout.write(f"{text}\n")
                sys.stdout.flush()

    @contextmanager
    def download(self, count: int, size: int) -> Iterator[Callable[[int], None]]:
        """Show the download's progress; safe to call from several threads."""
        self.line(f"downloading {count} files, {size / MB:.0f} MB (only this once)")
        if self._console.is_terminal:
            columns = (TextColumn("  {task.percentage:>3.0f} %"), BarColumn(), DownloadColumn())
            with Progress(*columns, TimeRemainingColumn(), console=self._console, transient=True) as bar:
                task = bar.add_task("", total=size)
                yield lambda received: bar.advance(task, received)
        else:
            yield _TenthLines(self.line, size)
        self.line(f"downloaded {size / MB:.0f} MB")


class _TenthLines:
    def __init__(self, line: Callable[[str], None], size: int) -> None:
        self._line = line
        self._size = size
        self._received = 0
        self._next = LINE_EVERY
        self._lock = threading.Lock()

    def __call__(self, received: int) -> None:
        with self._lock:
            self._received += received
            share = self._received / self._size
            if share >= self._next and share < 1:
                self._next = share - share % LINE_EVERY + LINE_EVERY
                self._line(f"  {share:.0%} of {self._size / MB:.0f} MB")
