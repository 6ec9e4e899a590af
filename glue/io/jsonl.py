"""JSON lines on disk: the offline form of every topic. A file appears whole or not at all."""

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, TypeVar

import msgspec

from glue.core.binner import Output
from glue.core.dead_letters import DeadLetter
from glue.errors import TapelineError
from glue.io.http_feed import CHUNK_BYTES

T = TypeVar("T")
_encoder = msgspec.json.Encoder()


class LineFile:
    """A file of JSON lines that replaces `path` when it is finished; until then it is `path`.part."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._part = path.with_name(path.name + ".part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._part.open("wb")
        except OSError as error:
            raise TapelineError(f"cannot write {path}: {error.strerror}") from None

    def write(self, records: Sequence[object]) -> None:
        """Append records, one a line."""
        if records:
            self._file.write(_encoder.encode_lines(records))

    def flush(self) -> None:
        """Let readers of the .part file see what was written."""
        self._file.flush()

    def finish(self) -> None:
        """Put the whole file in its place."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._part.replace(self.path)

    def abandon(self) -> None:
        """Drop what was written."""
        self._file.close()
        self._part.unlink(missing_ok=True)


def append_lines(path: Path) -> BinaryIO:
    """Open a file of lines to append to; half a line, which a killed process left, is cut off.

    Raises:
        TapelineError: the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a+b")
        end = at = file.seek(0, os.SEEK_END)
        tail = b""
        while at > 0 and b"\n" not in tail:
            at = max(0, at - CHUNK_BYTES)
            file.seek(at)
            tail = file.read(end - at)
        whole = at + tail.rfind(b"\n") + 1
        if whole < end:
            file.truncate(whole)
    except OSError as error:
        raise TapelineError(f"cannot write {path}: {error.strerror}") from None
    return file


class JsonlSink:
    """Bins and watermark records in one file, dead letters in another; both finished together."""

    partitions = 1

    def __init__(self, bins_path: Path, dlt_path: Path) -> None:
        self._bins = LineFile(bins_path)
        self._dead_letters = LineFile(dlt_path)

    def publish(self, outputs: Iterable[Output]) -> None:
        """Write bins and dead letters to their files."""
        bins: list[Output] = []
        dead_letters: list[Output] = []
        for output in outputs:
            (dead_letters if isinstance(output, DeadLetter) else bins).append(output)
        self._bins.write(bins)
        self._dead_letters.write(dead_letters)

    def commit(self, checkpoint: object, base: object) -> None:
        """Let readers of the unfinished files see what was written."""
        self._bins.flush()
        self._dead_letters.flush()

    def finish(self) -> None:
        """Put both files in their places."""
        self._bins.finish()
        self._dead_letters.finish()

    def abandon(self) -> None:
        """Leave what is in the places as it was."""
        self._bins.abandon()
        self._dead_letters.abandon()


def read_lines(path: Path, kind: type[T]) -> Iterator[T]:
    """Yield the records of a file of JSON lines.

    Raises:
        TapelineError: the file cannot be read, or a line is no such record; names file and line.
    """
    decoder = msgspec.json.Decoder(kind)
    try:
        with path.open("rb", buffering=CHUNK_BYTES) as file:
            for number, line in enumerate(file, 1):
                try:
                    yield decoder.decode(line)
                except msgspec.MsgspecError as error:
                    raise TapelineError(f"{path}:{number}: {error}") from None
    except OSError as error:
        raise TapelineError(f"cannot read {path}: {error.strerror}") from None
