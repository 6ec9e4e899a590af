"""Files of bins on their way to the warehouse, in a folder of this machine.

A file that takes lines is plain NDJSON, `<partition>-<first>.part`. When it ends it is compressed beside
its place and renamed, so that `<partition>-<first>-<last>.ndjson.gz` is there whole or not at all. Its bytes
depend on the lines alone.
"""

import gzip
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import structlog

from glue.core.staged import Span, bounds_of, offset_of
from glue.errors import TapelineError
from glue.io.jsonl import append_lines

BUFFER_BYTES = 1 << 16
PART, TEMPORARY = ".part", ".tmp"
COMPRESSION = 6
log = structlog.get_logger()


class Part:
    """A file that takes lines; `first` is the first offset that it covers."""

    def __init__(self, path: Path, partition: int, first: int) -> None:
        self.path = path
        self.partition = partition
        self.first = first
        self.rows = 0
        self.size = 0
        """Bytes of its lines."""
        self.last = first - 1
        """Offset of its last line."""
        self._file = path.open("wb", buffering=BUFFER_BYTES)

    def add(self, line: bytes, offset: int) -> None:
        """Append a line."""
        self._file.write(line)
        self.rows += 1
        self.size += len(line)
        self.last = offset

    def flush(self) -> None:
        """Write to the file what is not there yet."""
        self._file.flush()

    def close(self) -> None:
        """Let go of the file; what is in it stays, what does not fit any more is read again."""
        with suppress(OSError):
            self._file.close()


class Spool:
    """The files of one topic; a topic that was made anew has another id, and a folder of its own."""

    def __init__(self, root: Path, topic: str, topic_id: str) -> None:
        self._topic = re.sub("--+", "-", topic)  # in SQL these begin a comment
        self.folder = root / f"{self._topic}-{topic_id}"

    def open(self) -> None:
        """Make the folder, and remove what a killed process has left half done.

        Raises:
            TapelineError: the folder cannot be written.
        """
        with telling(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            for path in self.folder.glob(f"*{TEMPORARY}"):
                path.unlink(missing_ok=True)
            for other in sorted(self.folder.parent.iterdir()):
                is_of_topic = other.name.rpartition("-")[0] == self._topic and other != self.folder
                if not is_of_topic or not other.is_dir():
                    continue
                if any(other.iterdir()):
                    log.warning("files of a topic that is gone are left and not loaded", folder=str(other))
                else:
                    other.rmdir()

    def path(self, span: Span) -> Path:
        """Return where a finished file is."""
        return self.folder / span.name

    def has(self, span: Span) -> bool:
        """Tell whether a finished file is there."""
        return self.path(span).exists()

    def part(self, partition: int, first: int) -> Part:
        """Begin a file."""
        with telling(self.folder):
            return Part(self.folder / f"{partition}-{first}{PART}", partition, first)

    def finish(self, part: Part) -> Span:
        """End a file, which has lines."""
        with telling(self.folder):
            part.flush()
        part.close()
        return self._finish(part.path, Span(part.partition, part.first, part.last, part.rows))

    def remove(self, span: Span) -> None:
        """Remove a finished file."""
        with telling(self.folder):
            self.path(span).unlink(missing_ok=True)

    def left(self, partition: int, at: int, first_kept: int) -> list[Span]:
        """Return what a predecessor has left from offset `at` on, finished; remove all else of the partition.

        Each file begins where the one before it ends. One that begins later counts only when the topic has
        nothing before it any more, `first_kept` being its first offset.
        """
        spans = []
        while (span := self._next(partition, at, first_kept)) is not None:
            spans.append(span)
            at = span.last + 1
        return spans

    def forget(self, partition: int, kept: list[Span]) -> None:
        """Remove all files of a partition but those."""
        with telling(self.folder):
            names = {span.name for span in kept}
            for path in self.folder.glob(f"{partition}-*"):
                if path.name not in names:
                    path.unlink(missing_ok=True)

    def _next(self, partition: int, at: int, first_kept: int) -> Span | None:
        found: list[tuple[int, Path]] = []
        for path in self.folder.glob(f"{partition}-*"):
            bounds = bounds_of(path.name)
            first = bounds[1] if bounds else _first_of_part(path)
            if first is not None and (first == at or at < first <= first_kept):
                found.append((first, path))
        for first, path in sorted(found):
            bounds = bounds_of(path.name)
            if bounds is not None:
                return Span(partition, first, bounds[2], _rows_of(path))
            if (span := self._salvage(path, partition, first)) is not None:
                return span
        return None

    def _salvage(self, path: Path, partition: int, first: int) -> Span | None:
        """End a file that a killed process has left, half a line at its end cut off."""
        last_line, rows = b"", 0
        with append_lines(path) as file, telling(path):
            file.seek(0)
            for line in file:
                last_line, rows = line, rows + 1
        last = offset_of(last_line)
        if last is None or last < first:
            return None
        return self._finish(path, Span(partition, first, last, rows))

    def _finish(self, part: Path, span: Span) -> Span:
        temporary = self.folder / f"{span.partition}.{os.getpid()}{TEMPORARY}"
        with telling(temporary):
            with part.open("rb") as lines, temporary.open("wb") as out:
                with gzip.GzipFile("", "wb", COMPRESSION, out, mtime=0) as packed:
                    while chunk := lines.read(BUFFER_BYTES):
                        packed.write(chunk)
                out.flush()
                os.fsync(out.fileno())
            temporary.replace(self.path(span))
            part.unlink(missing_ok=True)
        log.info("file ended", file=span.name, rows=span.rows)
        return span


@contextmanager
def telling(path: Path) -> Iterator[None]:
    """Turn a failure of the file system into an error that names the place."""
    try:
        yield
    except OSError as error:
        raise TapelineError(f"cannot write {path} (LOG_DIR): {error.strerror}") from None


def _first_of_part(path: Path) -> int | None:
    if path.suffix != PART:
        return None
    _, _, text = path.stem.partition("-")
    return int(text) if text.isdigit() else None


def _rows_of(path: Path) -> int:
    with telling(path), gzip.open(path, "rb") as lines:
        return sum(1 for _ in lines)
