"""Bars from ticks.agg.1s for one reader at a time."""

from collections.abc import Callable
from typing import cast

import msgspec
import structlog

from glue import metrics
from glue.core.bars import Bar
from glue.core.connect_letters import Headers, redriven_from
from glue.core.flushes import Position, Resumed
from glue.io.kafka_active import ActiveReader, Committed
from glue.io.registry import AvroReader, BadRecord, Registry
from glue.settings import Settings

log = structlog.get_logger()


class BarRecord(msgspec.Struct, frozen=True, gc=False):
    """A bar and where it is on the topic."""

    partition: int
    offset: int
    bar: Bar
    was_at: int | None = None
    """Its offset before a connector refused it and it was sent again."""


class KafkaBarSource:
    """The bars' topic, for the active member of a group: a reader that folds by symbol needs all partitions.

    `on_active(found)` is called inside `poll` when this member becomes the one that reads, with each
    partition as it goes on; `on_standby()` when it is no more.
    """

    def __init__(
        self,
        settings: Settings,
        group: str,
        on_active: Callable[[dict[int, Resumed]], None],
        on_standby: Callable[[], None],
    ) -> None:
        self._on_active = on_active
        self._registry = Registry(settings)
        self._reader = AvroReader("bar_1s.avsc", self._registry)
        self._member = ActiveReader(settings, settings.agg_output_topic, group, self._begin, on_standby)

    def poll(self, timeout_s: float) -> list[BarRecord]:
        """Return the bars that are there, waiting for the first one at most `timeout_s`.

        Raises:
            TransientError: the broker or the registry does not answer; what was read is to be read again.
        """
        records = []
        for message in self._member.poll(timeout_s):
            try:
                bar = msgspec.convert(self._reader.decode(message.value()), Bar)
            except (BadRecord, msgspec.ValidationError) as bad:
                metrics.BARS_UNREADABLE.inc()
                log.warning("a record of the bars' topic is no bar, skipped", error=str(bad))
                continue
            partition, offset = message.partition() or 0, message.offset() or 0
            was_at = redriven_from(cast("Headers | None", message.headers()), partition)
            records.append(BarRecord(partition, offset, bar, was_at))
        return records

    @property
    def is_at_end(self) -> bool:
        """Whether the end of each partition was reached since this member became active."""
        return self._member.is_at_end

    def has_reached(self, ends: list[int]) -> bool:
        """Tell whether all bars before an offset of each partition were returned by `poll`."""
        return self._member.has_reached(ends)

    def pause(self) -> None:
        """Fetch no more, and stay a member."""
        self._member.pause()

    def resume(self) -> None:
        """Fetch again."""
        self._member.resume()

    def commit(self, positions: dict[int, Position]) -> None:
        """Commit positions as this member of the group.

        Raises:
            NotCommitted: the broker did not take them, or another member is the active one by now.
        """
        self._member.commit({p: (at.offset, at.metadata) for p, at in positions.items()})

    def close(self) -> None:
        """Leave the group."""
        self._member.close()
        self._registry.close()

    def _begin(self, found: dict[int, Committed]) -> dict[int, int]:
        resumed = {}
        for partition, committed in found.items():
            at = Position.parse(max(0, committed.offset), committed.metadata)
            is_partial = at.offset < committed.first_kept
            if is_partial:
                self._tell(partition, committed)
                at = Position(committed.first_kept, max(committed.first_kept, at.seen_offset), at.written_ms)
            resumed[partition] = Resumed(at, committed.end, is_partial)
        self._on_active(resumed)
        return {partition: at.position.offset for partition, at in resumed.items()}

    @staticmethod
    def _tell(partition: int, committed: Committed) -> None:
        """Say that the partition does not begin with its first record."""
        if committed.offset < 0:
            log.info(
                "a new group begins where the bars do; what was before is not known",
                partition=partition,
                first_kept=committed.first_kept,
            )
            return
        metrics.BARS_MISSED.labels(partition).inc()
        log.error(
            "bars have fallen out of the retention before they were read",
            partition=partition,
            committed=committed.offset,
            first_kept=committed.first_kept,
        )
