"""How far bars are complete while none come: by what the feed's worker and the engine have committed.

The facts go by bars, so where a market stops, the last minutes would wait for the next bar, perhaps until the
morning. The wall clock cannot close them: an engine that is away looks like a market that is quiet. This
module does, in four steps, each after the one before:

1. Until when? The worker's checkpoint has W of its feed. By the watermark rules a record on every partition
   of ticks.raw closes all bars that end by W - L.
2. Where is that record? Before the ends of the partitions of ticks.raw as they are now.
3. Has the engine read it? Its committed offsets have passed those ends, and of ksqlDB's further queries the
   ends of their topics, each taken when the query before was found done.
4. Has the loader? It has read ticks.agg.1s up to its end as it is now.

What cannot be shown changes nothing: then windows wait for the next bar, as they do without this module.
"""

from collections.abc import Callable, Iterable
from typing import Protocol

import msgspec
import structlog
from confluent_kafka import TopicPartition

from glue.core.facts import floor
from glue.core.partition import Shard
from glue.core.watermarks import BAR_MS
from glue.errors import TapelineError
from glue.io.kafka_read import offset_ranges, read_from, topic_ends
from glue.io.state_topic import Checkpoint
from glue.io.topic_stats import committed_offsets
from glue.settings import Settings

LOOK_EVERY_MS = 2_000
NEWEST = 200
"""So far back from its end the state topic is read at the first look; later looks read what came since."""
TELL_AFTER = 5
"""Looks in a row that showed nothing until it is told why."""
MOST_MARKERS = 100
"""A group may lack so many offsets and have read everything: transaction markers have offsets, too."""
log = structlog.get_logger()


class Topics(Protocol):
    """What is committed to the topics of a pipeline."""

    def checkpoints(self) -> Iterable[Checkpoint]:
        """Return the newest checkpoint of each worker that has lately written."""

    def ends(self, topic: str) -> list[int]:
        """Return the end offset of each partition, of all there is."""

    def has_read(self, group: str, topic: str, ends: list[int]) -> bool:
        """Tell whether a group has committed all records before an offset of each partition."""


class _Proof(msgspec.Struct):
    """That all bars that end by `until_ms` have come, as far as it is shown."""

    until_ms: int
    done: int = 0
    """Steps of the engine that are shown."""
    ends: list[int] | None = None
    """What the next step must have read, None until they are taken."""


class BarProgress:
    """Shows, one look after the other, until when no bar is still to come.

    `raw_partitions` are those of ticks.raw, `steps` is as in `glue.engine`.
    """

    def __init__(
        self,
        topics: Topics,
        raw_partitions: int,
        steps: Callable[[], list[tuple[str, str]]],
        bars_topic: str,
    ) -> None:
        self._topics = topics
        self._raw_partitions = raw_partitions
        self._steps = steps
        self._bars_topic = bars_topic
        self._proof: _Proof | None = None
        self._looked_at_ms: int | None = None
        self._looks_in_vain = 0

    def look(
        self, wall_ms: int, is_wanted: Callable[[int], bool], has_reached: Callable[[list[int]], bool]
    ) -> int | None:
        """Return a time (ms UTC) by which all bars that end have come and were read, None if none is shown.

        It looks every `LOOK_EVERY_MS`. `is_wanted(until_ms)` says whether that time is of use,
        `has_reached(ends)` whether the bars before these offsets were read.
        """
        if self._looked_at_ms is not None and wall_ms - self._looked_at_ms < LOOK_EVERY_MS:
            return None
        self._looked_at_ms = wall_ms
        try:
            reason = self._lack(is_wanted, has_reached)
        except TapelineError as error:
            reason = str(error)
        self._looks_in_vain = self._looks_in_vain + 1 if reason else 0
        if self._looks_in_vain == TELL_AFTER:
            log.info("the last windows wait for the next bar", reason=reason)
        proof = self._proof
        if reason or proof is None:
            return None
        self._proof = None
        return proof.until_ms

    def forget(self) -> None:
        """Begin anew with the next look: bars have come."""
        self._proof = None

    def _lack(self, is_wanted: Callable[[int], bool], has_reached: Callable[[list[int]], bool]) -> str:
        """Go on with the proof as far as possible; return what it still lacks."""
        topics, proof = self._topics, self._proof
        if proof is None:
            until_ms = closed_until(topics.checkpoints(), self._raw_partitions)
            if until_ms is None:
                return "the workers of no feed have lately said how far it is"
            if not is_wanted(until_ms):
                return ""
            proof = self._proof = _Proof(until_ms)
        steps = self._steps()
        while proof.done < len(steps):
            group, topic = steps[proof.done]
            if not topics.has_read(group, topic, self._ends(proof, topic)):
                return f"the engine has not read all of {topic}"
            proof.done += 1
            proof.ends = None
        if not has_reached(self._ends(proof, self._bars_topic)):
            return f"{self._bars_topic} is not read to its end"
        return ""

    def _ends(self, proof: _Proof, topic: str) -> list[int]:
        """Return the ends that the step at hand must have read: as they were when it was its turn."""
        if proof.ends is None:
            proof.ends = self._topics.ends(topic)
        return proof.ends


def closed_until(checkpoints: Iterable[Checkpoint], partitions: int) -> int | None:
    """Return until when bars are closed by watermark records on every partition of ticks.raw, ms UTC.

    All shards of a feed must have said so. Of several feeds the one that is ahead counts: its records close
    the bars of the others, too, so one that was left behind holds nothing back. None: no feed says.
    """
    feeds: dict[str, dict[Shard, Checkpoint]] = {}
    for checkpoint in checkpoints:
        if checkpoint.partitions == partitions:
            feeds.setdefault(checkpoint.feed_id, {})[checkpoint.shard] = checkpoint
    words = []
    for shards in feeds.values():
        count = next(iter(shards)).count
        if shards.keys() == {Shard(i, count) for i in range(count)}:
            words.append(min(c.snapshot.watermark_ms - c.late_ms for c in shards.values()))
    return floor(max(words), BAR_MS) if words else None


class KafkaTopics:
    """The topics on the broker."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._checkpoints: dict[tuple[str, Shard], Checkpoint] = {}
        self._next_offset = 0

    def checkpoints(self) -> Iterable[Checkpoint]:
        """Return the newest checkpoint of each worker; read what came on the state topic since the last time.

        Raises:
            TapelineError: no broker answers, or the topic does not exist.
        """
        state = TopicPartition(self._settings.kafka_topic_state, 0)
        ((first, end),) = offset_ranges(self._settings, [state])
        state.offset = max(self._next_offset, first, end - NEWEST)
        for message in read_from(self._settings, [state]):
            try:
                checkpoint = msgspec.json.decode(message.value() or b"", type=Checkpoint)
            except msgspec.MsgspecError:  # a base, a claim or what a part runs with
                continue
            self._checkpoints[checkpoint.feed_id, checkpoint.shard] = checkpoint
        self._next_offset = end
        return self._checkpoints.values()

    def ends(self, topic: str) -> list[int]:
        """Return the end offset of each partition, of all there is.

        Raises:
            TapelineError: no broker answers, or the topic does not exist.
        """
        return topic_ends(self._settings, topic)

    def has_read(self, group: str, topic: str, ends: list[int]) -> bool:
        """Tell whether only transaction markers are between what a group has committed and some offsets.

        Raises:
            TapelineError: no broker answers.
        """
        wanted = [TopicPartition(topic, partition) for partition in range(len(ends))]
        committed = committed_offsets(self._settings, group, wanted)
        left = []
        ranges = offset_ranges(self._settings, wanted)
        for partition, at, end, (first, visible) in zip(wanted, committed, ends, ranges, strict=True):
            partition.offset = max(first, at or 0)
            if partition.offset >= end:
                continue
            if at is None or end > visible or end - partition.offset > MOST_MARKERS:
                return False
            left.append(partition)
        found = read_from(self._settings, left) if left else []
        return not any(int(m.offset() or 0) < ends[m.partition() or 0] for m in found)
