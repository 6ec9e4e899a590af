"""One connection to a feed: from the hello to the end, paced to the millisecond."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from glue.feeds.feed import END_LINE, Feed
from glue.feeds.tape import Tape

HEARTBEAT_MS = 100
KEEPALIVE_S = 1.0
_UNPACED = float("inf")


class Stream:
    """Sends the lines of a feed to one client through `write`, which waits while the client is slow.

    Live feeds start at `since_ms` or now, and send a heartbeat every 100 ms once the lines already due are
    out; historical ones start at `since_ms` or at the start, at their own pace from there, and send a blank
    line when nothing else was sent for a second. With `symbols` only those, and raw lines of no symbol.

    Raises:
        TapeDropped: the lines asked for are no longer kept; from the constructor, or from `run` when a
            client of a live feed is too slow.
    """

    def __init__(
        self,
        feed: Feed,
        write: Callable[[bytes], Awaitable[None]],
        *,
        since_ms: int | None = None,
        symbols: Sequence[str] = (),
    ) -> None:
        self._feed = feed
        self._write = write
        self._tape: Tape = feed.open_tape()
        self._wanted = self._tape.encoder.codes(symbols)
        self._chunk = self._line = 0
        self._since_ms: int | None = None  # not None = the line with that event time is still to come
        self._next_due_ms = 0
        self._last_write_s = 0.0
        self.lines_sent = 0
        if since_ms is not None:
            found = self._tape.find(since_ms)
            self._since_ms = since_ms if found is None else None
            self._chunk, self._line = found or (self._tape.next_number, 0)
        elif feed.is_live:
            self._chunk, self._line = self._tape.find_due_after(int(feed.now_ms()))

    async def run(self) -> None:
        """Send everything; returns after the end of a finite feed."""
        await self._send(self._feed.hello_line)
        if self._feed.is_live:
            await self._run_live()
        else:
            await self._run_historical()
        await self._send(END_LINE)

    async def _run_live(self) -> None:
        next_beat_ms = 0
        while True:
            clock_ms = int(self._feed.now_ms())
            if await self._send_due(clock_ms):
                return
            if clock_ms >= next_beat_ms:
                # Everything due at clock_ms is out, also when sending it took a while.
                await self._send(self._feed.heartbeat_line(clock_ms))
                next_beat_ms = clock_ms - clock_ms % HEARTBEAT_MS + HEARTBEAT_MS
            wake_ms = min(self._next_due_ms, next_beat_ms)
            await asyncio.sleep(max(0.0, (wake_ms - self._feed.now_ms()) / 1000))

    async def _run_historical(self) -> None:
        await self._seek()
        first = self._tape.chunk(self._chunk)
        if self._feed.speed == 0 or first is None:
            await self._send_due(_UNPACED)
            return
        loop = asyncio.get_running_loop()
        start_s, start_ms, speed = loop.time(), first.due_ms[self._line], self._feed.speed
        while not await self._send_due(start_ms + (loop.time() - start_s) * 1000 * speed):
            await self._keep_alive()
            due_s = start_s + (self._next_due_ms - start_ms) / 1000 / speed
            wake_s = min(due_s, self._last_write_s + KEEPALIVE_S)
            await asyncio.sleep(max(0.0, wake_s - loop.time()))

    async def _seek(self) -> None:
        """Historical: read on to the line asked for, or to the end."""
        while self._since_ms is not None and (chunk := self._tape.chunk(self._chunk)) is not None:
            line = chunk.first_since(self._since_ms)
            if line is None:
                await self._next_chunk()
            else:
                self._line, self._since_ms = line, None

    async def _send_due(self, clock_ms: float) -> bool:
        """Send the lines due at `clock_ms`; True at the end of the feed, else `_next_due_ms` is known."""
        while (chunk := self._tape.chunk(self._chunk)) is not None:
            if self._since_ms is not None:
                line = chunk.first_since(self._since_ms)
                if line is None:
                    self._next_due_ms = chunk.due_ms[-1]
                    if self._next_due_ms > clock_ms:
                        return False
                    await self._next_chunk()
                    continue
                self._line, self._since_ms = line, None
            stop = chunk.due_by(clock_ms, self._line)
            if stop > self._line:
                data, count = chunk.part(self._line, stop, self._wanted)
                self._line = stop
                if count:
                    if self._feed.is_live:
                        data = self._tape.encoder.stamp(data, int(self._feed.now_ms()))
                    await self._send(data)
                    self.lines_sent += count
            if stop < len(chunk):
                self._next_due_ms = chunk.due_ms[stop]
                return False
            await self._next_chunk()
        return True

    async def _next_chunk(self) -> None:
        self._chunk, self._line = self._chunk + 1, 0
        if self._tape is not self._feed.shared:
            self._tape.forget(self._chunk)
        await self._keep_alive()
        await asyncio.sleep(0)  # the other clients have a turn, however fast this one reads

    async def _keep_alive(self) -> None:
        if asyncio.get_running_loop().time() >= self._last_write_s + KEEPALIVE_S:
            await self._send(b"\n")

    async def _send(self, data: bytes) -> None:
        await self._write(data)
        self._last_write_s = asyncio.get_running_loop().time()
