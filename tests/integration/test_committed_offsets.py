"""What a group has committed, asked while its coordinator is not ready, as after a broker hung.

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

OFFSET_FETCH = 9
COORDINATOR_NOT_AVAILABLE, NOT_COORDINATOR, NOT_AUTHORIZED = 15, 16, 30
ASK = """
import sys
from confluent_kafka import TopicPartition
from glue.errors import TapelineError
from glue.io.topic_stats import committed_offsets
from glue.settings import Settings
settings = Settings(_env_file=None, kafka_brokers=sys.argv[1])
for _ in range(2):
    try:
        print(committed_offsets(settings, "group", [TopicPartition("topic", p) for p in range(2)]))
    except TapelineError as error:
        print(error)
"""
REDRIVE = """
import sys
from glue.io.connect_letters import Redrive
from glue.settings import Settings
settings = Settings(_env_file=None, kafka_brokers=sys.argv[1], kafka_topic_connect_dlt="topic")
redrive = Redrive(settings, bool, is_dry_run=True)
print([chunk.is_news for chunk in redrive.chunks()])
redrive.close()
"""


@pytest.fixture
def cluster() -> Iterator[tuple[str, Callable[..., None]]]:
    """Yield the address of a mock cluster, and what makes it refuse the next requests for offsets."""
    (path,) = (Path(confluent_kafka.__file__).parents[1] / "confluent_kafka.libs").glob("librdkafka*.so*")
    library = ctypes.CDLL(str(path))
    library.rd_kafka_conf_new.restype = ctypes.c_void_p
    library.rd_kafka_new.restype = ctypes.c_void_p
    library.rd_kafka_mock_cluster_new.restype = ctypes.c_void_p
    library.rd_kafka_mock_cluster_bootstraps.restype = ctypes.c_char_p
    handle = ctypes.c_void_p(library.rd_kafka_new(0, ctypes.c_void_p(library.rd_kafka_conf_new()), None, 0))
    mock = ctypes.c_void_p(library.rd_kafka_mock_cluster_new(handle, 1))
    library.rd_kafka_mock_topic_create(mock, b"topic", 2, 1)

    def refuse(*codes: int) -> None:
        library.rd_kafka_mock_push_request_errors_array(
            mock,
            ctypes.c_int16(OFFSET_FETCH),
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
    refuse(*refusals)
    asked = run(ASK, address)
    assert (asked.returncode, asked.stdout.splitlines()) == (0, told), asked.stderr


def test_a_redrive_waits_for_the_coordinator_too(cluster):
    address, refuse = cluster
    refuse(NOT_COORDINATOR, COORDINATOR_NOT_AVAILABLE)
    asked = run(REDRIVE, address)
    assert (asked.returncode, asked.stdout) == (0, "[]\n"), asked.stderr


def run(code: str, address: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code, address]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
