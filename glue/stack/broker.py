"""The embedded broker: Apache Kafka in KRaft mode, one node that is broker and controller."""

import base64
import re
import secrets
import subprocess
from pathlib import Path

from confluent_kafka import KafkaException

from glue.errors import SettingsError, TapelineError
from glue.io.kafka import admin_client
from glue.stack.java import class_path, java, log_to_stdout, write_properties
from glue.stack.part import LOOPBACK, Launch, Part, Place, embedded
from glue.stack.processes import environment

HEAP_MB = 512
FORMAT_HEAP_MB = 128
FORMAT_TIMEOUT_S = 120
PROBE_TIMEOUT_S = 2.0


class Kafka(Part):
    """Apache Kafka. Its data folder survives a restart and an unclean end of the process."""

    name = "kafka"
    roots = (
        "org.apache.kafka:kafka_2.13:4.1.1",
        "org.apache.logging.log4j:log4j-slf4j-impl:2.24.3",  # Kafka's own log binding, not in its POM
    )

    def wanted_ports(self) -> dict[str, int]:
        """Return the broker's port and, next to it, the controller's."""
        port = self.settings.stack_kafka_port
        return {"broker": port, "controller": min(port + 1, 65535) if port else 0}

    def launch(self, place: Place) -> Launch:
        """Write the configuration, format the data folder once, and return the broker's command."""
        home, temp = place.home, place.temp
        write_properties(home / "server.properties", self.properties(place.ports))
        run = [*log_to_stdout(home), "-cp", class_path(place.files)]
        if not (home / "data" / "meta.properties").exists():
            _format(home, java(*run, heap_mb=FORMAT_HEAP_MB, temp=temp))
        return Launch(java(*run, "kafka.Kafka", "server.properties", heap_mb=HEAP_MB, temp=temp))

    def is_ready(self, ports: dict[str, int]) -> bool:
        """Ask for the cluster's metadata: true once the broker is registered with its controller."""
        here = embedded(self.settings, self.endpoints(ports))
        try:
            return bool(admin_client(here).list_topics(timeout=PROBE_TIMEOUT_S).brokers)
        except KafkaException:
            return False

    def endpoints(self, ports: dict[str, int]) -> dict[str, str]:
        """Return KAFKA_BROKERS."""
        return {"KAFKA_BROKERS": f"{LOOPBACK}:{ports['broker']}"}

    def properties(self, ports: dict[str, int]) -> dict[str, str | int]:
        """Return server.properties: loopback listeners, one replica of everything, sized for two cores."""
        broker, controller = (f"{LOOPBACK}:{ports[purpose]}" for purpose in ("broker", "controller"))
        return {
            "process.roles": "broker,controller",
            "node.id": 1,
            "controller.quorum.voters": f"1@{controller}",
            "controller.listener.names": "CONTROLLER",
            "listeners": f"PLAINTEXT://{broker},CONTROLLER://{controller}",
            "advertised.listeners": f"PLAINTEXT://{broker}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "log.dirs": "data",  # relative to the part's folder, so that any path will do
            "auto.create.topics.enable": "false",
            # One node: every internal topic has one replica, and few partitions to open at a start.
            "default.replication.factor": 1,
            "min.insync.replicas": 1,
            "offsets.topic.replication.factor": 1,
            "offsets.topic.num.partitions": 4,
            "transaction.state.log.replication.factor": 1,
            "transaction.state.log.min.isr": 1,
            "transaction.state.log.num.partitions": 4,
            "share.coordinator.state.topic.replication.factor": 1,
            "share.coordinator.state.topic.min.isr": 1,
            "share.coordinator.state.topic.num.partitions": 1,
            "group.initial.rebalance.delay.ms": 0,
            "log.retention.check.interval.ms": 60_000,
            # After a kill the controller lets the broker come back only when its old session is over.
            "broker.session.timeout.ms": 4_000,
            "broker.heartbeat.interval.ms": 1_000,
            # Sized for two cores and a small heap; the default cleaner buffer alone is 128 MB.
            "num.network.threads": 2,
            "num.io.threads": 4,
            "background.threads": 2,
            "log.cleaner.dedupe.buffer.size": 16 << 20,
            **_extra_properties(self.settings.stack_broker_properties),
        }


def _extra_properties(text: str) -> dict[str, str]:
    """Split `name=value,name=value`; a comma within a value is kept when no `name=` follows it."""
    extra = {}
    for pair in re.split(r",(?=\s*[\w.]+\s*=)", text) if text.strip() else []:
        name, equals, value = pair.partition("=")
        if not equals or not name.strip():
            raise SettingsError(f"STACK_BROKER_PROPERTIES: {pair!r} is not name=value")
        extra[name.strip()] = value.strip()
    return extra


def _format(home: Path, command: list[str]) -> None:
    """Give the data folder its identity. Formatting what an interrupted call left is fine."""
    cluster_id = base64.urlsafe_b64encode(b"tapeline" + secrets.token_bytes(8)).decode().rstrip("=")
    tool = ["kafka.tools.StorageTool", "format", "--ignore-formatted"]
    problem = f"cannot prepare the broker's data folder {home / 'data'}"
    try:
        done = subprocess.run(
            [*command, *tool, "--cluster-id", cluster_id, "--config", "server.properties"],
            cwd=home,
            env=environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=FORMAT_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise TapelineError(f"{problem} within {FORMAT_TIMEOUT_S} s") from None
    if done.returncode:
        raise TapelineError(f"{problem}:\n{(done.stderr or done.stdout)[-2000:]}")
