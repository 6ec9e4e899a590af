"""The jump rule: which ticks a historical feed's worker holds back, and whether it comes to believe them.

While ticks are held a heartbeat raises W no further than the oldest of them.

This is the one rule that running maxima cannot express: the fate of a tick depends on later ones.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from validate.rules import Rules

CONFIRMED_BY = 2
"""Ticks that must follow a candidate, all within `confirm_ms` of it."""


class Event(NamedTuple):
    """A valid tick or a heartbeat, in arrival order. Unit: ms since 1970 UTC."""

    line_no: int
    is_tick: bool
    event_ts_ms: int


class Held(NamedTuple):
    """The fate of a line that was not taken on arrival, or was refused as `future`."""

    line_no: int
    decided_at: int
    """Line that decided; one past the last line when the feed's end did."""
    is_refuted: bool
    counts_as_ms: int | None = None
    """What a heartbeat is cut down to that would pass a held tick."""


@dataclass(slots=True)
class JumpRule:
    """Follows M and W as far as this rule needs them."""

    rules: Rules
    newest: int | None = None
    watermark: int | None = None
    first: Event | None = None
    candidates: list[Event] = field(default_factory=list)

    def follow(self, events: Iterable[Event], span_ms: int) -> Iterator[Held]:
        """Yield the lines that were held or refused.

        `span_ms` is the distance of the oldest and newest event times: no jump can be longer, so the walk
        ends early on the usual feed.
        """
        line_no = 0
        for event in events:
            line_no = event.line_no
            yield from self._tick(event) if event.is_tick else self._heartbeat(event)
            if self.newest is not None and span_ms <= self.rules.jump_ms:
                return
        if self.first is not None:
            yield Held(self.first.line_no, line_no + 1, is_refuted=False)
        for candidate in self.candidates:
            yield Held(candidate.line_no, line_no + 1, is_refuted=True)

    def _heartbeat(self, beat: Event) -> Iterator[Held]:
        known = None if self.newest is None else max(self.newest, self.watermark or 0)
        if known is not None and beat.event_ts_ms > known + self.rules.jump_ms:
            yield Held(beat.line_no, beat.line_no, is_refuted=True)
            return
        # A held tick came before the heartbeat: it must not be closed by it.
        held = [*self.candidates, *([self.first] if self.first else [])]
        counts_as_ms = min([beat.event_ts_ms, *(tick.event_ts_ms for tick in held)])
        if counts_as_ms < beat.event_ts_ms:
            yield Held(beat.line_no, beat.line_no, is_refuted=False, counts_as_ms=counts_as_ms)
        self._raise_watermark(counts_as_ms)

    def _tick(self, tick: Event) -> Iterator[Held]:
        if self.first is not None:
            is_bad_clock = self.first.event_ts_ms - tick.event_ts_ms > self.rules.jump_ms
            yield Held(self.first.line_no, tick.line_no, is_bad_clock)
            if not is_bad_clock:
                self._take(self.first)
            self.first = None
        if self.newest is None:
            self.first = tick
            return
        if self.candidates:
            if abs(tick.event_ts_ms - self.candidates[0].event_ts_ms) <= self.rules.confirm_ms:
                self.candidates.append(tick)
                if len(self.candidates) > CONFIRMED_BY:
                    yield from self._believe(tick)
                return
            for candidate in self.candidates:
                yield Held(candidate.line_no, tick.line_no, is_refuted=True)
            self.candidates = []
        if tick.event_ts_ms > self.newest + self.rules.jump_ms:
            self.candidates = [tick]
        else:
            self._take(tick)

    def _believe(self, tick: Event) -> Iterator[Held]:
        for candidate in self.candidates:
            yield Held(candidate.line_no, tick.line_no, is_refuted=False)
            self._take(candidate)
        self.candidates = []

    def _take(self, tick: Event) -> None:
        """Let a tick raise M and W, unless W has closed its bin; late ticks are older than M anyway."""
        start = tick.event_ts_ms - tick.event_ts_ms % self.rules.bin_ms
        if self.watermark is not None and start + self.rules.bin_ms <= self.watermark - self.rules.late_ms:
            return
        self.newest = max(tick.event_ts_ms, self.newest or 0)
        self._raise_watermark(self.newest - self.rules.skew_ms)

    def _raise_watermark(self, to: int) -> None:
        self.watermark = to if self.watermark is None else max(self.watermark, to)
