"""The files of connect/: one truth for the embedded worker, the containers and an estate."""

import json
import re
from pathlib import Path

import pytest
import yaml

from glue.deploy.connect import CONNECT_DIR, read_connectors
from glue.settings import Settings
from glue.stack.connect import PROVIDED, Connect
from glue.stack.keys import private_key
from glue.stack.part import Place

ROOT = Path(__file__).parents[2]
FILES = sorted(CONNECT_DIR.glob("*.json"))
SCHEMAS = {"snowflake-core-1s": "bar_1s.avsc", "snowflake-raw-dlt": "dead_letter.avsc"}
TABLES = {"snowflake-core-1s": "CORE.FACT_TICKS_1S", "snowflake-raw-dlt": "RAW.TICKS_DLT"}
AVRO = {"VARCHAR": "string", "NUMBER,0": "long", "NUMBER,8": "double", "TIMESTAMP_NTZ": "long"}
"""The type of a field by that of its column; of NUMBER the scale matters."""
COLUMN = re.compile(r"^    ([A-Z_0-9]+) ([A-Z_]+)(?:\(\d+(,\d+)?\))?( NOT NULL)?", re.MULTILINE)
SECRET = re.compile(r"key|password|passphrase|token|secret|user|url", re.IGNORECASE)
REFERENCE = re.compile(r"\$\{(\w+):([^}:]+:)?([\w.-]+)\}")
ENDPOINTS = {
    "KAFKA_BROKERS": "127.0.0.1:1",
    "SCHEMA_REGISTRY_URL": "http://127.0.0.1:2/apis/ccompat/v7",
    "SNOW_ACCOUNT": "http://u:p@127.0.0.1:3",
}
every_file = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)


def config(path: Path) -> dict[str, str]:
    return json.loads(path.read_text())


def test_the_connectors_are_those_of_the_design():
    assert {path.stem for path in FILES} == set(TABLES)


@every_file
def test_what_is_secret_or_local_is_a_reference(path):
    for name, value in config(path).items():
        if SECRET.search(name) and not name.startswith(("key.converter", "transforms.")):
            assert REFERENCE.fullmatch(value), name
        assert not re.search(r"://|localhost|127\.0\.0\.1|BEGIN", value), name


@every_file
def test_a_sink_says_how_it_reads_converts_and_fails(path):
    wanted = {
        "consumer.override.isolation.level": "read_committed",
        "key.converter": "org.apache.kafka.connect.storage.StringConverter",
        "value.converter": "io.confluent.connect.avro.AvroConverter",
        "errors.tolerance": "all",
        "errors.deadletterqueue.topic.name": "ticks.connect.dlt",
        "errors.deadletterqueue.context.headers.enable": "true",
        "errors.log.include.messages": "false",
        "snowflake.ingestion.method": "SNOWPIPE_STREAMING",
        "snowflake.enable.schematization": "true",
        "behavior.on.null.values": "IGNORE",
        "tasks.max": "1",
    }
    assert wanted.items() <= config(path).items()


def fields_of(path: Path) -> dict[str, tuple[str, bool]]:
    """Return the fields of a connector's records: their type, and whether they are never null."""
    fields = json.loads((ROOT / "schemas" / SCHEMAS[path.stem]).read_text())["fields"]
    return {
        name: (kind, True) if isinstance(kind, str) else (kind[1], False)
        for name, kind in ((field["name"], field["type"]) for field in fields)
    }


def columns_of(path: Path) -> dict[str, tuple[str, bool]]:
    """Return the columns that a connector fills: their type, and whether they are NOT NULL."""
    setup = (ROOT / "snowflake" / "00_setup.sql").read_text()
    table = re.search(rf"TABLE IF NOT EXISTS {re.escape(TABLES[path.stem])} \((.*?)\n\)", setup, re.DOTALL)
    assert table is not None
    columns = {name: (kind + scale, bool(needed)) for name, kind, scale, needed in COLUMN.findall(table[1])}
    return {name: columns[name] for name in columns.keys() - {"PRIMARY", "RECORD_METADATA", "LOAD_TS"}}


@every_file
def test_every_field_becomes_the_column_of_its_table_and_is_null_only_where_that_may_be(path):
    fields, columns = fields_of(path), columns_of(path)

    renames = dict(pair.split(":") for pair in config(path)["transforms.columns.renames"].split(","))

    assert list(renames) == list(fields)
    wanted = {name: (AVRO[kind], is_needed) for name, (kind, is_needed) in columns.items()}
    assert {renames[name]: field for name, field in fields.items()} == wanted
    schema_and_name = (config(path)["snowflake.schema.name"], config(path)["snowflake.topic2table.map"])
    assert f"{schema_and_name[0]}.{schema_and_name[1].partition(':')[2]}" == TABLES[path.stem]


@every_file
def test_every_timestamp_is_made_of_ms_with_its_zone(path):
    transforms = config(path)["transforms"].split(",")
    found = {}
    for name in transforms[1:]:
        assert config(path)[f"transforms.{name}.type"].endswith(".TimestampConverter$Value")
        found[config(path)[f"transforms.{name}.field"]] = config(path)[f"transforms.{name}.format"]
    columns = {name for name, (kind, _) in columns_of(path).items() if kind == "TIMESTAMP_NTZ"}

    assert transforms[0] == "columns"
    assert found == dict.fromkeys(columns, "yyyy-MM-dd'T'HH:mm:ss.SSS'Z'")


@every_file
def test_every_reference_is_given_by_the_embedded_worker_and_by_the_containers(path, tmp_path):
    names = {found[3] for found in REFERENCE.finditer(path.read_text()) if found[1] == "env"}
    place = Place(tmp_path, tmp_path, {"rest": 4}, [], ENDPOINTS, tmp_path)
    given = Connect(Settings(_env_file=None)).environment(place)
    compose = yaml.safe_load((ROOT / "docker" / "compose.yml").read_text())

    assert names == given.keys()
    assert names <= compose["services"]["connect"]["environment"].keys()
    assert all(re.fullmatch(PROVIDED, name) for name in names)
    assert given["SNOW_URL"] == "http://127.0.0.1:3", "nothing of the credentials in the account's URL"
    assert given["SNOW_PRIVATE_KEY"] == private_key(tmp_path)


def test_java_is_started_alike_in_the_embedded_worker_in_the_containers_and_by_the_runbook(tmp_path):
    compose = yaml.safe_load((ROOT / "docker" / "compose.yml").read_text())
    options = compose["services"]["connect"]["environment"]["KAFKA_OPTS"].split()
    place = Place(tmp_path, tmp_path, {"rest": 4}, [], ENDPOINTS, tmp_path)

    assert set(options) <= set(Connect(Settings(_env_file=None)).launch(place).command)
    assert all(f"`{option}`" in (ROOT / "docs" / "RUNBOOK.md").read_text() for option in options)


def test_the_key_of_a_stack_is_made_once_and_only_its_owner_reads_it(tmp_path):
    assert private_key(tmp_path) == private_key(tmp_path)
    assert [path.stat().st_mode & 0o777 for path in tmp_path.iterdir()] == [0o600]


def test_topics_are_those_of_the_settings():
    settings = Settings(
        _env_file=None,
        agg_output_topic="x.bars",
        kafka_topic_dlt="x.letters",
        kafka_topic_connect_dlt="x.refused",
    )

    found = read_connectors(CONNECT_DIR, settings)

    core, dlt = found["snowflake-core-1s"], found["snowflake-raw-dlt"]
    assert (core["topics"], dlt["topics"]) == ("x.bars", "x.letters")
    assert core["snowflake.topic2table.map"] == "x.bars:FACT_TICKS_1S"
    assert dlt["snowflake.topic2table.map"] == "x.letters:TICKS_DLT"
    assert {core["errors.deadletterqueue.topic.name"], dlt["errors.deadletterqueue.topic.name"]} == {
        "x.refused"
    }
