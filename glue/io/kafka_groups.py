"""Consumer groups: a member of one, which there are, and how one is forgotten."""

import re
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
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
        TransientError: no broker answers.
    """
    return own_groups(group, (found for found, _ in _groups(settings)))


def own_groups(group: str, among: Iterable[str]) -> list[str]:
    """Return those of some groups that are the group or one of its shards, sorted."""
    name = re.compile(re.escape(group) + r"(-\d+of\d+)?")
    return sorted(filter(name.fullmatch, among))


def active_groups(settings: Settings) -> set[str]:
    """Return the consumer groups that have a member.

    Raises:
        TransientError: no broker answers.
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
        # A broker that hangs or still loads its groups has told of none, which is no exception of the client.
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
        TapelineError: the group has a running member, or no broker answers.
    """
    admin = admin_client(settings)  # must live as long as its futures
    _change(settings, group, command, lambda: admin.delete_consumer_groups([group])[group])


def move_group(
    settings: Settings, group: str, command: str, topic: str, offsets: Mapping[int, tuple[int, str]]
) -> None:
    """Commit offsets and their metadata by partition, for a group that has no member or is not there yet.

    Raises:
        TapelineError: the group has a running member, or no broker answers.
    """
    admin = admin_client(settings)  # must live as long as its futures
    places = [TopicPartition(topic, p, at, metadata=metadata) for p, (at, metadata) in offsets.items()]
    wanted = ConsumerGroupTopicPartitions(group, places)
    _change(settings, group, command, lambda: admin.alter_consumer_group_offsets([wanted])[group])


def _change(settings: Settings, group: str, command: str, request: Callable[[], Future[Any]]) -> None:
    deadline = time.monotonic() + LEFT_WITHIN_S
    while True:
        try:
            request().result(REQUEST_TIMEOUT_S)
        except KafkaException as exception:
            name = kafka_error(exception).name()
            if name == "GROUP_ID_NOT_FOUND":
                return
            is_late = time.monotonic() > deadline
            if name in HAS_MEMBER and is_late:
                raise _is_running(group, command) from None
            if name not in MAY_PASS or is_late:
                raise unreachable(settings) from None
            time.sleep(0.1)
        except TimeoutError:  # of a broker that hangs
            raise unreachable(settings) from None
        else:
            return


def _is_running(group: str, command: str) -> TapelineError:
    return TapelineError(f"group {group} is running; stop it first (python -m {command})")
