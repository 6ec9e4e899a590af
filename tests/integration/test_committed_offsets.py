"""What a group has committed, asked and moved while its coordinator is not ready, as after a broker hung.

librdkafka's own mock of a cluster refuses as often as it is told; the child is what a crash would end.
"""

import ctypes
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import confluent_kafka
import pytest

from tests.processes import ROOT

LIST_OFFSETS, OFFSET_COMMIT, OFFSET_FETCH = 2, 8, 9
NOT_LEADER, COORDINATOR_NOT_AVAILABLE, NOT_COORDINATOR, UNKNOWN_MEMBER, NOT_AUTHORIZED = 6, 15, 16, 25, 30
CHILD = """
import sys
from confluent_kafka import TopicPartition
from glue.errors import TapelineError
from glue.io import kafka_groups
from glue.io.connect_letters import Redrive
from glue.io.kafka_active import ActiveReader
from glue.io.kafka_read import spans_since
from glue.io.topic_stats import committed_offsets
from glue.settings import Settings
settings = Settings(_env_file=None, kafka_brokers=sys.argv[1], kafka_topic_connect_dlt="topic")
def ask():
    return committed_offsets(settings, "group", [TopicPartition("topic", p) for p in range(2)])
def move():
    return kafka_groups.move_group(settings, "group", "glue.rollup", "topic", {0: (5, ""), 1: (6, "")})
def move_at_once():
    kafka_groups.LEFT_WITHIN_S = 0
    return move()
def redrive():
    redrive = Redrive(settings, lambda: False, is_dry_run=True)
    redrive.close()
    return redrive.count
def spans():
    return [(start.offset, end) for start, end in spans_since(settings, "topic", 1)]
def become_active():
    found = []
    def begin(committed):
        found.extend(committed)
        return dict.fromkeys(committed, 0)
    reader = ActiveReader(settings, "topic", "group", begin, lambda: None)
    while not found:
        reader.poll(0.1)
    reader.close()
    return found
for do in map(globals().get, sys.argv[2:]):
    try:
        print(do())
    except TapelineError as error:
        print(error)
"""


@pytest.fixture
def cluster() -> Iterator[tuple[str, Callable[..., None]]]:
    """Yield the address of a mock cluster, and what makes it refuse the next requests of a kind."""
    (path,) = (Path(confluent_kafka.__file__).parents[1] / "confluent_kafka.libs").glob("librdkafka*.so*")
    library = ctypes.CDLL(str(path))
    library.rd_kafka_conf_new.restype = ctypes.c_void_p
    library.rd_kafka_new.restype = ctypes.c_void_p
    library.rd_kafka_mock_cluster_new.restype = ctypes.c_void_p
    library.rd_kafka_mock_cluster_bootstraps.restype = ctypes.c_char_p
    handle = ctypes.c_void_p(library.rd_kafka_new(0, ctypes.c_void_p(library.rd_kafka_conf_new()), None, 0))
    mock = ctypes.c_void_p(library.rd_kafka_mock_cluster_new(handle, 1))
    library.rd_kafka_mock_topic_create(mock, b"topic", 2, 1)

    def refuse(request: int, *codes: int) -> None:
        library.rd_kafka_mock_push_request_errors_array(
            mock,
            ctypes.c_int16(request),
            ctypes.c_size_t(len(codes)),
            (ctypes.c_int * len(codes))(*codes),
        )

    try:
        yield library.rd_kafka_mock_cluster_bootstraps(mock).decode(), refuse
    finally:
        library.rd_kafka_mock_cluster_destroy(mock)
        library.rd_kafka_destroy(handle)


@pytest.mark.parametrize(
    ("refusals", "told"),
    [
        ((NOT_COORDINATOR, COORDINATOR_NOT_AVAILABLE), ["[None, None]", "[None, None]"]),
        (
            (NOT_AUTHORIZED,),
            ["offsets of group group: Failed to get committed offsets: Broker: Group authorization failed",
             "[None, None]"],
        ),
    ],
)  # fmt: skip
def test_a_refusal_that_passes_is_waited_for_and_another_is_told(cluster, refusals, told):
    address, refuse = cluster
    refuse(OFFSET_FETCH, *refusals)
    assert lines_of(address, "ask", "ask") == told


def test_a_redrive_waits_for_a_coordinator_that_a_new_broker_has_not_yet(cluster):
    address, refuse = cluster
    refuse(OFFSET_FETCH, COORDINATOR_NOT_AVAILABLE, NOT_COORDINATOR)
    assert lines_of(address, "redrive") == ["0"]


@pytest.mark.parametrize(
    ("move", "refusals", "told"),
    [
        ("move", (NOT_COORDINATOR, UNKNOWN_MEMBER, COORDINATOR_NOT_AVAILABLE), ["None", "[5, 6]"]),
        (
            "move",
            (NOT_AUTHORIZED,),
            ["offsets of group group: Broker: Group authorization failed", "[None, None]"],
        ),
        (
            "move_at_once",
            (UNKNOWN_MEMBER,) * 20,
            ["group group is running; stop it first (python -m glue.rollup)", "[None, None]"],
        ),
    ],
)
def test_offsets_that_are_refused_are_not_taken_for_moved(cluster, move, refusals, told):
    address, refuse = cluster
    refuse(OFFSET_COMMIT, *refusals)
    assert lines_of(address, move, "ask") == told


@pytest.mark.parametrize("count", [1, 3])
def test_where_records_begin_is_asked_again_while_nobody_leads(cluster, count):
    address, refuse = cluster
    refuse(LIST_OFFSETS, *[NOT_LEADER] * count)
    assert lines_of(address, "spans") == ["[(0, 0), (0, 0)]"]


@pytest.mark.parametrize(
    ("request_kind", "refusals"), [(LIST_OFFSETS, [NOT_LEADER] * 2), (OFFSET_FETCH, [NOT_COORDINATOR] * 2)]
)
def test_a_reader_becomes_active_while_nobody_leads(cluster, request_kind, refusals):
    address, refuse = cluster
    refuse(request_kind, *refusals)
    assert lines_of(address, "become_active")[-1] == "[0, 1]"


def lines_of(address: str, *what: str) -> list[str]:
    """Return what a child that does so prints."""
    child = subprocess.run(
        [sys.executable, "-c", CHILD, address, *what],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert child.returncode == 0, child.stderr
    return child.stdout.splitlines()
