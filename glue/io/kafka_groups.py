"""Consumer groups: a member of one, which there are, and how one is forgotten."""

import re
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from confluent_kafka import (
    Consumer,
    ConsumerGroupState,
    ConsumerGroupTopicPartitions,
    KafkaException,
    TopicPartition,
)

from glue.errors import TapelineError
from glue.io.kafka import REQUEST_TIMEOUT_S, admin_client, client_config, kafka_error, unreachable
from glue.settings import Settings

SESSION_TIMEOUT_S = 10.0
"""How long a group counts a killed member as one of its own."""
LEFT_WITHIN_S = SESSION_TIMEOUT_S + 5
"""A busy broker finds out late."""
WITHOUT_MEMBER = {ConsumerGroupState.EMPTY, ConsumerGroupState.DEAD}
HAS_MEMBER = {"NON_EMPTY_GROUP", "UNKNOWN_MEMBER_ID"}
"""What the broker says to a deletion and to offsets from outside; perhaps only a killed member is left."""
MAY_PASS = HAS_MEMBER | {
    "NOT_COORDINATOR",  # these three until a new broker has made its topic of offsets
    "COORDINATOR_NOT_AVAILABLE",
    "COORDINATOR_LOAD_IN_PROGRESS",
}


def group_member(settings: Settings, group: str, *, max_poll_s: float, **more: Any) -> Consumer:
    """Return a consumer that joins a group; it commits nothing by itself.

    `max_poll_s` is the longest that its user may be away between two polls. It is also what a join that a
    broker loses, as one that has just started may, takes until it is tried again.
    """
    config: dict[str, Any] = {
        "group_id": group,
        "enable_auto_commit": False,
        "auto_offset_reset": "earliest",
        "isolation_level": "read_committed",
        "session_timeout_ms": int(SESSION_TIMEOUT_S * 1000),
        "max_poll_interval_ms": int(max_poll_s * 1000),
        "heartbeat_interval_ms": 1_000,
        "fetch_wait_max_ms": 100,
    }
    return Consumer(client_config(settings, **(config | more)))


def shards_of(settings: Settings, group: str) -> list[str]:
    """Return the group and those of its shards, `<group>-<i>of<n>`, as far as the broker knows them.

    Raises:
        TransientError: no broker answers, or one does not get its groups ready.
        TapelineError: the broker refuses.
    """
    return own_groups(group, (found for found, _ in _groups(settings)))


def own_groups(group: str, among: Iterable[str]) -> list[str]:
    """Return those of some groups that are the group or one of its shards, sorted."""
    name = re.compile(re.escape(group) + r"(-\d+of\d+)?")
    return sorted(filter(name.fullmatch, among))


def active_groups(settings: Settings) -> set[str]:
    """Return the consumer groups that have a member.

    Raises:
        TransientError: no broker answers, or one does not get its groups ready.
        TapelineError: the broker refuses.
    """
    return {name for name, state in _groups(settings) if state not in WITHOUT_MEMBER}


def _groups(settings: Settings) -> list[tuple[str, ConsumerGroupState]]:
    admin = admin_client(settings)  # must live as long as its futures
    deadline = time.monotonic() + REQUEST_TIMEOUT_S
    while True:
        try:
            listed = admin.list_consumer_groups(request_timeout=REQUEST_TIMEOUT_S).result(REQUEST_TIMEOUT_S)
        except (KafkaException, TimeoutError):  # whichever of the two is first
            raise unreachable(settings) from None
        if not listed.errors:
            return [(found.group_id, found.state) for found in listed.valid]
        # One by broker; below 0: of the client itself, to which a broker did not answer.
        refusal = next((e for e in listed.errors if e.code() > 0 and e.name() not in MAY_PASS), None)
        if refusal is not None:
            raise TapelineError(f"list of consumer groups: {refusal.str()}")
        if time.monotonic() > deadline:
            raise unreachable(settings)
        time.sleep(0.1)


def require_stopped(settings: Settings, groups: Mapping[str, str]) -> None:
    """Wait until no group has a member: a killed one counts for a while.

    `groups` are the commands that their members run, for the message, by their names.

    Raises:
        TapelineError: a group has a running member.
    """
    deadline = time.monotonic() + LEFT_WITHIN_S
    while running := sorted(active_groups(settings) & groups.keys()):
        if time.monotonic() > deadline:
            raise _is_running(running[0], groups[running[0]])
        time.sleep(0.1)


def forget_group(settings: Settings, group: str, command: str) -> None:
    """Delete a consumer group and its offsets, so that its next member starts from the beginning.

    `command` is what its members run, for the message.

    Raises:
        TransientError: no broker answers, or none is ready to.
        TapelineError: the group has a running member, or the broker refuses.
    """
    admin = admin_client(settings)  # must live as long as its futures

    def delete() -> None:
        admin.delete_consumer_groups([group])[group].result(REQUEST_TIMEOUT_S)

    _change(settings, group, command, delete)


def move_group(
    settings: Settings, group: str, command: str, topic: str, offsets: Mapping[int, tuple[int, str]]
) -> None:
    """Commit offsets and their metadata by partition, for a group that has no member or is not there yet.

    Raises:
        TransientError: no broker answers, or none is ready to.
        TapelineError: the group has a running member, or the broker refuses.
    """
    admin = admin_client(settings)  # must live as long as its futures
    places = [TopicPartition(topic, p, at, metadata=metadata) for p, (at, metadata) in offsets.items()]
    wanted = ConsumerGroupTopicPartitions(group, places)

    def commit() -> None:
        done = admin.alter_consumer_group_offsets([wanted])[group].result(REQUEST_TIMEOUT_S)
        for place in done.topic_partitions:  # a refusal stands there, partition by partition
            if place.error is not None:
                raise KafkaException(place.error)

    _change(settings, group, command, commit)


def _change(settings: Settings, group: str, command: str, change: Callable[[], None]) -> None:
    deadline = time.monotonic() + LEFT_WITHIN_S
    while True:
        try:
            change()
        except TimeoutError:  # of a broker that hangs
            raise unreachable(settings) from None
        except KafkaException as exception:
            error = kafka_error(exception)
            if error.name() == "GROUP_ID_NOT_FOUND":
                return
            if error.code() > 0 and error.name() not in MAY_PASS:  # below 0: of the client itself
                raise TapelineError(f"offsets of group {group}: {error.str()}") from None
            if error.code() < 0 or time.monotonic() > deadline:
                is_running = error.name() in HAS_MEMBER
                raise (_is_running(group, command) if is_running else unreachable(settings)) from None
            time.sleep(0.1)
        else:
            return


def _is_running(group: str, command: str) -> TapelineError:
    return TapelineError(f"group {group} is running; stop it first (python -m {command})")
