"""ksql/operators/ on the ksqlDB server of KSQLDB_URL: what an operator asks is what was published."""

import json
import urllib.request
from collections.abc import Iterator

import pytest

from glue.core.bins import TickBin, watermark_record
from glue.core.dead_letters import DeadLetter
from glue.core.partition import partition_of, watermark_symbols
from glue.deploy import steps
from glue.deploy.report import Report
from glue.deploy.scripts import OPERATORS_DIR, read_scripts
from glue.io.kafka import admin_client, publish
from glue.io.registry import AvroWriter, Registry
from glue.settings import Settings
from tests.contract import engines
from tests.contract.ksqldb import deployed, own_settings
from tests.processes import until

pytestmark = pytest.mark.timeout(600)
START_MS = 1_266_417_000_000
"""A full minute of 2010-02-17."""
PARTITIONS = 2


@pytest.fixture(scope="module")
def settings() -> Iterator[Settings]:
    """Deploy all scripts and publish two minutes: a bin a second and symbol, every tenth one twice."""
    if not Settings.load().ksqldb_url:
        pytest.skip("KSQLDB_URL is not set")
    settings = own_settings(PARTITIONS)
    order = steps.Order(settings, Report(on_stderr=True), with_operators=True)
    with deployed(settings):
        steps.topics(order)
        steps.ksql(order)
        engines.publish(settings, streams())
        publish_dead_letters(settings)
        try:
            yield settings
        finally:
            steps.drop_ksql(order)
            scripts = read_scripts(OPERATORS_DIR, settings)
            names = [s.topic for script in scripts for s in script.statements if s.is_query]
            client = admin_client(settings)
            for deleted in client.delete_topics(names).values():
                deleted.result()


def streams() -> list[list[TickBin]]:
    found: list[list[TickBin]] = [[] for _ in range(PARTITIONS)]
    for second in range(120):
        for symbol in ("A", "B"):
            partition = found[partition_of(symbol, PARTITIONS)]
            partition += [bin_of(symbol, second)] * (2 if second % 10 == 0 else 1)
        for partition, reserved in zip(found, watermark_symbols(PARTITIONS), strict=True):
            partition.append(watermark_record(reserved, START_MS + second * 1000 + 1500, 10, None))
    return found


def bin_of(symbol: str, second: int) -> TickBin:
    start_ms, price = START_MS + second * 1000, 100.0 + second
    return TickBin(
        bin_id=f"{symbol}-{start_ms}", symbol=symbol, start_ts_ms=start_ms, end_ts_ms=start_ms + 10,
        window_ms=10, open=price, high=price + 1, low=price - 1, close=price + 0.5, volume=2.0,
        notional=2 * price, trade_count=3, max_lateness_ms=second, watermark_ms=start_ms, api_send_ts_ms=None,
        source_event_ts_ms=None, ingest_ts_ms=None, source="replay",
    )  # fmt: skip


def publish_dead_letters(settings: Settings) -> None:
    with Registry(settings) as registry:
        schema_id = registry.register(f"{settings.kafka_topic_dlt}-value", "dead_letter.avsc")
    writer = AvroWriter("dead_letter.avsc", schema_id)
    for number, reason in enumerate(["late", "late", "invalid"]):
        letter = DeadLetter(
            dlt_id=f"feed-{number}", reason=reason, detail=None, symbol="A", event_ts_ms=START_MS,
            lateness_ms=600 + number, watermark_ms=START_MS, seq=number, line=f"line {number}",
            line_sha256="", ingest_ts_ms=START_MS,
        )  # fmt: skip
        publish(settings, settings.kafka_topic_dlt, letter.dlt_id, writer.encode(letter))


def ask(settings: Settings, text: str) -> list[dict[str, object]]:
    """Return the rows of a pull query by column."""
    request = urllib.request.Request(
        f"{settings.ksqldb_url}/query",
        data=json.dumps({"ksql": text, "streamsProperties": {}}).encode(),
        headers={"Accept": "application/vnd.ksql.v1+json", "Content-Type": "application/vnd.ksql.v1+json"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        header, *rows = json.load(answer)
    schema = header["header"]["schema"]
    names = [column.split("`")[1] for column in schema.split(", ")]
    return [dict(zip(names, row["row"]["columns"], strict=True)) for row in rows if "row" in row]


def test_minute_bars_are_there_for_one_symbol_at_a_time(settings: Settings) -> None:
    rows: list[dict[str, object]] = []

    def complete() -> bool:
        rows[:] = ask(settings, "SELECT * FROM BARS_1M WHERE SYMBOL = 'A';")
        return [row["BAR_COUNT"] for row in rows] == [60, 60]

    until(complete, "two whole minutes")
    first, second = rows
    assert (first["SYMBOL"], first["WINDOWSTART"]) == ("A", START_MS)
    assert (first["OPEN"], first["HIGH"], first["LOW"], first["CLOSE"]) == (100.0, 160.0, 99.0, 159.5)
    assert (second["OPEN"], second["CLOSE"]) == (160.0, 219.5)
    assert (first["VOLUME"], first["TRADE_COUNT"]) == (120.0, 180)
    assert first["NOTIONAL"] == pytest.approx(sum(2 * (100.0 + s) for s in range(60)), rel=1e-9)


def test_repeated_bins_and_lateness_are_told(settings: Settings) -> None:
    rows: list[dict[str, object]] = []

    def complete() -> bool:  # minutes are of wall time: the two may fall into one or more
        rows[:] = ask(settings, "SELECT * FROM BINS_1M WHERE SYMBOL = 'B';")
        return sum(int(str(row["BARS"])) for row in rows) == 120

    until(complete, "120 windows")
    assert sum(int(str(row["REPEATED_BINS"])) for row in rows) == 12
    assert sum(int(str(row["BINS"])) for row in rows) == 120
    assert max(int(str(row["MAX_LATENESS_MS"])) for row in rows) == 119
    assert max(int(str(row["MOST_BINS_A_SECOND"])) for row in rows) == 2


def test_dead_letters_are_counted_by_reason(settings: Settings) -> None:
    rows: list[dict[str, object]] = []

    def complete() -> bool:
        rows[:] = ask(settings, "SELECT * FROM DEAD_LETTERS_1M WHERE REASON = 'late';")
        return sum(int(str(row["LINES"])) for row in rows) == 2

    until(complete, "two late lines")
    assert rows[-1]["LAST_LINE"] == "line 1"
    assert rows[-1]["MAX_LATENESS_MS"] == 601
