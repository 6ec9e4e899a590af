"""Latency at live pace, with the real worker and engine: bin closed to appended, bar end to visible."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from bench.bare import BareTransactions, Payloads
from bench.records import batches, checkpoint, on_the_wire
from bench.report import Measure, Row
from bench.rounds import Say, percentile
from bench.stage import Child, Stage
from bench.topic import Following, committed, decode, parsed_schema
from glue.errors import TapelineError
from glue.io.kafka import partition_count
from glue.settings import Settings

MOST_APPEND_MS, MOST_BAR_MS = 20, 650
LIVE_SYMBOLS, LIVE_RATE = 600, 2_900
"""Gives about 5,000 bins/s: the market is twice as busy in its first minute, and bursts share bins."""
STEP_MS = 5
CLOCKS = "times are whole milliseconds of one machine's clock"


def rows(stage: Stage, say: Say, *, is_quick: bool) -> list[Row]:
    """Measure both."""
    warm_s, for_s = (4.0, 4.0) if is_quick else (10.0, 30.0)
    found = _append_rows(stage, say, warm_s, for_s)
    warm_s, for_s = (5.0, 5.0) if is_quick else (15.0, 40.0)
    return found + _bar_rows(stage, say, warm_s, for_s)


def _append_rows(stage: Stage, say: Say, warm_s: float, for_s: float) -> list[Row]:
    settings = stage.settings()
    with (
        stage.feed("--synthetic", "--symbols", str(LIVE_SYMBOLS), "--rate", str(LIVE_RATE)) as url,
        stage.running("glue.replay", "--url", url, settings=settings) as worker,
    ):
        worker.wait_for('"feed"')
        say(f"append latency: {warm_s:.0f} s to warm up, then {for_s:.0f} s of about 5,000 bins/s")
        _pause(warm_s, worker)
        began_ms = _now_ms()
        _pause(for_s, worker)
        ended_ms = _now_ms()
    schema = parsed_schema("tick_bin.avsc")

    def bin_closed_ms(key: bytes, value: bytes) -> int | None:
        fields = decode(schema, value)
        return int(fields["ingest_ts_ms"]) if fields["trade_count"] else None

    ours = _append_latencies(settings, began_ms, ended_ms, bin_closed_ms)
    per_s = len(ours) / (ended_ms - began_ms) * 1000
    say(f"append latency: {per_s:,.0f} bins/s were closed; now librdkafka alone at that pace")
    bare = stage.settings()
    began_ms, ended_ms = _bare_pace(bare, per_s, warm_s / 2, for_s)
    theirs = _append_latencies(bare, began_ms, ended_ms, lambda key, value: int(key))
    note = (
        f"broker append time minus ingest_ts_ms of every bin, `glue.replay` on a live feed of {LIVE_SYMBOLS} "
        f"symbols, {per_s:,.0f} bins/s over {for_s:.0f} s after {warm_s:.0f} s; beside the same number of "
        f"serialized payloads, sent every {STEP_MS} ms and committed every {settings.replay_commit_ms} ms by "
        f"librdkafka alone; {CLOCKS}"
    )
    what = f"bin closed to appended, {per_s:,.0f} bins/s live"
    return _percentile_rows(what, ours, "librdkafka alone", theirs, (50, 99), 99, MOST_APPEND_MS, note)


def _append_latencies(
    settings: Settings, from_ms: int, to_ms: int, start_ms: Callable[[bytes, bytes], int | None]
) -> list[float]:
    found: list[float] = []
    for message in committed(settings, settings.kafka_topic_raw):
        append_ms = message.timestamp()[1]
        if from_ms <= append_ms <= to_ms:
            started_ms = start_ms(message.key() or b"", message.value() or b"")
            if started_ms is not None:
                found.append(append_ms - started_ms)
    if not found:
        raise TapelineError("nothing was appended while it was measured")
    return found


def _bare_pace(settings: Settings, per_s: float, warm_s: float, for_s: float) -> tuple[int, int]:
    """Send payloads at a pace, keyed by the time they are handed over; return from when to when it counts."""
    of = batches(6_000)
    partitions = partition_count(settings, settings.kafka_topic_raw)
    payloads = [
        (partition, record)
        for outputs in of.outputs
        for partition, some in on_the_wire(outputs, partitions).items()
        for record in some
    ]
    state = msgspec.json.encode(checkpoint(of, "bare"))
    transactions = BareTransactions(settings, "bench-pace")
    began = committed_at = time.monotonic()
    began_ms = _now_ms()
    sent = 0
    while (elapsed_s := time.monotonic() - began) < warm_s + for_s:
        due = int(elapsed_s * per_s)
        if due > sent:
            key = str(_now_ms())
            records: Payloads = {}
            for i in range(sent, due):
                partition, record = payloads[i % len(payloads)]
                records.setdefault(partition, []).append(record | {"key": key})
            transactions.send(records)
            sent = due
        if time.monotonic() >= committed_at + settings.replay_commit_ms / 1000:
            transactions.commit(state)
            committed_at = time.monotonic()
        time.sleep(STEP_MS / 1000)
    transactions.commit(state)
    return began_ms + int(warm_s * 1000), _now_ms()


def _bar_rows(stage: Stage, say: Say, warm_s: float, for_s: float) -> list[Row]:
    settings = stage.settings()
    schema = parsed_schema("bar_1s.avsc")
    latencies: list[float] = []
    with (
        stage.feed("--synthetic") as url,
        stage.running("glue.aggregate", settings=settings) as engine,
        stage.running("glue.replay", "--url", url, settings=settings) as worker,
    ):
        worker.wait_for('"feed"')
        engine.wait_for('"assigned"')
        say(f"bar latency: {warm_s:.0f} s to warm up, then {for_s:.0f} s")
        bars = Following(settings, settings.agg_output_topic, is_from_start=False)
        try:
            began = time.monotonic()
            while (elapsed_s := time.monotonic() - began) < warm_s + for_s:
                messages = bars.poll(0.5)
                now_ms = time.time_ns() / 1e6
                worker.check()
                engine.check()
                if elapsed_s >= warm_s:
                    found = (decode(schema, message.value() or b"") for message in messages)
                    latencies += [now_ms - bar["end_ts_ms"] for bar in found]
        finally:
            bars.close()
    if not latencies:
        raise TapelineError("no bar came while it was measured")
    late_ms = settings.replay_max_late_ms
    note = (
        f"wall clock at a read_committed consumer minus end_ts_ms of {len(latencies):,} bars in {for_s:.0f} "
        f"s after {warm_s:.0f} s; `glue.mock_api --synthetic`, `glue.replay` and `glue.aggregate` with their "
        f"default settings; the earliest it could be is L = {late_ms} ms after the bar's end"
    )
    floor = [float(late_ms)]
    what = "bar end to visible to a reader"
    return _percentile_rows(what, latencies, "earliest possible", floor, (50, 95, 99), 95, MOST_BAR_MS, note)


def _percentile_rows(
    what: str,
    ours: Sequence[float],
    beside_what: str,
    theirs: Sequence[float],
    percents: Sequence[int],
    goal_percent: int,
    most_ms: float,
    note: str,
) -> list[Row]:
    found = []
    for percent in percents:
        mine, other = percentile(ours, percent), percentile(theirs, percent)
        more: dict[str, Any] = {}
        if percent == goal_percent:
            more = {
                "goal": f"below {most_ms:g} ms",
                "is_met": mine < most_ms,
                "note": note,
            }
        found.append(
            Row(
                what=f"{what}, p{percent}",
                measured=Measure(mine, "ms"),
                beside_what=beside_what,
                beside=Measure(other, "ms"),
                ratio=mine / max(other, 1.0),
                **more,
            )
        )
    return found


def _pause(seconds: float, *children: Child) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        for child in children:
            child.check()
        time.sleep(0.1)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
