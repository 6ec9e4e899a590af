"""Records that connectors refused, as Kafka Connect leaves them: where each is from, why, what was sent."""

import re
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from typing import NamedTuple, Self

import msgspec

PREFIX = "__connect.errors."
"""Of the headers that a worker adds; the others are the record's own."""
REDRIVEN = "tapeline.redriven"
"""Header of a record that was sent again: `<partition>:<offset>` of where it was before."""
CAUSE = re.compile(r"^Caused by: (.*\S)", re.MULTILINE)
NO_REASON = "no reason given"
MOST_STRETCHES = 150
"""Stretches of held letters that are kept in mind: the metadata of an offset has room for 4,096 bytes."""
Headers = Sequence[tuple[str, bytes | None]]


class Origin(NamedTuple):
    """Where a refused record is from."""

    topic: str
    partition: int
    offset: int


def redriven_from(headers: Headers | None, partition: int) -> int | None:
    """Return the offset that a record of a partition had before it was sent again; None where it was not."""
    for name, value in headers or []:
        place = re.fullmatch(rb"(\d+):(\d+)", value or b"") if name == REDRIVEN else None
        if place and int(place[1]) == partition:
            return int(place[2])
    return None


class Letter(msgspec.Struct, frozen=True):
    """What the headers of a refused record say; `origin` is None where they do not say where it is from."""

    origin: Origin | None
    reason: str
    """First line of what the connector said, else the class of its exception; and the cause of that."""
    headers: list[tuple[str, bytes | None]]
    """The record's own."""

    @classmethod
    def read(cls, headers: Headers | None) -> Self:
        """Read a letter off its headers; the newest of one name counts."""
        told = {name: (value or b"").decode(errors="replace") for name, value in headers or []}
        topic, *numbers = (told.get(PREFIX + name, "") for name in ("topic", "partition", "offset"))
        is_known = topic and all(re.fullmatch(r"\d+", number, re.ASCII) for number in numbers)
        names = ("message", "class.name", "stacktrace")
        message, kind, trace = (told.get(f"{PREFIX}exception.{name}", "").strip() for name in names)
        causes = [message.partition("\n")[0].rstrip(": ") or kind, *CAUSE.findall(trace)[-1:]]
        return cls(
            origin=Origin(topic, int(numbers[0]), int(numbers[1])) if is_known else None,
            reason=": ".join(filter(None, causes)) or NO_REASON,
            headers=[
                (name, value)
                for name, value in headers or []
                if name != REDRIVEN and not name.startswith(PREFIX)
            ],
        )


class Sent(msgspec.Struct, frozen=True):
    """Which letters of a partition were dealt with: those before `offset`, but for the held ones.

    It is what a group commits, the held ones in the metadata of the offset.
    """

    offset: int = 0
    held: frozenset[int] = frozenset()
    """Letters that could not be sent."""

    @classmethod
    def parse(cls, offset: int, metadata: str | None) -> Self:
        """Read what was committed."""
        held: set[int] = set()
        for stretch in re.findall(r"\d+(?:-\d+)?", metadata or "", re.ASCII):
            first, _, last = stretch.partition("-")
            held.update(range(int(first), int(last or first) + 1))
        return cls(offset, frozenset(held))

    @property
    def metadata(self) -> str:
        """Return the held ones as text; of very many stretches the newest."""
        return ",".join(stretches(self.held)[-MOST_STRETCHES:])

    def has(self, offset: int) -> bool:
        """Tell whether a letter was dealt with."""
        return offset < self.offset and offset not in self.held

    def lacks(self, first: int, end: int) -> int:
        """Return how many letters of a stretch were not dealt with."""
        at = min(max(first, self.offset), end)
        return end - at + sum(first <= offset < at for offset in self.held)


class Fate(Enum):
    """What becomes of a letter."""

    DONE = "was dealt with before"
    SEND = "sent again"
    REPEATED = "passed over: it stands there twice"
    NO_ORIGIN = "stays: its headers do not say where it is from"
    NO_PLACE = "stays: no such topic or partition"
    TOO_OLD = "passed over: so old that nobody knows whether it was sent"

    @property
    def is_held(self) -> bool:
        """Whether the letter is to be looked at again by the next run."""
        return self in (Fate.NO_ORIGIN, Fate.NO_PLACE)


class Sorter:
    """Decides what becomes of each letter: all of the topic in their order, those that were sent included.

    A worker writes letters at least once, so a record may have several. One of them is sent.
    """

    def __init__(self, sent: Mapping[int, Sent], partitions: Mapping[str, int]) -> None:
        self._sent = sent
        self._partitions = partitions
        """Of each topic their number."""
        self._seen: set[Origin] = set()

    def fate(self, partition: int, offset: int, origin: Origin | None, *, is_old: bool = False) -> Fate:
        """Return what becomes of the next letter.

        `is_old` says that what was committed when it was sent, if it was, may be forgotten by now.
        """
        is_done = self._sent[partition].has(offset)
        if origin is None:
            return Fate.DONE if is_done else Fate.NO_ORIGIN
        is_new = origin not in self._seen
        if is_done or is_old:
            self._seen.add(origin)
            return Fate.DONE if is_done else Fate.TOO_OLD
        if origin.partition >= self._partitions.get(origin.topic, 0):
            return Fate.NO_PLACE
        self._seen.add(origin)
        return Fate.SEND if is_new else Fate.REPEATED


def stretches(offsets: Iterable[int]) -> list[str]:
    """Return offsets in their order, those in a row as `first-last`."""
    rows: list[list[int]] = []
    for offset in sorted(offsets):
        if rows and offset == rows[-1][-1] + 1:
            rows[-1][1:] = [offset]
        else:
            rows.append([offset])
    return ["-".join(map(str, row)) for row in rows]
