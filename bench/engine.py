"""The local engine, beside Quix Streams doing the same bars, and beside reading and decoding alone."""

import math
import time
from pathlib import Path
from typing import Any

from bench.records import SYMBOLS, batches, publish, sink
from bench.report import Row, compared
from bench.rounds import Say, take_turns
from bench.stage import ROOT, Child, Stage
from bench.topic import HEADER_BYTES, SCHEMA_DIR, Following, decode, parsed_schema
from glue.core.bins import TickBin
from glue.errors import TapelineError
from glue.settings import Settings

LEAST_RATIO = 3.0
QUIX_PYTHON = ROOT / ".venv-bench" / "bin" / "python"
DEADLINE_S = 300.0
SILENT_S = 8.0
"""Quix leaves the newest windows open: a run is over when nothing came for so long."""
LEAST_SHARE = 0.8
EQUAL = ("open", "high", "low", "close", "trade_count", "bin_count", "max_lateness_ms", "end_ts_ms")
NEAR = ("volume", "notional", "vwap")
"""Equal to 1e-9: sums have an order."""

Bars = dict[str, dict[str, Any]]


def require_quix() -> None:
    """Raise if the environment of Quix Streams is not there."""
    if not QUIX_PYTHON.exists():
        raise TapelineError(
            ".venv-bench, the environment of Quix Streams, is missing; `make bench` creates it, `--only "
            "core,kafka,latency,memory` goes without it"
        )


def rows(stage: Stage, say: Say, *, is_quick: bool) -> list[Row]:
    """Measure engine, Quix Streams and the limit on one topic of bins."""
    require_quix()
    ticks, turns = (30_000, 1) if is_quick else (180_000, 3)
    say("filling a topic with bins")
    of = batches(ticks, is_ended=True)
    settings = stage.settings()
    publish(of, sink(settings, "bench-engine"), "bench-engine")
    expected = len({
        (b.symbol, b.start_ts_ms // 1000)
        for outputs in of.outputs
        for b in outputs
        if isinstance(b, TickBin) and b.trade_count
    })  # fmt: skip
    found: dict[str, Bars] = {}

    def engine() -> float:
        at = stage.settings(kafka_topic_raw=settings.kafka_topic_raw)
        with stage.running("glue.aggregate", settings=at) as child:
            rate, found["engine"] = _bins_per_s(at, child, HEADER_BYTES, expected)
        return rate

    def quix() -> float:
        at = stage.settings(kafka_topic_raw=settings.kafka_topic_raw)
        with stage.child("quix", _quix_command(at, stage.folder), at) as child:
            rate, found["quix"] = _bins_per_s(at, child, 0, expected)
        return rate

    rates = take_turns(
        {
            "glue.aggregate": engine,
            "Quix Streams": quix,
            "read and decode": lambda: _decode_per_s(settings, of.count),
        },
        turns,
        say,
    )
    _require_equal(found["engine"], found["quix"], expected)
    say(f"{len(found['quix']):,} of {expected:,} bars by Quix Streams, equal to the engine's")
    note = (
        f"{of.count:,} records of {SYMBOLS} symbols on 6 partitions, {expected:,} bars; both as processes of "
        "their own, bins per second from the first to the last bar's append, so that starting does not "
        "count. "
    )
    return [
        compared(
            "bins to 1 s bars, exactly once",
            rates["glue.aggregate"],
            "Quix Streams",
            rates["Quix Streams"],
            at_least=LEAST_RATIO,
            note=note
            + "Quix Streams: tumbling window of 1 s, grace 500 ms, all bar fields, processing guarantee "
            f"exactly-once, state and changelog as by default, commit interval 5 s; {len(found['quix']):,} "
            "of its bars are compared and equal to the engine's (it leaves the newest open)",
        ),
        compared(
            "bins to 1 s bars, beside the limit",
            rates["glue.aggregate"],
            "consume + fastavro decode alone",
            rates["read and decode"],
            note="one confluent-kafka consumer, read_committed, up to 2,000 records a call, "
            "fastavro.schemaless_reader of each, nothing else",
        ),
    ]


def _quix_command(settings: Settings, folder: Path) -> list[str]:
    options = {
        "brokers": settings.kafka_brokers,
        "registry": settings.schema_registry_url,
        "group": settings.agg_group,
        "bins": settings.kafka_topic_raw,
        "bars": settings.agg_output_topic,
        "schemas": str(SCHEMA_DIR),
        "state": str(folder / f"{settings.agg_group}.state"),
        "guarantee": "exactly-once",
    }
    script = str(ROOT / "bench" / "quix.py")
    return [str(QUIX_PYTHON), "-u", script, *(f"--{name}={value}" for name, value in options.items())]


def _bins_per_s(settings: Settings, child: Child, header_bytes: int, expected: int) -> tuple[float, Bars]:
    """Follow the bars of a run to their end; return the bins a second that went into them, and the bars."""
    schema = parsed_schema("bar_1s.avsc")
    bars: Bars = {}
    taken: list[tuple[int, int]] = []  # (append time of a bar, bins in it)
    tail = Following(settings, settings.agg_output_topic, is_from_start=True)
    began = heard_at = time.monotonic()
    try:
        while len(bars) < expected:
            messages = tail.poll(0.2)
            child.check()
            now = time.monotonic()
            for message in messages:
                bar = decode(schema, message.value() or b"", header_bytes)
                bars[bar["bar_id"]] = bar
                taken.append((message.timestamp()[1], bar["bin_count"]))
                heard_at = now
            if (bars and now > heard_at + SILENT_S) or now > began + DEADLINE_S:
                break
    finally:
        tail.close()
    first_ms, last_ms = (min(taken)[0], max(taken)[0]) if taken else (0, 0)
    if last_ms <= first_ms:
        raise TapelineError(f"{child.name} made {len(bars)} of {expected} bars in {DEADLINE_S:.0f} s")
    return sum(bins for at_ms, bins in taken if at_ms > first_ms) / (last_ms - first_ms) * 1000, bars


def _require_equal(ours: Bars, quix: Bars, expected: int) -> None:
    """Raise unless the engine made all bars, and Quix Streams the same ones but for the newest."""
    if len(ours) != expected:
        raise TapelineError(f"the engine made {len(ours)} bars, expected {expected}")
    if len(quix) < expected * LEAST_SHARE:
        raise TapelineError(f"Quix Streams made {len(quix)} of {expected} bars in {DEADLINE_S:.0f} s")
    for bar_id, bar in quix.items():
        mine = ours.get(bar_id)
        if mine is None:
            raise TapelineError(f"Quix Streams made a bar that the engine did not: {bar_id}")
        is_equal = all(bar[name] == mine[name] for name in EQUAL)
        is_near = all(math.isclose(bar[name], mine[name], rel_tol=1e-9) for name in NEAR)
        if not (is_equal and is_near):
            raise TapelineError(f"Quix Streams and the engine differ: {bar} is not {mine}")


def _decode_per_s(settings: Settings, expected: int) -> float:
    """Read and decode the topic; the clock starts with the first records."""
    schema = parsed_schema("tick_bin.avsc")
    tail = Following(settings, settings.kafka_topic_raw, is_from_start=True)
    try:
        while not (first := tail.poll(0.1)):
            pass
        began = time.perf_counter()
        count = len(first)
        while count < expected:
            messages = tail.poll(0.1)
            for message in messages:
                decode(schema, message.value() or b"")
            count += len(messages)
        return (count - len(first)) / (time.perf_counter() - began)
    finally:
        tail.close()
