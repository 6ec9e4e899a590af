"""Kafka Connect with the Snowflake connector, end to end: topic, worker, local Snowflake, row."""

import base64
import io
import json
import re
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import fastavro
import msgspec
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from glue import connectors as status
from glue.connectors import MISSING, Channel, look
from glue.core.bars import Bar
from glue.core.dead_letters import DeadLetter
from glue.deploy import connect as connectors
from glue.deploy.report import Report
from glue.errors import TapelineError
from glue.intake import now_ms
from glue.io.connect import Connect
from glue.io.connect_letters import GROUP, unsent_since
from glue.io.kafka import client_config
from glue.io.kafka_read import read_to_end, topic_ends
from glue.io.registry import AvroWriter, Registry
from glue.io.topics import recreate_topics
from glue.levels import ServiceLevel, connectors_level, refused_level
from glue.settings import Settings
from glue.stack.connect import SECRETS
from glue.stack.snowflake import CONNECT_USER
from tests.conftest import RunningStack
from tests.processes import BTCUSDT, WDC, Command, env_of, feed, lines_of, restart, run_offline, until
from tests.streams import Writer, der, new_key, token
from tests.warehouse import TIMES, BarTopic, create_tables, names, query, walk

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]
MANY = pytest.param(10, marks=pytest.mark.full)
CORE, DLT = "snowflake-core-1s", "snowflake-raw-dlt"
BAR_COLUMNS = [TIMES.get(field, field.upper()) for field in Bar.__struct_fields__]
STRETCH_S = 100
numbers = count(1)
starts = count(1_700_000_000_000, STRETCH_S * 10_000)
"""Where the bars of a test begin, so that their ids are nobody else's."""


@dataclass
class Deployed:
    """A connector of connect/ on topics and database of its own."""

    stack: RunningStack
    settings: Settings
    name: str
    config: dict[str, str]

    @property
    def worker(self) -> Connect:
        return Connect(self.settings)

    def create(self) -> None:
        with self.worker as worker:
            connectors.create(worker, {self.name: self.config}, Report(on_stderr=True), timeout_s=240)

    def delete(self) -> None:
        with self.worker as worker:
            worker.delete(self.name)
            until(lambda: worker.config(self.name) is None, "the end of the connector")

    def call(self, method: str, path: str = "") -> Any:
        with self.worker as worker:
            return worker.call(method, f"/connectors/{self.name}{path}")

    def is_paused(self) -> bool:
        """Tell whether connector and task say so, as they do in turn."""
        found = self.call("GET", "/status")
        return {part["state"] for part in (found["connector"], *found["tasks"])} == {"PAUSED"}

    def rows(self, column: str = "BAR_ID", table: str = "CORE.FACT_TICKS_1S") -> list[Any]:
        sql = f"SELECT {column} FROM {self.settings.snow_database}.{table}"
        return [row[0] for row in query(self.settings, sql)]

    def wait_for(self, bars: list[Bar], deadline_s: float = 180) -> None:
        """Wait until all bars are there, and see that each is there once."""
        wanted = {bar.bar_id for bar in bars}

        def number() -> int:
            return int(self.rows("COUNT(DISTINCT BAR_ID)")[0])

        until(lambda: number() >= len(wanted), "the bars in FACT_TICKS_1S", deadline_s)
        until(lambda: wanted <= set(self.rows()), "the bars in FACT_TICKS_1S", deadline_s)
        found = [bar_id for bar_id in self.rows() if bar_id in wanted]
        assert len(found) == len(wanted), "a bar is there more than once"


def deploy(stack: RunningStack, file: str) -> Deployed:
    number = f"C{next(numbers)}"
    settings = stack.settings(**names(number))
    create_tables(settings)
    config = connectors.read_connectors(connectors.CONNECT_DIR, settings)[file]
    config["snowflake.database.name"] = settings.snow_database  # as if SNOW_DATABASE of the worker were this
    return Deployed(stack, settings, file, config)


@pytest.fixture(scope="module")
def core(connect_worker: RunningStack) -> Iterator[Deployed]:
    """A running connector from bars to FACT_TICKS_1S."""
    deployed = deploy(connect_worker, CORE)
    BarTopic(deployed.settings)  # registers the schema
    deployed.create()
    yield deployed
    deployed.delete()


def some_bars(seconds: int = STRETCH_S) -> list[Bar]:
    return walk(2, next(starts), seconds)


def utc(ms: int) -> datetime:
    """Return a time as the warehouse has it."""
    return datetime(1970, 1, 1) + timedelta(milliseconds=ms)  # noqa: DTZ001


def rounded(value: Any, column: Any) -> Any:
    """Return a bar's value as its column holds it: decimals with eight places, times to the microsecond."""
    if isinstance(value, float) and isinstance(column, Decimal):
        return Decimal(repr(value)).quantize(Decimal("1e-8"), ROUND_HALF_UP)
    if isinstance(column, datetime):
        return utc(value)
    return value


@contextmanager
def in_midstream(core: Deployed, bars: list[Bar]) -> Iterator[Callable[[], None]]:
    """Put bars in parts; the block calls for the next part."""
    topic = BarTopic(core.settings)
    parts = iter([bars[i : i + 20] for i in range(0, len(bars), 20)])

    def put_more() -> None:
        topic.put(next(parts, []))

    yield put_more
    for part in parts:
        topic.put(part)


@pytest.mark.skipif(not WDC.exists(), reason="the recorded ticks of ../shared/data are not here")
def test_every_bar_is_there_once_and_column_by_column(core: Deployed, tmp_path: Path) -> None:
    bars = []
    for name, options in {
        "wdc": ["--file", str(WDC), "--format", "kibot", "--speed", "0"],
        "btc": ["--file", str(BTCUSDT), "--format", "binance", "--speed", "0"],
        "synthetic": ["--synthetic", "--historical", "--speed", "0", "--symbols", "5", "--duration", "60"],
    }.items():
        folder = tmp_path / name
        folder.mkdir()
        with feed(*options, cwd=folder) as url:
            run_offline(folder, url)
        bars += lines_of(folder / "logs" / "aggregate.jsonl", Bar)
    assert {"WDC", "BTCUSDT"} < {bar.symbol for bar in bars}
    BarTopic(core.settings).put(bars)

    core.wait_for(bars)

    found = query(
        core.settings,
        f"SELECT {', '.join(BAR_COLUMNS)}, LOAD_TS, RECORD_METADATA:topic::VARCHAR, "
        "RECORD_METADATA:key::VARCHAR "
        f"FROM {core.settings.snow_database}.CORE.FACT_TICKS_1S",
    )
    rows = {row[0]: row for row in found}
    for bar in bars:
        *values, loaded, topic, key = rows[bar.bar_id]
        wanted = [rounded(v, c) for v, c in zip(msgspec.structs.astuple(bar), values, strict=True)]
        assert values == wanted
        assert (loaded, topic, key) == (None, core.settings.agg_output_topic, bar.bar_id)


def test_times_of_any_year_are_exact_wherever_the_worker_runs(core: Deployed) -> None:
    seconds = [0, 1, 946_684_800, 1_266_364_800, 4_102_444_799, 253_402_300_798]
    seconds += [1_268_533_800]  # 2010-03-14 02:30 UTC, which the clocks of New York and Los Angeles left out
    bars = [walk(1, second * 1000, 1)[0] for second in seconds]
    bars.append(msgspec.structs.replace(bars[0], bar_id="ms", start_ts_ms=1_700_000_000_123))
    BarTopic(core.settings).put(bars)
    core.wait_for(bars)
    found = query(
        core.settings,
        f"SELECT BAR_ID, START_TS, END_TS FROM {core.settings.snow_database}.CORE.FACT_TICKS_1S",
    )
    wanted = {(b.bar_id, utc(b.start_ts_ms), utc(b.end_ts_ms)) for b in bars}
    assert {row for row in found if row[0] in {b.bar_id for b in bars}} == wanted


def dead_letters(deployed: Deployed) -> dict[Any, dict[str, str]]:
    """Return the headers of what the connector refused, by key."""
    found = read_to_end(deployed.settings, deployed.settings.kafka_topic_connect_dlt)
    return {m.key(): {k: (v or b"").decode() for k, v in m.headers() or []} for m in found}


def test_a_bar_that_does_not_fit_is_a_dead_letter_and_the_rest_flows(core: Deployed) -> None:
    good = some_bars()
    too_long = msgspec.structs.replace(good[0], bar_id="long", symbol="X" * 33)
    topic = BarTopic(core.settings)
    topic.put(good[:50])
    producer = Producer(client_config(core.settings))
    producer.produce(core.settings.agg_output_topic, None, "tombstone", 0)
    producer.produce(core.settings.agg_output_topic, b"no avro", "nonsense", 0)
    producer.flush(30)
    topic.put([too_long, *good[50:]])

    core.wait_for(good)

    until(lambda: {b"nonsense", b"long"} <= dead_letters(core).keys(), "the dead letters")
    letters = dead_letters(core)
    assert letters.keys() == {b"nonsense", b"long"}, "a tombstone is no dead letter"
    errors = {key: headers["__connect.errors.exception.message"] for key, headers in letters.items()}
    assert "SYMBOL" in errors[b"long"] or "length" in errors[b"long"].lower(), errors
    assert letters[b"nonsense"]["__connect.errors.topic"] == core.settings.agg_output_topic
    assert "long" not in core.rows()


def put_record(settings: Settings, schema_id: int, schema: Any, record: dict[str, Any]) -> None:
    """Put a record of another schema than the contract's on the topic of bars."""
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(schema), record)
    producer = Producer(client_config(settings))
    value = b"\0" + schema_id.to_bytes(4, "big") + out.getvalue()
    producer.produce(settings.agg_output_topic, value, record["bar_id"], 0)
    producer.flush(30)


def test_new_nullable_fields_become_columns(core: Deployed) -> None:
    schema = json.loads((Path(__file__).parents[2] / "schemas" / "bar_1s.avsc").read_text())
    seen = {"type": "long", "logicalType": "timestamp-millis"}
    kinds = {"venue": "string", "spread": "double", "orders": "long", "is_open": "boolean", "seen": seen}
    kinds |= {"flags": {"type": "array", "items": "string"}, "proof": "bytes"}
    schema["fields"] += [{"name": n, "type": ["null", kind], "default": None} for n, kind in kinds.items()]
    with SchemaRegistryClient({"url": core.settings.schema_registry_url}) as registry:
        subject = f"{core.settings.agg_output_topic}-value"
        schema_id = registry.register_schema(subject, Schema(json.dumps(schema), "AVRO"))
    bars = some_bars(2)
    more = {"venue": "XNAS", "spread": 0.125, "orders": 7, "is_open": True, "flags": ["a", "b"]}
    more["seen"] = datetime(2023, 11, 14, 22, 13, 20, 123000, UTC)
    binary = {"bar_id": "binary", "proof": b"\0\xfeA"}  # the connector sends base64, the ingest SDK wants hex
    put_record(core.settings, schema_id, schema, msgspec.structs.asdict(bars[0]) | more | binary)
    for bar in bars:
        put_record(core.settings, schema_id, schema, msgspec.structs.asdict(bar) | more)

    core.wait_for(bars)

    found = query(
        core.settings,
        "SELECT BAR_ID, VENUE, SPREAD, ORDERS, IS_OPEN, FLAGS[1]::VARCHAR, SEEN, PROOF "
        f"FROM {core.settings.snow_database}.CORE.FACT_TICKS_1S WHERE VENUE IS NOT NULL",
    )
    seen_at = datetime(2023, 11, 14, 22, 13, 20, 123000)  # noqa: DTZ001
    wanted = ("XNAS", 0.125, 7, True, "b", seen_at, None)
    assert sorted(found) == sorted((bar.bar_id, *wanted) for bar in bars)
    until(lambda: b"binary" in dead_letters(core), "the dead letter")
    assert "hex" in dead_letters(core)[b"binary"]["__connect.errors.exception.message"]
    plain = some_bars(1)
    BarTopic(core.settings).put(plain)
    core.wait_for(plain)


def test_a_connector_paused_deleted_and_made_again_goes_on(core: Deployed) -> None:
    bars = some_bars()
    with in_midstream(core, bars) as put_more:
        put_more()
        core.call("PUT", "/pause")
        put_more()
        core.create()
        put_more()
        core.delete()
        put_more()
        core.create()
    core.wait_for(bars)


def test_a_changed_configuration_is_judged_by_its_own_states(core: Deployed) -> None:
    config = core.config
    unmakeable = {"name": "deployed.too.wide", "replication.factor": "3"}  # of one broker
    core.config = config | {f"errors.deadletterqueue.topic.{key}": text for key, text in unmakeable.items()}
    with pytest.raises(TapelineError, match=r"the connector has failed:\n.*\n  caused by: .*replication"):
        core.create()
    admin = AdminClient(client_config(core.settings))
    admin.create_topics([NewTopic(unmakeable["name"], 1, 1)])[unmakeable["name"]].result(30)
    core.create()  # the cause is gone
    core.config = config
    core.create()
    bars = some_bars(5)
    BarTopic(core.settings).put(bars)
    core.wait_for(bars)


def test_bars_after_a_fresh_start_reach_the_warehouse(core: Deployed) -> None:
    before, after = some_bars(20), some_bars(20)
    BarTopic(core.settings).put(before)
    core.wait_for(before)

    recreate_topics(core.settings)  # what --fresh does

    BarTopic(core.settings).put(after)
    core.wait_for(after)


def test_a_stolen_channel_comes_back(core: Deployed, connect_worker: RunningStack) -> None:
    bars = some_bars()
    with in_midstream(core, bars) as put_more:
        put_more()
        core.wait_for(bars[:20])
        key = load_pem_private_key((connect_worker.state_dir / "keys" / "connect.p8").read_bytes(), None)
        where = urlsplit(core.settings.snow_account)
        url = f"http://{where.hostname}:{where.port}"
        thief = Writer(url, core.settings.snow_database, "CORE", "FACT_TICKS_1S", token(key, CONNECT_USER))
        assert thief.open(f"{core.settings.agg_output_topic}_0")["client_sequencer"] > 1
        put_more()
    core.wait_for(bars)


@pytest.mark.parametrize("times", [1, MANY])
@pytest.mark.parametrize("part", ["connect", "snowflake", "kafka"])
def test_a_part_killed_in_midstream_loses_and_doubles_nothing(
    core: Deployed, connect_worker: RunningStack, part: str, times: int
) -> None:
    bars = some_bars()
    with in_midstream(core, bars) as put_more:
        put_more()
        for _ in range(times):
            put_more()
            restart(connect_worker, part)
    core.wait_for(bars)


def refused(settings: Settings) -> ServiceLevel:
    return refused_level(unsent_since(settings, now_ms() - 3_600_000))


def pass_over_letters(settings: Settings) -> None:
    """Leave out the dead letters of other tests."""
    topic = settings.kafka_topic_connect_dlt
    consumer = Consumer(client_config(settings, group_id=GROUP))
    end = TopicPartition(topic, 0, topic_ends(settings, topic)[0])
    consumer.commit(offsets=[end], asynchronous=False)
    consumer.close()


def test_bars_refused_without_a_registry_are_told_and_sent_again_once(
    core: Deployed, connect_worker: RunningStack, tmp_path: Path
) -> None:
    before, during, after = some_bars(5), some_bars(20), some_bars(5)
    topic = BarTopic(core.settings)
    topic.put(before)
    core.wait_for(before)
    pass_over_letters(core.settings)

    core.call("PUT", "/stop")
    connect_worker.stack.kill("registry")
    try:
        topic.put(during)
        core.call("PUT", "/resume")  # its task begins without a schema
        until(lambda: refused(core.settings).seen.startswith("40, "), "the dead letters", 120)
        assert refused(core.settings).is_met is False
        assert "Connection refused" in refused(core.settings).seen
    finally:
        connect_worker.stack.up()
    topic.put(after)
    core.wait_for(after)
    assert not {bar.bar_id for bar in during} & set(core.rows())

    for told in ("40 sent again", "0 sent again"):
        command = Command("-m", "glue.redrive", cwd=tmp_path, env=env_of(core.settings))
        assert command.wait() == 0, command.output
        assert told in command.output
    core.wait_for([*before, *during, *after])
    assert refused(core.settings).is_met is True


def test_status_tells_state_lag_and_the_committed_offset(
    core: Deployed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status, "ANSWERS_WITHIN_MS", 60_000)
    bars = some_bars(20)
    BarTopic(core.settings).put(bars)
    core.wait_for(bars)
    consumer = Consumer(client_config(core.settings) | {"group.id": "status"})
    _, end = consumer.get_watermark_offsets(TopicPartition(core.settings.agg_output_topic, 0), timeout=10)
    consumer.close()

    until(lambda: [row.lag for row in look(core.settings, with_channels=False)[0].lag] == [0], "no lag")

    level = connectors_level(look(core.settings, with_channels=True))
    seen = {connector.name: connector for connector in look(core.settings, with_channels=True)}
    assert seen[CORE].is_running
    assert seen[CORE].channels == [Channel(f"{core.settings.agg_output_topic}_0", str(end - 1))]
    assert seen[DLT].state == MISSING
    assert (level.seen, level.is_met) == (f"{DLT}: {MISSING}", False)
    assert seen[CORE].waiting_s == 0

    core.call("PUT", "/pause")
    until(core.is_paused, "the pause")  # else its task may still read what comes
    BarTopic(core.settings).put(some_bars(1))
    until(lambda: look(core.settings, with_channels=False)[0].waiting_s > 1, "a record that waits")
    core.call("PUT", "/resume")
    until(lambda: look(core.settings, with_channels=False)[0].waiting_s == 0, "no record that waits")


def test_no_secret_is_told(core: Deployed, connect_worker: RunningStack) -> None:
    key = (connect_worker.state_dir / "keys" / "connect.p8").read_text()
    secret = "".join(key.splitlines()[1:-1])
    parts = {secret[i : i + 40] for i in range(100, 900, 100)}

    told = [json.dumps(core.call("GET", path)) for path in ("", "/config", "/status", "/tasks")]
    told += [connect_worker.stack.log(part).read_text(errors="replace") for part in ("connect", "snowflake")]
    told += [path.read_text() for path in connectors.CONNECT_DIR.glob("*.json")]
    told += [repr(look(core.settings, with_channels=True)), repr(connect_worker.stack.status())]

    assert core.call("GET", "/config")["snowflake.private.key"] == "${env:SNOW_PRIVATE_KEY}"
    assert not [part for part in parts for text in told if part in text]


def test_the_whole_stack_stays_small(core: Deployed, connect_worker: RunningStack) -> None:
    memory_mb = {part.name: part.memory_mb or 0 for part in connect_worker.with_connect().status()}
    assert memory_mb.keys() == {"registry", "kafka", "snowflake", "connect"}
    assert sum(memory_mb.values()) < 2_000, "of 3 GB with the jobs"


def test_the_plugin_is_isolated_and_rest_is_on_loopback(connect_worker: RunningStack) -> None:
    url = connect_worker.stack.endpoints()["CONNECT_URL"]
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+", url)
    with urllib.request.urlopen(f"{url}/connector-plugins", timeout=30) as answer:
        found = {plugin["class"]: plugin["version"] for plugin in json.loads(answer.read())}
    assert found["com.snowflake.kafka.connector.SnowflakeSinkConnector"] == "2.5.0"
    assert {address for address, _ in connect_worker.stack.listening()} == {"127.0.0.1"}


def use_encrypted_key_in_a_file(deployed: Deployed, user: str) -> None:
    """Let a connector log in by a key of its own, which it reads with its passphrase by the file provider."""
    key, passphrase = new_key(), "of the key"
    sql = f"ALTER USER {user} SET RSA_PUBLIC_KEY = '{base64.b64encode(der(key)).decode()}'"
    query(deployed.settings, sql)
    encrypted = key.private_bytes(
        Encoding.DER, PrivateFormat.PKCS8, BestAvailableEncryption(passphrase.encode())
    )
    file = deployed.stack.state_dir / "connect" / SECRETS / "snow.properties"
    file.write_text(f"private_key={base64.b64encode(encrypted).decode()}\npassphrase={passphrase}\n")
    deployed.config |= {
        "snowflake.user.name": user,
        "snowflake.private.key": f"${{file:{file}:private_key}}",
        "snowflake.private.key.passphrase": f"${{file:{file}:passphrase}}",
    }


def test_dead_letters_of_the_worker_are_in_the_warehouse_by_a_key_with_a_passphrase(
    connect_worker: RunningStack,
) -> None:
    deployed = deploy(connect_worker, DLT)
    use_encrypted_key_in_a_file(deployed, "TAPELINE_DLT")
    with Registry(deployed.settings) as registry:
        schema_id = registry.register(f"{deployed.settings.kafka_topic_dlt}-value", "dead_letter.avsc")
    deployed.create()
    letters = [
        DeadLetter("f|1", "late", "why", "WDC", 1000, 700, 1700, 3, '{"px":1}', "ab" * 32, 5),
        DeadLetter("f|2", "invalid", None, None, None, None, None, None, "é no JSON", "cd" * 32, None),
    ]
    writer, producer = AvroWriter("dead_letter.avsc", schema_id), Producer(client_config(deployed.settings))
    for letter in letters:
        producer.produce(deployed.settings.kafka_topic_dlt, writer.encode(letter), letter.dlt_id)
    producer.flush(30)

    until(lambda: len(deployed.rows("DLT_ID", "RAW.TICKS_DLT")) == 2, "the dead letters", 120)

    columns = ", ".join(field.upper() for field in DeadLetter.__struct_fields__)
    found = query(
        deployed.settings,
        f"SELECT {columns} FROM {deployed.settings.snow_database}.RAW.TICKS_DLT ORDER BY DLT_ID",
    )
    assert found == [msgspec.structs.astuple(letter) for letter in letters]
    deployed.delete()
