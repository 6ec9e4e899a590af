"""The embedded stack as a user meets it: started, killed, restarted, without its usual ports."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient

from glue.errors import TapelineError
from glue.io import topics
from glue.io.kafka_read import offset_ranges, read_to_end
from glue.io.snowflake import connect
from glue.io.topics import ensure_topics, recreate_topics
from glue.settings import Settings
from glue.stack import Stack, ports, processes
from glue.stack.__main__ import main
from glue.stack.part import Launch, Part, answers
from glue.stack.processes import Process
from glue.stack.reporter import Reporter
from tests.conftest import START_TIMEOUT_MS, RunningStack
from tests.processes import until

pytestmark = pytest.mark.stack
ROOT = Path(__file__).parents[2]
SCHEMA_DIR = ROOT / "schemas"


class Lines(Reporter):
    """Keeps what `up` says."""

    def __init__(self):
        self.lines = []

    def line(self, text):
        self.lines.append(text)

    @property
    def text(self):
        return "\n".join(self.lines)


class OwnStack:
    """A stack that the tests of this module may break; each of them leaves it running."""

    def __init__(self, folder):
        self.state_dir = folder / ".tapeline"
        self.reporter = Lines()
        self.stack = self.other()

    def other(self, **settings):
        """Another command on the same folder."""
        loaded = Settings.load(
            **({f"stack_{name}_port": 0 for name in ("kafka", "registry", "snowflake")} | settings),
            stack_connect=False,
            stack_start_timeout_ms=START_TIMEOUT_MS,
        )
        return Stack(loaded, self.state_dir, self.reporter)

    def pids(self):
        return {part.name: part.pid for part in self.stack.status()}

    def states(self):
        return {part.name: part.state for part in self.stack.status()}

    def wait_until_all_are(self, state):
        """Wait: a part of a busy machine may take longer to answer than `status` waits."""
        until(lambda: set(self.states().values()) == {state}, f"all parts to be {state}")


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    own = OwnStack(tmp_path_factory.mktemp("own"))
    try:
        own.stack.up()
        yield own
    finally:
        own.stack.down(purge=True)


def partition_settings(stack):
    """Return the partitions and the configuration of every topic."""
    client = AdminClient({"bootstrap.servers": stack.endpoints()["KAFKA_BROKERS"]})
    found = {n: t for n, t in client.list_topics(timeout=10).topics.items() if not n.startswith("_")}
    futures = client.describe_configs([ConfigResource(ConfigResource.Type.TOPIC, name) for name in found])
    configs = {resource.name: future.result() for resource, future in futures.items()}
    return {
        name: (len(topic.partitions), {key: entry.value for key, entry in configs[name].items()})
        for name, topic in found.items()
    }


def publish(stack, topic, count):
    failures = []
    producer = Producer({"bootstrap.servers": stack.endpoints()["KAFKA_BROKERS"], "acks": "all"})
    for i in range(count):
        producer.produce(
            topic, str(i), str(i), partition=0, on_delivery=lambda error, _: failures.append(error)
        )
    assert producer.flush(30) == 0
    assert failures == [None] * count


def values(stack, topic):
    """Return all records of partition 0."""
    records = read_to_end(stack.settings(), topic)
    return [record.value().decode() for record in records if record.partition() == 0]


def registry(stack):
    return SchemaRegistryClient({"url": stack.endpoints()["SCHEMA_REGISTRY_URL"]})


def register(stack):
    """Return the ids that the contract schemas have, registering those that are new."""
    with registry(stack) as client:
        return {
            file.name: client.register_schema(f"{file.stem}-value", Schema(file.read_text(), "AVRO"))
            for file in sorted(SCHEMA_DIR.glob("*.avsc"))
        }


def write_row(stack, name):
    """Commit a row to a table of the local Snowflake."""
    with connect(stack.settings(), "test", role="") as connection, connection.cursor() as cursor:
        cursor.execute("CREATE DATABASE IF NOT EXISTS KEPT")
        cursor.execute("CREATE SCHEMA IF NOT EXISTS KEPT.S")
        cursor.execute("CREATE TABLE IF NOT EXISTS KEPT.S.ROWS_ (NAME VARCHAR)")
        cursor.execute("INSERT INTO KEPT.S.ROWS_ VALUES (?)", (name,))


def rows(stack):
    """Return what `write_row` wrote."""
    with connect(stack.settings(), "test", role="") as connection, connection.cursor() as cursor:
        return [name for (name,) in cursor.execute("SELECT NAME FROM KEPT.S.ROWS_").fetchall()]


def test_every_listening_port_is_bound_to_loopback(own):
    listening = own.stack.listening()

    assert {address for address, _ in listening} == {"127.0.0.1"}
    assert {port for _, port in listening} == {p for s in own.stack.status() for p in s.ports.values()}


def test_up_twice_is_fine(own):
    before = own.pids()

    own.stack.up()

    assert own.pids() == before
    assert "already running" in own.reporter.text


def test_topics_have_the_settings_of_the_design(own):
    found = partition_settings(own.stack)

    assert {name: partitions for name, (partitions, _) in found.items()} == {
        "ticks.raw": 6,
        "ticks.agg.1s": 1,
        "ticks.dlt": 1,
        "ticks.connect.dlt": 1,
        "ticks.replay.state": 1,
    }
    keys = ("cleanup.policy", "retention.ms", "message.timestamp.type")
    assert {name: tuple(config[key] for key in keys) for name, (_, config) in found.items()} == {
        "ticks.raw": ("delete", "3600000", "LogAppendTime"),
        "ticks.agg.1s": ("compact,delete", "3600000", "LogAppendTime"),
        "ticks.dlt": ("delete", "604800000", "CreateTime"),
        "ticks.connect.dlt": ("delete", "604800000", "LogAppendTime"),
        "ticks.replay.state": ("compact", "604800000", "CreateTime"),
    }


def test_what_was_acknowledged_survives_a_kill_of_all_parts(own, monkeypatch, capsys):
    publish(own.stack, "ticks.raw", 5000)
    ids = register(own.stack)
    write_row(own.stack, "killed")
    for name in own.states():
        own.stack.kill(name, signal.SIGKILL)
    monkeypatch.chdir(own.state_dir.parent)
    own.wait_until_all_are("died")

    assert main(["status"]) == 1
    status = capsys.readouterr().out
    assert main(["logs", "kafka", "-n", "1"]) == 0
    last_line = capsys.readouterr().out.strip()
    assert last_line in status, "the end of the log of a part that died belongs to the status"

    own.stack.up()

    own.wait_until_all_are("running")
    assert "kafka died since the last up" in own.reporter.text
    assert last_line in own.reporter.text
    assert values(own.stack, "ticks.raw")[-5000:] == [str(i) for i in range(5000)]
    assert register(own.stack) == ids
    assert "killed" in rows(own.stack)


def test_a_hung_part_is_not_called_running(own):
    own.stack.kill("registry", signal.SIGSTOP)
    expected = {"registry": "unready", "kafka": "running", "snowflake": "running"}
    try:
        until(lambda: own.states() == expected, "the others to answer")
    finally:
        own.stack.kill("registry", signal.SIGCONT)


def test_down_leaves_nothing_and_up_finds_the_same_ports_topics_and_schemas(own):
    publish(own.stack, "ticks.dlt", 10)
    written = values(own.stack, "ticks.dlt")
    ids = register(own.stack)
    write_row(own.stack, "stopped")
    found, endpoints = partition_settings(own.stack), own.stack.endpoints()
    group = [psutil.Process(pid) for pid in own.pids().values()]
    listening = own.stack.listening()
    assert (own.state_dir / "stack.env").read_text().splitlines() == [
        f"{name}={value}" for name, value in endpoints.items()
    ]

    assert own.stack.down() == ["snowflake", "kafka", "registry"]

    assert not any(process.is_running() for process in group)
    for address in listening:
        with socket.socket() as client:
            assert client.connect_ex(address) != 0
    left = {path.name for path in own.state_dir.iterdir()}
    assert left == {"kafka", "keys", "registry", "snowflake", "logs", "stack.json"}
    assert own.stack.down() == []
    assert set(own.states().values()) == {"stopped"}

    own.stack.up()

    assert own.stack.endpoints() == endpoints
    assert partition_settings(own.stack) == found
    assert values(own.stack, "ticks.dlt") == written
    assert written[-10:] == [str(i) for i in range(10)]
    assert register(own.stack) == ids
    assert "stopped" in rows(own.stack)


def test_a_part_that_dies_while_starting_is_reported_and_what_was_started_is_stopped(own):
    own.stack.down()

    with pytest.raises(TapelineError, match=r"(?s)kafka died.*log\.retention\.check\.interval\.ms"):
        own.other(stack_broker_properties="log.retention.check.interval.ms=nonsense").up()

    assert set(own.states().values()) == {"stopped"}
    assert not (own.state_dir / "stack.env").exists()
    own.stack.up()


def test_free_ports_are_chosen_when_the_wanted_ones_are_taken(own):
    publish(own.stack, "ticks.dlt", 10)
    written = values(own.stack, "ticks.dlt")
    before = {status.name: status.ports for status in own.stack.status()}
    own.stack.down()
    taken = [port for of_part in before.values() for port in of_part.values()]
    sockets = [socket.create_server(("127.0.0.1", port)) for port in taken]
    try:
        stack = own.other(stack_kafka_port=before["kafka"]["broker"])
        stack.up()
        now = {status.name: status.ports for status in stack.status()}
        kept = values(stack, "ticks.dlt")
    finally:
        for server in sockets:
            server.close()

    own.wait_until_all_are("running")
    assert not set(taken) & {port for of_part in now.values() for port in of_part.values()}
    assert f"port {before['kafka']['broker']} is taken" in own.reporter.text
    assert kept == written


def test_a_port_that_is_lost_between_choice_and_start_is_replaced(own, monkeypatch):
    own.stack.down()
    choose = ports.choose
    with socket.create_server(("127.0.0.1", 0)) as thief:
        lost = thief.getsockname()[1]
        first_answer = iter([lost])
        monkeypatch.setattr(ports, "choose", lambda *of: next(first_answer, 0) or choose(*of))

        status = own.stack.up()

    own.wait_until_all_are("running")
    assert lost not in {port for part in status for port in part.ports.values()}


class Served(Part):
    """A part that any file server is."""

    def wanted_ports(self):
        return {"http": 0}

    def launch(self, place):
        port = str(place.ports["http"])
        return Launch([sys.executable, "-m", "http.server", port, "--bind", "127.0.0.1"], place.endpoints)

    def is_ready(self, ports):
        return answers(ports["http"], "/")

    def endpoints(self, ports):
        return {f"{self.name.upper()}_URL": str(ports["http"])}


class Used(Served):
    name = "snowflake"


class User(Served):
    name = "registry"
    uses = ("SNOWFLAKE_URL",)


def test_a_part_starts_again_when_one_that_it_uses_has_moved_and_only_then(tmp_path, monkeypatch):
    monkeypatch.setattr("glue.stack.stack.PARTS", (Used, User))
    monkeypatch.setattr(Stack, "_create_topics", lambda *_: None)
    stack = Stack(Settings.load(), tmp_path, Lines())

    def up():
        """Return the pid of the user, after a look at where it was told that the other one is."""
        status = {part.name: part for part in stack.up()}
        told = psutil.Process(status["registry"].pid).environ()["SNOWFLAKE_URL"]
        assert told == str(status["snowflake"].ports["http"])
        return status["registry"].pid

    def die():
        stack.kill("snowflake")
        until(lambda: stack.status()[0].state == "died", "its death")

    try:
        first = up()
        die()
        assert up() == first, "it came back where it was"
        die()
        with socket.create_server(("127.0.0.1", int(stack.endpoints()["SNOWFLAKE_URL"]))):
            second = up()
        assert second != first
        die()
        choose = ports.choose
        with socket.create_server(("127.0.0.1", 0)) as thief:  # which is there after the choice of the port
            first_answer = iter([thief.getsockname()[1]])
            monkeypatch.setattr(ports, "choose", lambda *of: next(first_answer, 0) or choose(*of))
            assert up() != second
    finally:
        stack.down(purge=True)


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_part_that_starts_when_up_is_interrupted_is_stopped_as_well(tmp_path, monkeypatch, signum):
    monkeypatch.setattr("glue.stack.stack.PARTS", (Used,))
    started, start = [], processes.start

    def interrupted(*args, **options):
        started.append(start(*args, **options))
        signal.raise_signal(signum)
        return started[0]

    monkeypatch.setattr(processes, "start", interrupted)
    before = signal.signal(signum, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            Stack(Settings.load(), tmp_path, Lines()).up()
    finally:
        signal.signal(signum, before)
    alive = processes.is_alive(started[0])
    processes.stop(started, timeout_s=20)
    assert not alive


def test_interrupting_up_stops_what_it_started(tmp_path):
    env = os.environ | {"PYTHONPATH": str(ROOT), "STACK_KAFKA_PORT": "0", "STACK_REGISTRY_PORT": "0"}
    env["STACK_SNOWFLAKE_PORT"] = "0"
    up = subprocess.Popen(
        [sys.executable, "-m", "glue.stack", "up"],
        cwd=tmp_path,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # tests in the background ignore it
    )
    record = tmp_path / ".tapeline" / "stack.json"

    def parts():
        assert up.poll() is None, up.stdout.read()
        return json.loads(record.read_text())["parts"] if record.exists() else {}

    until(lambda: len(parts()) == 3, "three parts")
    started = parts()
    up.send_signal(signal.SIGINT)
    output, _ = up.communicate(timeout=120)

    assert up.returncode == 130, output
    assert b"Traceback" not in output
    for part in started.values():
        assert not psutil.pid_exists(part["process"]["pid"])
    assert json.loads(record.read_text())["parts"] == {}
    assert b"stopped registry and kafka and snowflake again" in output
    assert not (tmp_path / ".tapeline" / "stack.env").exists()
    assert not (tmp_path / ".tapeline" / "tmp").exists()


def start_parent(home: Path) -> tuple[Process, int]:
    """Start a process that SIGTERM does not end, and return it with the pid of its child."""
    script = "trap '' TERM; sleep 600 & echo $! > child; wait; wait"
    process = processes.start(["sh", "-c", script], env={}, home=home, log=home / "log")
    until(lambda: (home / "child").exists() and (home / "child").read_text().strip(), "the child")
    return process, int((home / "child").read_text())


def test_stopping_a_process_ends_what_it_started(tmp_path):
    process, child = start_parent(tmp_path)

    processes.stop([process], timeout_s=0.2)

    assert not processes.is_alive(process)
    assert not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE


def test_the_child_of_a_process_that_ends_while_it_is_looked_at_is_found(tmp_path, monkeypatch):
    process, child = start_parent(tmp_path)

    def kill_meanwhile(candidate: psutil.Process) -> bool:
        if candidate.pid == process.pid:
            candidate.kill()
            candidate.wait(10)
        return False

    with monkeypatch.context() as patch:
        patch.setattr(processes, "_has_ended", kill_meanwhile)
        found = [member.pid for member in processes.members(process)]
    processes.stop([process], timeout_s=0.2)

    assert child in found


def test_a_process_that_got_the_pid_of_an_earlier_one_is_ended_as_well(tmp_path, monkeypatch):
    process = processes.start(["sleep", "600"], env={}, home=tmp_path, log=tmp_path / "log")
    earlier = psutil.Process(process.pid)
    earlier._ident = (process.pid, 0.0)
    monkeypatch.setitem(psutil._pmap, process.pid, earlier)  # what psutil remembers of the pid
    monkeypatch.setattr(processes, "send_signal", lambda *_: None)  # so that SIGKILL has to do it

    processes.stop([process], timeout_s=0)

    assert not processes.is_alive(process)


def test_a_process_that_got_the_pid_of_an_earlier_one_is_never_touched():
    mine = psutil.Process()
    earlier = Process(mine.pid, mine.create_time() - 3600)

    assert not processes.is_alive(earlier)
    assert processes.members(earlier) == []
    processes.send_signal(earlier, signal.SIGKILL)
    processes.stop([earlier], timeout_s=0.1)


def test_a_second_ensure_finds_the_topics_and_names_what_differs(stack: RunningStack):
    settings = stack.settings(kafka_partitions=2)

    again = dict(ensure_topics(settings))
    changed = dict(ensure_topics(settings.model_copy(update={"kafka_partitions": 3})))

    assert set(again.values()) == {"exists"}
    assert changed.pop(settings.kafka_topic_raw) == "2 partitions, expected 3"
    assert set(changed.values()) == {"exists"}


def test_recreated_topics_are_empty_and_can_be_written_at_once(stack: RunningStack):
    settings = stack.settings()
    for turn in range(3):
        publish(stack.stack, settings.kafka_topic_raw, 10 + turn)

        recreate_topics(settings)

        assert values(stack.stack, settings.kafka_topic_raw) == []
    assert set(dict(ensure_topics(settings)).values()) == {"exists"}


def test_a_topic_that_the_connector_reads_is_emptied_and_its_offsets_go_on(stack: RunningStack):
    settings = stack.settings()
    publish(stack.stack, settings.agg_output_topic, 7)

    outcome = dict(recreate_topics(settings))

    assert outcome[settings.agg_output_topic] == "emptied"
    assert outcome[settings.kafka_topic_raw] == "created"
    assert values(stack.stack, settings.agg_output_topic) == []
    publish(stack.stack, settings.agg_output_topic, 1)
    found = offset_ranges(settings, [TopicPartition(settings.agg_output_topic, 0)])
    assert found == [(7, 8)], "offsets never begin at 0 again"


def test_only_the_named_topics_are_recreated(stack: RunningStack):
    settings = stack.settings()
    publish(stack.stack, settings.kafka_topic_raw, 5)
    publish(stack.stack, settings.kafka_topic_dlt, 5)

    recreate_topics(settings, [settings.kafka_topic_dlt])

    assert len(values(stack.stack, settings.kafka_topic_raw)) == 5
    assert values(stack.stack, settings.kafka_topic_dlt) == []


def test_a_broker_that_is_not_there_is_named_with_the_way_out(monkeypatch):
    monkeypatch.setattr(topics, "REQUEST_TIMEOUT_S", 0.5)
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        broker = f"127.0.0.1:{reserved.getsockname()[1]}"
        with pytest.raises(TapelineError, match=f"KAFKA_BROKERS={broker}.*glue.stack up"):
            ensure_topics(Settings.load(kafka_brokers=broker))
