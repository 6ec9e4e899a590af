"""Watermark rules: how late a tick may be, and how one bad clock is kept from making all others late."""

from typing import Literal

import msgspec

from glue.core.ticks import Tick

Mode = Literal["live", "historical"]
CONFIRM_WITHIN_MS = 60_000
CONFIRMING_TICKS = 2
BAR_MS = 1000


class Rules(msgspec.Struct, frozen=True):
    """What worker, engine and ksql scripts must agree on. Times in milliseconds.

    `bin_ms` divides 1000 and `late_ms`; `skew_ms` is at most `late_ms`.
    """

    bin_ms: int = 10
    late_ms: int = 500
    skew_ms: int = 20
    max_future_ms: int = 5_000
    max_jump_ms: int = 21_600_000
    partitions: int = 1


class Held(msgspec.Struct, frozen=True, gc=False):
    """A tick whose event time is not believed yet."""

    tick: Tick
    raw: bytes
    event_ms: int


class Verdict(msgspec.Struct, frozen=True):
    """What one more tick decided: these are a bad clock's, those are accepted in order."""

    future: list[Held]
    accepted: list[Held]


class JumpGuard:
    """Historical feeds: a jump of more than `max_jump_ms` ahead is believed only when confirmed.

    A jumping tick is held. When the next two ticks are within a minute of it, all three are accepted;
    a tick that is not refutes it. The very first tick of a feed, which has nothing to jump from, is
    held until the next one: if that is more than `max_jump_ms` behind, the first was the bad clock.
    """

    def __init__(self, max_jump_ms: int) -> None:
        self._max_jump_ms = max_jump_ms
        self._held: list[Held] = []

    @property
    def is_holding(self) -> bool:
        """Whether ticks wait for a decision."""
        return bool(self._held)

    @property
    def oldest_held_ms(self) -> int | None:
        """Lowest event time that waits for a decision, None when no tick does."""
        return min((tick.event_ms for tick in self._held), default=None)

    def take(self, tick: Held, newest_ms: int | None) -> Verdict:
        """Judge one tick; `newest_ms` is the highest accepted event time, None before the first."""
        if newest_ms is None and self._held:
            first = self._held.pop()
            if tick.event_ms < first.event_ms - self._max_jump_ms:
                self._held.append(tick)
                return Verdict([first], [])
            if tick.event_ms > first.event_ms + self._max_jump_ms:
                self._held.append(tick)
                return Verdict([], [first])
            return Verdict([], [first, tick])
        if self._held and abs(tick.event_ms - self._held[0].event_ms) <= CONFIRM_WITHIN_MS:
            self._held.append(tick)
            if len(self._held) <= CONFIRMING_TICKS:
                return Verdict([], [])
            accepted, self._held = self._held, []
            return Verdict([], accepted)
        refuted, self._held = self._held, []
        if newest_ms is None or tick.event_ms > newest_ms + self._max_jump_ms:
            self._held.append(tick)
            return Verdict(refuted, [])
        return Verdict(refuted, [tick])

    def end(self, newest_ms: int | None) -> Verdict:
        """Decide what is still held when the feed ends: unconfirmed jumps fail, a lone first tick stands."""
        held, self._held = self._held, []
        return Verdict([], held) if newest_ms is None else Verdict(held, [])
