"""Records of ticks.raw for one reader at a time, which stages them for the warehouse."""

from collections.abc import Callable

import msgspec
import structlog

from glue.core.bins import TickBin
from glue.core.staged import Place
from glue.io.bin_codec import BinReader
from glue.io.kafka_active import ActiveReader, Committed
from glue.io.registry import BadRecord, Registry
from glue.settings import Settings

MAX_LOAD_S = 3600.0
"""How long a load may take before the group gives the reader up; a killed one it misses after ten seconds."""
log = structlog.get_logger()


class RawRecord(msgspec.Struct, frozen=True, gc=False):
    """One record of ticks.raw; `tick_bin` is None when it cannot be read as a bin."""

    partition: int
    offset: int
    tick_bin: TickBin | None


class KafkaRawSource:
    """The topic of bins, for the active member of a group, as ActiveReader has it."""

    def __init__(
        self,
        settings: Settings,
        on_active: Callable[[dict[int, Committed]], dict[int, int]],
        on_standby: Callable[[], None],
    ) -> None:
        self._registry = Registry(settings)
        self._reader = BinReader(self._registry)
        self._member = ActiveReader(
            settings,
            settings.kafka_topic_raw,
            settings.snowflake_raw_group,
            on_active,
            on_standby,
            max_poll_s=MAX_LOAD_S,
        )

    def poll(self, timeout_s: float) -> list[RawRecord]:
        """Return the records that are there, waiting for the first one at most `timeout_s`.

        Raises:
            TransientError: the broker or the registry does not answer; what was read is to be read again.
        """
        return [
            RawRecord(message.partition() or 0, message.offset() or 0, self._decode(message.value()))
            for message in self._member.poll(timeout_s)
        ]

    @property
    def is_at_end(self) -> bool:
        """Whether the end of each partition was reached since this member became active."""
        return self._member.is_at_end

    def pause(self) -> None:
        """Fetch no more, and stay a member."""
        self._member.pause()

    def resume(self) -> None:
        """Fetch again."""
        self._member.resume()

    def commit(self, places: dict[int, Place]) -> None:
        """Commit places as this member of the group.

        Raises:
            NotCommitted: the broker did not take them, or another member is the active one by now.
        """
        self._member.commit({p: (place.offset, place.metadata) for p, place in places.items()})

    def close(self) -> None:
        """Leave the group."""
        self._member.close()
        self._registry.close()

    def _decode(self, value: bytes | None) -> TickBin | None:
        try:
            return self._reader.decode(value)
        except (BadRecord, msgspec.ValidationError) as error:
            log.warning("a record of ticks.raw is no bin, skipped", error=str(error))
            return None
