"""Fixtures that all tests share: one embedded stack a session, new topics a test."""

import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from hypothesis import HealthCheck
from hypothesis import settings as property_settings

from glue.deploy import steps
from glue.deploy.report import Report
from glue.io.topics import ensure_topics
from glue.settings import Settings
from glue.stack import Stack
from glue.stack.jars import JarCache
from glue.stack.reporter import TextReporter
from glue.stack.stack import PARTS
from tests.processes import own_names

QUICK_RETENTION = (
    "log.retention.check.interval.ms=1000,log.initial.task.delay.ms=500,log.cleaner.backoff.ms=1000"
)
RETENTION_DEADLINE_S = 120
START_TIMEOUT_MS = 240_000
"""Three stacks that start side by side on two cores may take a minute; a hang ends before its test does."""
PROPERTY = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}  # no test is about time
property_settings.register_profile("tapeline", **PROPERTY)
property_settings.load_profile("tapeline")


@dataclass(frozen=True)
class RunningStack:
    """The session's broker, registry and Snowflake, on free ports and in a temporary folder."""

    stack: Stack
    state_dir: Path
    numbers: Iterator[int]

    def with_connect(self) -> Stack:
        """Return another command's view of the stack, for which Kafka Connect is a part of it."""
        settings = self.stack.settings().model_copy(update={"stack_connect": True, "stack_connect_port": 0})
        return Stack(settings, self.state_dir)

    @property
    def settings_env(self) -> dict[str, str]:
        """Return what leads a child command to this stack, to be added to its environment."""
        return {"CONNECT_URL": ""} | self.stack.endpoints() | {"KAFKA_PROPERTIES": "", "KSQLDB_URL": ""}

    def settings(self, **overrides: Any) -> Settings:
        """Return settings with topic and group names nobody else uses; the topics are there."""
        names = own_names(f"t{next(self.numbers)}")
        here = {name.lower(): value for name, value in self.settings_env.items()}
        settings = Settings.load(**(names | here | overrides))
        ensure_topics(settings)
        return settings

    def wait_for_retention_checks(self, times: int = 1) -> None:
        """Wait until the broker has dropped a record of 2010 from topics that do not stamp the append.

        It has two ways of looking, one for `delete` and one for `compact,delete`.
        """
        client = {"bootstrap.servers": self.settings_env["KAFKA_BROKERS"]}
        admin = AdminClient(client)
        canaries = [
            NewTopic(
                f"canary{next(self.numbers)}",
                1,
                1,
                config={"cleanup.policy": policy, "retention.ms": "60000"},
            )
            for policy in ("delete", "compact,delete")
        ]
        for created in admin.create_topics(canaries).values():
            created.result()
        producer = Producer(client)
        consumer = Consumer(client | {"group.id": "canary"})
        for turn in range(1, times + 1):
            for canary in canaries:
                producer.produce(canary.topic, b"", key=b"2010", timestamp=1_266_364_800_000)
            producer.flush()
            for canary in canaries:
                partition = TopicPartition(canary.topic, 0)
                deadline = time.monotonic() + RETENTION_DEADLINE_S
                while consumer.get_watermark_offsets(partition, timeout=60)[0] < turn:
                    assert time.monotonic() < deadline, f"retention did not reach {canary.topic}"
                    time.sleep(0.1)
        consumer.close()
        for deleted in admin.delete_topics([canary.topic for canary in canaries]).values():
            deleted.result()


def pytest_configure() -> None:
    """Let SIGTERM end a session as Ctrl-C does: with the stack torn down."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def pytest_xdist_setupnodes() -> None:
    """Download the jars, if they are missing, before the processes start that share the tests."""
    fetch_jars()


def pytest_collection_finish(session: pytest.Session) -> None:
    """Download the jars, if they are missing, before the clock of the first test starts."""
    if session.config.option.collectonly or not any(i.get_closest_marker("stack") for i in session.items):
        return
    capture = session.config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        fetch_jars()


def fetch_jars() -> None:
    """Download what of the jars is missing, with a progress bar in a terminal."""
    JarCache(Settings.load(), TextReporter()).fetch(part.name for part in PARTS)


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """Start broker, registry and Snowflake for the first test that asks; stop them with the session."""
    settings = Settings.load(
        stack_kafka_port=0,
        stack_registry_port=0,
        stack_snowflake_port=0,
        stack_connect=False,  # for the tests that need it there is the fixture `connect_worker`
        stack_connect_port=0,
        stack_broker_properties=QUICK_RETENTION,
        stack_start_timeout_ms=START_TIMEOUT_MS,
    )
    state_dir = tmp_path_factory.mktemp("session") / ".tapeline"
    started = Stack(settings, state_dir)
    try:
        started.up()
        yield RunningStack(started, state_dir, count(1))
    finally:
        started.down(purge=True)


@pytest.fixture(scope="session")
def connect_worker(stack: RunningStack) -> RunningStack:
    """Start Kafka Connect too, for the first test that asks; it stops with the stack.

    It starts in another time zone than the warehouse's: no value may hang on where a worker runs.
    """
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("TZ", "America/New_York")
        stack.with_connect().up()
    return stack


@pytest.fixture(scope="session")
def warehouse(stack: RunningStack) -> Settings:
    """Deploy the scripts of snowflake/ once; return settings that lead there."""
    settings = Settings.load(**{name.lower(): value for name, value in stack.settings_env.items()})
    steps.snowflake(steps.Order(settings, Report(on_stderr=True)))
    return settings
