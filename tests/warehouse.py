"""The local Snowflake in tests: a database of its own for each, bars put on the topic, facts read back."""

import re
import time
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import duckdb
import msgspec
from confluent_kafka import Producer
from snowflake.connector.cursor import SnowflakeCursor

from glue.core.bars import Bar
from glue.core.partition import partition_of
from glue.deploy.snowflake import read_statements
from glue.io.fact_tables import COLUMNS, STORED
from glue.io.kafka import client_config, partition_count
from glue.io.registry import AvroWriter, Registry
from glue.io.snowflake import connect
from glue.settings import Settings
from tests.processes import DEADLINE_S

Row = dict[str, Any]
USED = ["bar_id", "symbol", "start_ts_ms", "open", "high", "low", "close", "volume", "notional"]
USED += ["trade_count", "max_lateness_ms", "api_send_ts_ms", "source_event_ts_ms", "ingest_ts_ms"]
TIMES = {"start_ts_ms": "START_TS", "end_ts_ms": "END_TS"}
"""Fields of a Bar that are timestamps in FACT_TICKS_1S, by their columns."""
TABLES = {60: "FACT_TICKS_60S", 300: "FACT_TICKS_300S"}


def names(number: str) -> dict[str, Any]:
    """Return settings with a database and a group that nobody else uses."""
    return {
        "snow_database": f"W{number}",
        "snowflake_loader_group": f"w{number}-loader",
        "snowflake_raw_group": f"w{number}-raw",
        "rollup_metrics_port": 0,
        "stage_raw_metrics_port": 0,
    }


def create_tables(settings: Settings) -> None:
    """Make the tables of snowflake/00_setup.sql in the database of the settings."""
    with connect(settings, "setup", role="") as connection, connection.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {settings.snow_database}")
        cursor.execute(f"CREATE SCHEMA {settings.snow_database}.CORE")
        cursor.execute(f"CREATE SCHEMA {settings.snow_database}.RAW")
        cursor.execute(f"USE SCHEMA {settings.snow_database}.CORE")
        create_roles(settings, cursor)
        for statement in read_statements(settings):
            if re.search(r"TABLE (IF NOT EXISTS )?(CORE\.FACT_TICKS|RAW\.TICKS_DLT)", statement.text):
                cursor.execute(statement.text)


def create_roles(settings: Settings, cursor: SnowflakeCursor) -> None:
    """Make and grant the roles of snowflake/00_setup.sql."""
    for statement in read_statements(settings):
        if statement.text.startswith(("CREATE ROLE", "GRANT ROLE")):
            cursor.execute(statement.text)


def revoked_role(settings: Settings) -> str:
    """Return a role that the user had, and has no more."""
    role = f"{settings.snow_database}_ROLE"
    query(settings, f"CREATE ROLE {role}")
    query(settings, f"GRANT ROLE {role} TO USER TAPELINE")
    assert query(settings.model_copy(update={"snow_role": role}), "SELECT 1") == [(1,)]
    query(settings, f"REVOKE ROLE {role} FROM USER TAPELINE")
    return role


def query(settings: Settings, sql: str, binds: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    with connect(settings, "test") as connection, connection.cursor() as cursor:
        return cursor.execute(sql, binds).fetchall()


def store_bars(settings: Settings, bars: list[Bar], offset: int = 0) -> None:
    """Put bars into FACT_TICKS_1S as the Snowflake connector does, from an offset of partition 0 on."""
    columns = ", ".join(TIMES.get(name, name) for name in STORED)
    pushed_ms = time.time_ns() // 1_000_000
    rows = [
        [
            *(getattr(bar, name) for name in STORED),
            {
                "topic": settings.agg_output_topic,
                "partition": 0,
                "offset": offset + i,
                "SnowflakeConnectorPushTime": pushed_ms,
            },
        ]
        for i, bar in enumerate(bars)
    ]
    values = ", ".join(
        f"TO_TIMESTAMP_NTZ(f.value[{i}]::NUMBER, 3)" if name in TIMES else f"f.value[{i}]::VARCHAR"
        for i, name in enumerate(STORED)
    )
    query(
        settings,
        f"INSERT INTO CORE.FACT_TICKS_1S ({columns}, SOURCE, RECORD_METADATA) "
        f"SELECT {values}, 'aggregate', f.value[{len(STORED)}] FROM TABLE(FLATTEN(INPUT => PARSE_JSON(?))) f",
        (msgspec.json.encode(rows).decode(),),
    )


def facts(settings: Settings, seconds: int) -> dict[str, Row]:
    """Return the rows of a table by BAR_ID, LOAD_TS left out; each BAR_ID is there once."""
    found = query(settings, f"SELECT {', '.join(COLUMNS)} FROM CORE.{TABLES[seconds]}")
    rows = {row[0]: dict(zip(COLUMNS, row, strict=True)) for row in found}
    assert len(rows) == len(found), "a BAR_ID is there more than once"
    return rows


def expected(bars: list[Bar], seconds: int) -> dict[str, Row]:
    """Compute the rows by SQL, from all bars of a topic in its order: of a bar id the last one counts."""
    with duckdb.connect() as db:
        db.execute(
            "CREATE TABLE bars (n BIGINT, id VARCHAR, s VARCHAR, t BIGINT, o DOUBLE, h DOUBLE, l DOUBLE, "
            "c DOUBLE, v DOUBLE, nv DOUBLE, k BIGINT, late BIGINT, sent BIGINT, src BIGINT, ing BIGINT)"
        )
        rows = [[n, *(getattr(b, name) for name in USED)] for n, b in enumerate(bars)]
        for i in range(0, len(rows), 1000):
            part = rows[i : i + 1000]
            marks = ", ".join(["(" + ", ".join("?" * len(part[0])) + ")"] * len(part))
            db.execute(f"INSERT INTO bars VALUES {marks}", [v for row in part for v in row])
        found = db.execute(
            f"""
            WITH once AS (SELECT * FROM bars QUALIFY row_number() OVER (PARTITION BY id ORDER BY n DESC) = 1)
            SELECT s || '-' || w || '-{seconds}s', s, w, w + {seconds * 1000}, arg_min(o, t), max(h), min(l),
                   arg_max(c, t), fsum(v), fsum(nv),
                   CASE WHEN fsum(v) > 0 THEN fsum(nv) / fsum(v) ELSE arg_max(c, t) END,
                   sum(k), count(*), max(late), min(sent), min(src), max(ing)
            FROM (SELECT *, t - t % {seconds * 1000} AS w FROM once) GROUP BY s, w
            """
        ).fetchall()
    return {row[0]: dict(zip(COLUMNS, row, strict=True)) for row in found}


def assert_facts(settings: Settings, bars: list[Bar]) -> None:
    """Compare both tables with what the bars give: the same rows, numbers to 1e-9 or the last decimal."""
    for seconds in TABLES:
        found, wanted = facts(settings, seconds), expected(bars, seconds)
        assert found.keys() == wanted.keys(), (
            f"{seconds} s: too many {sorted(found.keys() - wanted.keys())[:5]}, "
            f"missing {sorted(wanted.keys() - found.keys())[:5]}"
        )
        for bar_id, row in wanted.items():
            for name, value in row.items():
                assert is_near(found[bar_id][name], value), (bar_id, name, found[bar_id][name], value)


def is_near(found: Any, value: Any) -> bool:
    if isinstance(value, float):
        decimal = 1.01e-8 if isinstance(found, Decimal) else 0.0
        return abs(float(found) - value) <= max(decimal, 1e-9 * abs(value))
    return bool(found == value)


@dataclass
class BarTopic:
    """Puts bars on the topic as an engine does; the symbol chooses the partition."""

    settings: Settings

    def __post_init__(self) -> None:
        with Registry(self.settings) as registry:
            schema_id = registry.register(f"{self.settings.agg_output_topic}-value", "bar_1s.avsc")
        self._writer = AvroWriter("bar_1s.avsc", schema_id)
        self._producer = Producer(client_config(self.settings))
        self._partitions = partition_count(self.settings, self.settings.agg_output_topic)

    def put(self, bars: list[Bar]) -> None:
        for bar in bars:
            self._producer.produce(
                self.settings.agg_output_topic,
                self._writer.encode(bar),
                bar.bar_id,
                partition_of(bar.symbol, self._partitions),
            )
            self._producer.poll(0)
        assert self._producer.flush(DEADLINE_S) == 0


def walk(symbols: int, start_ms: int, seconds: int, every_s: int = 1) -> list[Bar]:
    """Return bars of some symbols, second by second; prices and sizes differ from each other."""
    bars = []
    for t in range(0, seconds, every_s):
        for i in range(symbols):
            px, size = 10 + i + (t * 7 % 13) / 8, float((t + i) % 5 * 10)
            start = start_ms + t * 1000
            bars.append(
                Bar(
                    f"S{i}-{start}", f"S{i}", start, start + 1000, px, px + 0.5, px - 0.25, px + 0.125,
                    size, size * px, px, 1 + (t + i) % 3, 1, (t * i) % 50, None, None, None,
                )
            )  # fmt: skip
    return bars
