"""The Snowflake connector: from the broker's append of a bar to its row, at live pace."""

import time
from collections.abc import Callable

from confluent_kafka import Producer

from bench.facts import make_tables
from bench.report import Measure, Row
from bench.rounds import Say, percentile
from bench.stage import Stage
from glue.core.bars import Bar
from glue.deploy import connect as connectors
from glue.deploy.report import Report
from glue.errors import TapelineError
from glue.io.connect import Connect
from glue.io.kafka import client_config
from glue.io.registry import AvroWriter, Registry
from glue.io.snowflake import connect

NAME = "snowflake-core-1s"
LIMIT_MS, CLIENT_LAG_MS = 1_500, 1_000
BARS_PER_S = 20
POLL_S = 0.05
FIRST_ROW_WITHIN_S, LAST_ROW_WITHIN_S = 120.0, 30.0


def rows(stage: Stage, say: Say, *, is_quick: bool) -> list[Row]:
    """Measure what a row waits for."""
    warm_s, for_s = (3, 5) if is_quick else (10, 40)
    stage.start_connect()
    settings = stage.settings(snow_database="BENCH_CONNECT")
    make_tables(settings)
    with Registry(settings) as registry:
        schema_id = registry.register(f"{settings.agg_output_topic}-value", "bar_1s.avsc")
    writer, producer = AvroWriter("bar_1s.avsc", schema_id), Producer(client_config(settings))
    config = connectors.read_connectors(connectors.CONNECT_DIR, settings)[NAME]
    config["snowflake.database.name"] = settings.snow_database
    say(f"the connector: {warm_s} s to warm up, then {for_s} s of {BARS_PER_S} bars/s")
    seen: dict[str, float] = {}
    with Connect(settings) as worker, connect(settings, "bench") as connection, connection.cursor() as cursor:
        connectors.create(worker, {NAME: config}, Report(on_stderr=True), worker.timeout_s)

        def look() -> None:
            cursor.execute(
                "SELECT BAR_ID, RECORD_METADATA:LogAppendTime::NUMBER FROM CORE.FACT_TICKS_1S "
                "WHERE INGEST_TS_MS >= ?",
                (looked_from_ms,),
            )
            at_ms = time.time() * 1000
            for bar_id, append_ms in cursor.fetchall():
                seen.setdefault(bar_id, at_ms - float(append_ms))

        looked_from_ms = int(time.time() * 1000)
        producer.produce(settings.agg_output_topic, writer.encode(_bar(0)), _bar(0).bar_id)
        producer.flush()
        _wait(look, lambda: bool(seen), FIRST_ROW_WITHIN_S)
        count, began = 1, time.monotonic()
        measured: set[str] = set()
        while (elapsed := time.monotonic() - began) < warm_s + for_s:
            while count <= elapsed * BARS_PER_S:
                bar = _bar(count)
                producer.produce(settings.agg_output_topic, writer.encode(bar), bar.bar_id)
                count += 1
                if elapsed > warm_s:
                    measured.add(bar.bar_id)
            producer.poll(0)
            look()
            looked_from_ms = int(time.time() * 1000) - 10_000
            time.sleep(POLL_S)
        producer.flush()
        _wait(look, lambda: measured <= seen.keys(), LAST_ROW_WITHIN_S)
        worker.delete(NAME)
    latencies = [seen[bar_id] for bar_id in measured]
    note = (
        f"broker append time to the first of looks every {POLL_S * 1000:.0f} ms that finds the row, "
        f"{len(measured)} bars at {BARS_PER_S}/s, client lag of the connector "
        f"{CLIENT_LAG_MS / 1000:.0f} s, local Snowflake"
    )
    found = []
    for percent in (50, 95):
        taken = percentile(latencies, percent)
        found.append(
            Row(
                what=f"bar on Kafka to row in FACT_TICKS_1S, p{percent}",
                measured=Measure(taken, "ms"),
                beside_what="client lag",
                beside=Measure(CLIENT_LAG_MS, "ms"),
                ratio=taken / CLIENT_LAG_MS,
                goal=f"below {LIMIT_MS:,} ms" if percent == 50 else "",
                is_met=taken < LIMIT_MS if percent == 50 else None,
                note=note,
            )
        )
    return found


def _bar(number: int) -> Bar:
    start_ms = 1_700_000_000_000 + number * 1000
    return Bar(
        f"S-{start_ms}", "S", start_ms, start_ms + 1000, 1.0, 2.0, 0.5, 1.5, 10.0, 15.0, 1.5, 3, 2, 0,
        None, None, int(time.time() * 1000),
    )  # fmt: skip


def _wait(look: Callable[[], None], is_done: Callable[[], bool], within_s: float) -> None:
    deadline = time.monotonic() + within_s
    look()
    while not is_done():
        if time.monotonic() > deadline:
            raise TapelineError(f"bars did not reach FACT_TICKS_1S within {within_s:.0f} s")
        time.sleep(POLL_S)
        look()
