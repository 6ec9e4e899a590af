"""What the processes of a pipeline leave for each other on ticks.replay.state, newest by key.

The worker's checkpoints, bases and claims; by which lateness and bin size each part runs; what was deployed.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from glue.core.partition import Shard
from glue.core.resume import Base, Snapshot
from glue.errors import TapelineError
from glue.io.kafka import MissingTopic, publish
from glue.io.kafka_read import read_to_end
from glue.settings import Settings

WORKER = "glue.replay"
RECENT_MS = 10_000
LOOKS, LOOK_EVERY_S = 3, 0.6
"""A worker of a live feed commits every second at least. Several looks: while a machine stands still, as it
may during one of them, no worker writes."""


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True, tag="checkpoint"):
    """What a transaction says of the feed; key = feed_id|shard. Times in ms."""

    feed_id: str
    shard: Shard
    mode: str
    snapshot: Snapshot
    late_ms: int
    bin_ms: int
    partitions: int
    is_ended: bool
    updated_ms: int


class BaseRecord(msgspec.Struct, frozen=True, kw_only=True, tag="base"):
    """The base that later checkpoints of the feed need for a restart; key = feed_id|shard|base."""

    feed_id: str
    shard: Shard
    base: Base


class Claim(msgspec.Struct, frozen=True, kw_only=True, tag="claim"):
    """Who writes a shard of the feed, told before an older worker is fenced; key = feed_id|shard|claim."""

    feed_id: str
    shard: Shard
    worker: str


class Agreement(msgspec.Struct, frozen=True, kw_only=True, tag="agreement"):
    """By which lateness and bin size a part runs; all must be alike. Key = agreement|part."""

    part: str
    late_ms: int
    bin_ms: int

    @property
    def key(self) -> str:
        """Key of the record."""
        return f"agreement|{self.part}"


class Deployed(msgspec.Struct, frozen=True, kw_only=True, tag="deployed"):
    """Hash of each statement that a ksqlDB server was given, by stream or table; key = deployed|service id.

    A server tells its statements as it formats them, so whether a script has changed is known from here.
    """

    service_id: str
    statements: dict[str, str]

    @property
    def key(self) -> str:
        """Key of the record."""
        return f"deployed|{self.service_id}"


StateRecord = Checkpoint | BaseRecord | Claim | Agreement | Deployed


@dataclass(frozen=True, slots=True)
class State:
    """The newest record of each key; checkpoints and bases by (feed_id, shard), the others by name."""

    checkpoints: dict[tuple[str, Shard], Checkpoint]
    bases: dict[tuple[str, Shard], Base]
    claims: dict[tuple[str, Shard], Claim]
    agreements: dict[str, Agreement]
    deployed: dict[str, Deployed]


def read_state(settings: Settings, *, is_whole: bool = True) -> State:
    """Return what the topic holds.

    Without `is_whole` no transaction is waited for that is still open, such as that of a killed worker before
    it is fenced: then older records may be returned.

    Raises:
        TapelineError: no broker answers, or the topic has records of another version.
    """
    state = State({}, {}, {}, {}, {})
    for record in _records(settings, is_whole=is_whole):
        match record:
            case Checkpoint():
                state.checkpoints[record.feed_id, record.shard] = record
            case BaseRecord():
                state.bases[record.feed_id, record.shard] = record.base
            case Claim():
                state.claims[record.feed_id, record.shard] = record
            case Agreement():
                state.agreements[record.part] = record
            case Deployed():
                state.deployed[record.service_id] = record
    return state


def publish_state(settings: Settings, key: str, record: StateRecord) -> None:
    """Append a record outside any transaction.

    Raises:
        TransientError: no broker took it.
    """
    publish(settings, settings.kafka_topic_state, key, msgspec.json.encode(record))


def agree(settings: Settings, part: str, *, is_dry_run: bool = False) -> None:
    """Say by which lateness and bin size a part is to run, unless another part runs by others.

    A worker is also known by its checkpoints. A dry run says nothing.

    Raises:
        TapelineError: another part does: bins would be dropped, or bars made from a part of their bins.
    """
    own = Agreement(part=part, late_ms=settings.replay_max_late_ms, bin_ms=settings.replay_bin_ms)
    try:
        state = read_state(settings, is_whole=False)
    except MissingTopic:
        if is_dry_run:
            return
        raise
    others: list[tuple[str, Agreement | Checkpoint]] = [
        (other.part, other) for other in state.agreements.values() if other.part != part
    ]
    if part != WORKER:
        others += [(f"a worker (feed {c.feed_id})", c) for c in state.checkpoints.values()]
    for who, other in others:
        for name, theirs, ours in (
            ("REPLAY_MAX_LATE_MS", other.late_ms, own.late_ms),
            ("REPLAY_BIN_MS", other.bin_ms, own.bin_ms),
        ):
            if theirs != ours:
                raise TapelineError(
                    f"{name} is {ours}, but {who} runs with {theirs} on these topics: set it alike, "
                    "or start over with --fresh"
                )
    if not is_dry_run and state.agreements.get(part) != own:
        publish_state(settings, own.key, own)


def refuse_running_worker(settings: Settings) -> None:
    """Refuse to go on while a worker writes: a running one does not notice that its topics are new.

    A worker that has written in the last seconds is looked at some more times.

    Raises:
        TapelineError: names the feed.
    """
    try:
        before = _updates(settings)
        now_ms = time.time() * 1000
        if all(abs(now_ms - updated_ms) >= RECENT_MS for updated_ms in before.values()):
            return
        for _ in range(LOOKS):
            time.sleep(LOOK_EVERY_S)
            for (feed_id, shard), updated_ms in _updates(settings).items():
                if before.get((feed_id, shard)) != updated_ms:
                    raise TapelineError(
                        f"a worker (feed {feed_id}, shard {shard}) is writing to these topics: stop it first "
                        "(python -m glue.replay)"
                    )
    except MissingTopic:
        return


def _updates(settings: Settings) -> dict[tuple[str, Shard], int]:
    """Return when each worker that has not come to the end of its feed wrote its newest checkpoint."""
    checkpoints = read_state(settings, is_whole=False).checkpoints
    return {key: checkpoint.updated_ms for key, checkpoint in checkpoints.items() if not checkpoint.is_ended}


def withdraw(settings: Settings, part: str) -> None:
    """Forget by what a part ran: it is gone."""
    try:
        known = read_state(settings, is_whole=False).agreements.get(part)
    except MissingTopic:
        return
    if known is not None:
        publish(settings, settings.kafka_topic_state, known.key, None)


def _records(settings: Settings, *, is_whole: bool) -> Iterator[StateRecord]:
    """Yield the newest record of each key."""
    messages = read_to_end(settings, settings.kafka_topic_state, is_whole=is_whole)
    for value in {message.key(): message.value() for message in messages}.values():
        if value is None:
            continue
        try:
            yield msgspec.json.decode(value, type=StateRecord)
        except msgspec.MsgspecError as error:
            raise TapelineError(
                f"{settings.kafka_topic_state} holds a record of another version ({error}); start with "
                "--fresh, or set KAFKA_TOPIC_STATE and the other topics to new names"
            ) from None
