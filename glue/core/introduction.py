"""Who speaks: from the feed's hello, or from the first tick of a feed that says none."""

import hashlib

import msgspec

from glue.core.ticks import BadLine, Control, decode_chunk, event_time_ms
from glue.core.watermarks import Mode

LIVE_WITHIN_MS = 60_000
MAX_UNDECIDED_BYTES = 1_000_000


class Feed(msgspec.Struct, frozen=True):
    """Who speaks. A numbered feed gives every line a `seq` and sends again from `since_ms`."""

    feed_id: str
    mode: Mode
    is_numbered: bool = False


class Introduction:
    """Waits for what tells a feed's id and mode; keeps the lines that came before it was known.

    A feed without hello is known by the hash of its URL, and is live when its first tick is within a
    minute of the wall clock.
    """

    def __init__(self, url: str) -> None:
        self._url_hash = hashlib.sha256(url.encode()).hexdigest()[:16]
        self._hello: Control | None = None
        self.kept = b""

    def feed_id(self, hello: Control | None) -> str:
        """Return the id of the feed at the URL that began with this hello, or with none."""
        return hello.feed_id if hello is not None and hello.feed_id else self._url_hash

    def hear_hello(self, hello: Control | None) -> Feed | None:
        """Take the first line of a connection; return the feed when that is enough."""
        self._hello = hello
        if hello is None or hello.mode is None:
            return None
        return Feed(self.feed_id(hello), hello.mode, hello.resume == "since")

    def hear_lines(self, data: bytes, now_ms: int) -> Feed | None:
        """Keep whole lines; return the feed once one of them tells, or too many did not."""
        self.kept += data
        for line in decode_chunk(data):
            if not isinstance(line, BadLine) and line.event_ts is not None:
                is_live = abs(event_time_ms(line.event_ts) - now_ms) <= LIVE_WITHIN_MS
                return self.decide(is_live=is_live)
        return self.decide(is_live=False) if len(self.kept) > MAX_UNDECIDED_BYTES else None

    def decide(self, *, is_live: bool) -> Feed:
        """Return the feed, with this mode where its hello named none."""
        hello = self._hello
        mode: Mode = "live" if is_live else "historical"
        return Feed(self.feed_id(hello), mode, hello is not None and hello.resume == "since")
