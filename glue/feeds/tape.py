"""The tape: the numbered, encoded lines of a feed, produced once and read by many."""

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Iterable

from glue.errors import TapelineError
from glue.feeds.chunks import CHUNK_LINES, NO_EVENT_MS, Chunk, ChunkEncoder
from glue.feeds.lines import Entry, RawLine

_MAX_RAW_BYTES = 2**20


class TapeDropped(TapelineError):
    """Lines asked for are no longer kept; `oldest_since_ms` is the smallest `since_ms` that still works."""

    def __init__(self, oldest_since_ms: int) -> None:
        super().__init__(
            f"lines that old are no longer kept; the oldest since_ms served is {oldest_since_ms}"
        )
        self.oldest_since_ms = oldest_since_ms


class Tape:
    """Chunks numbered from 0, made when someone first asks for them.

    A tape keeps all chunks until `forget` or `trim` drops old ones; a dropped chunk never comes back. When
    the source fails, every reader that gets that far is told, and none takes it for the end.
    """

    def __init__(self, entries: Iterable[Entry], encoder: ChunkEncoder) -> None:
        self._entries = iter(entries)
        self.encoder = encoder
        self._chunks: deque[Chunk] = deque()
        self._maxima_ms: deque[int] = deque()  # running maximum of event time, one a chunk
        self._dropped_max_ms = NO_EVENT_MS
        self._first = 0
        self.failure: TapelineError | None = None
        self.has_ended = False
        self.kept_bytes = 0

    @property
    def next_number(self) -> int:
        """Number of the chunk that is made next."""
        return self._first + len(self._chunks)

    @property
    def last_due_ms(self) -> int | None:
        """When the newest line made so far is due, None before the first."""
        return self._chunks[-1].due_ms[-1] if self._chunks else None

    def grow(self) -> bool:
        """Make one more chunk; False at the end of the source."""
        if self.failure is not None:
            raise self.failure
        if self.has_ended:
            return False
        try:
            entries = self._next_entries()
        except TapelineError as error:
            self.failure = error
            raise
        if not entries:
            self.has_ended = True
            return False
        chunk = self.encoder.encode(entries)
        self._chunks.append(chunk)
        newest_ms = self._maxima_ms[-1] if self._maxima_ms else self._dropped_max_ms
        self._maxima_ms.append(max(newest_ms, chunk.max_event_ms))
        self.kept_bytes += chunk.size
        return True

    def chunk(self, number: int) -> Chunk | None:
        """Return a chunk, making what is missing up to it; None after the end.

        Raises:
            TapeDropped: it is no longer kept.
        """
        if number < self._first:
            raise TapeDropped(self._dropped_max_ms + 1)
        while number >= self.next_number:
            if not self.grow():
                return None
        return self._chunks[number - self._first]

    def find(self, since_ms: int) -> tuple[int, int] | None:
        """Return (chunk, line) of the first line with event time >= `since_ms` among those made so far.

        Raises:
            TapeDropped: it was that old that it is no longer kept.
        """
        if since_ms <= self._dropped_max_ms:
            raise TapeDropped(self._dropped_max_ms + 1)
        index = bisect_left(self._maxima_ms, since_ms)
        if index == len(self._chunks):
            return None
        line = self._chunks[index].first_since(since_ms)
        return None if line is None else (self._first + index, line)

    def find_due_after(self, clock_ms: int) -> tuple[int, int]:
        """Return (chunk, line) of the first line due after `clock_ms`, the end of what is made if none is."""
        number = self._first + bisect_right(self._chunks, clock_ms, key=lambda chunk: chunk.due_ms[-1])
        if number == self.next_number:
            return number, 0
        return number, self._chunks[number - self._first].due_by(clock_ms)

    def forget(self, before: int) -> None:
        """Drop the chunks with a smaller number."""
        while self._chunks and self._first < before:
            self._drop()

    def trim(self, now_ms: int, keep_ms: int, keep_bytes: int) -> None:
        """Drop lines that were due more than `keep_ms` ago, and the oldest due ones beyond `keep_bytes`."""
        while self._chunks:
            last_due_ms = self._chunks[0].due_ms[-1]
            is_over_size = self.kept_bytes > keep_bytes and last_due_ms < now_ms
            if last_due_ms >= now_ms - keep_ms and not is_over_size:
                return
            self._drop()

    def _next_entries(self) -> list[Entry]:
        entries: list[Entry] = []
        raw_bytes = 0
        for entry in self._entries:
            entries.append(entry)
            if isinstance(entry[2], RawLine):
                raw_bytes += len(entry[2].text)  # from a file, so of any length
            if len(entries) == CHUNK_LINES or raw_bytes > _MAX_RAW_BYTES:
                break
        return entries

    def _drop(self) -> None:
        self.kept_bytes -= self._chunks.popleft().size
        self._dropped_max_ms = self._maxima_ms.popleft()
        self._first += 1
