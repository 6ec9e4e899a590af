"""How the pipeline does: its parts, lag, latencies, dead letters, and the service levels they are held to."""

import argparse
import sys
import time
from collections import Counter

import msgspec
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table

from glue import usage
from glue.cli import run
from glue.connectors import MISSING, Connector, look
from glue.core.usage import billed_s
from glue.engine import Engine, ksqldb_engine, local_engine
from glue.errors import TapelineError
from glue.intake import now_ms
from glue.io.kafka_groups import active_groups
from glue.io.topic_stats import (
    Lag,
    Latency,
    bar_latency,
    consumer_lag,
    dead_letters,
    due_ms,
    percentiles,
    publish_latency,
)
from glue.parts import (
    ANSWERS,
    BROKEN,
    ENDED,
    ENGINE,
    NOT_HERE,
    RUNNING,
    Part,
    answering,
    jobs_elsewhere,
    parts_here,
)
from glue.settings import Settings

WINDOW_S = 60
"""Latencies are taken over the records appended in the last so many seconds."""
DEAD_LETTERS_S = 3600
ENGINE_GRACE_S = 15
WAITING_S = 180
"""A record that a connector has not committed for so long is held up: workers commit once a minute."""
HOUR_MS = 3_600_000
AUTO_SUSPEND_S = 60.0
"""Of the warehouse in snowflake/00_setup.sql."""


class ServiceLevel(msgspec.Struct, frozen=True):
    """A promise: `is_met` is None while there is nothing to judge by."""

    name: str
    limit: str
    seen: str
    is_met: bool | None


class Warehouse(msgspec.Struct, frozen=True):
    """What the jobs on this machine had the warehouse do in the last hour; seconds, and lag in ms."""

    execution_s: float
    billed_s: float
    """An estimate: a minute at least each time it resumes."""
    flush_lag: Latency


class Status(msgspec.Struct, frozen=True):
    """Everything glue.status shows; times in ms."""

    at_ms: int
    parts: list[Part]
    engine: Engine
    lag: list[Lag]
    publish_latency: Latency
    bar_latency: Latency
    dead_letters: dict[str, int]
    warehouse: Warehouse
    connectors: list[Connector]
    service_levels: list[ServiceLevel]

    @property
    def is_good(self) -> bool:
        """Whether no service level is broken."""
        return all(level.is_met is not False for level in self.service_levels)


def collect(settings: Settings, *, with_channels: bool = True) -> Status:
    """Look at the pipeline now; what does not answer is told among the service levels.

    `with_channels` asks Snowflake for the offsets of the connectors, which is a login.
    """
    parts = parts_here()
    levels = [_parts_level(parts)]
    if settings.ksqldb_url:
        engine = ksqldb_engine(settings)
        levels.append(ServiceLevel("ksqlDB", "runs", engine.state, engine.is_running))
    else:
        engine = local_engine(settings)
    publish, bars = Latency(0), Latency(0)
    has_broker = has_connect = False
    lag: list[Lag] = []
    reasons: Counter[str] = Counter()
    try:
        active = active_groups(settings)
        has_broker = True  # what fails from here on may be the registry
        since_ms = now_ms() - WINDOW_S * 1000
        publish = publish_latency(settings, since_ms)
        bars = bar_latency(settings, since_ms)
        waits_ms = _waits_ms(settings, bars, since_ms)
        reasons = dead_letters(settings, now_ms() - DEAD_LETTERS_S * 1000)
        parts += jobs_elsewhere(settings, parts, active)
    except TapelineError as error:
        levels.append(ServiceLevel("broker and registry", "answer", str(error), False))
    else:
        lag = [row for group, topic in engine.reads for row in consumer_lag(settings, group, topic)]
        for group, topic in (
            (settings.snowflake_loader_group, settings.agg_output_topic),
            (settings.snowflake_raw_group, settings.kafka_topic_raw),  # up to an hour behind
        ):
            loader = consumer_lag(settings, group, topic)
            lag += [row for row in loader if row.lag is not None]  # there may be no warehouse
        levels += [
            _latency_level("publish p95 (bin closed -> ticks.raw)", publish, settings.sla_publish_ms),
            _latency_level("bar p95 (bar end -> ticks.agg.1s)", bars, settings.sla_bar_ms),
            _engine_level(publish, bars, waits_ms),
        ]
    warehouse = _warehouse()
    connectors: list[Connector] = []
    if settings.connect_url:
        try:
            connectors = look(settings, with_channels=with_channels)
        except TapelineError as error:
            levels.append(ServiceLevel("connectors", "all run", str(error), False))
        else:
            has_connect = True
            levels.append(_connectors_level(connectors))
    levels += [
        _latency_level("flush p95 (window end -> facts)", warehouse.flush_lag, settings.sla_flush_ms),
        _execution_level(warehouse, settings.sla_warehouse_s),
    ]
    if not settings.ksqldb_url:
        states = {part.name: part.state for part in parts}
        engine = local_engine(settings, states.get(ENGINE, NOT_HERE))
    return Status(
        at_ms=now_ms(),
        parts=answering(settings, parts, broker=has_broker, connect=has_connect),
        engine=engine,
        lag=lag,
        publish_latency=publish,
        bar_latency=bars,
        dead_letters=dict(sorted(reasons.items())),
        warehouse=warehouse,
        connectors=connectors,
        service_levels=levels,
    )


def _waits_ms(settings: Settings, bars: Latency, since_ms: int) -> int:
    """Return how long the first bar after the newest one has been due, 0 where none is.

    Only where no bar came lately are the bins asked: a market may be quiet.
    """
    if bars.newest_ms is not None and now_ms() - bars.newest_ms < ENGINE_GRACE_S * 1000:
        return 0
    at_ms = due_ms(settings, max(since_ms, (bars.newest_ms or 0) + 1))
    return 0 if at_ms is None else now_ms() - at_ms


def _engine_level(publish: Latency, bars: Latency, waits_ms: int) -> ServiceLevel:
    """Hold the engine to its bars, whatever it says of itself: one that is due must come within seconds."""
    name, limit = "engine (bins lead to bars)", f"within {ENGINE_GRACE_S} s"
    if waits_ms > ENGINE_GRACE_S * 1000:
        return ServiceLevel(name, limit, f"a bar is due for {waits_ms // 1000} s", False)
    if not publish.appended:
        return ServiceLevel(name, limit, "no bins", None)
    seen = f"{bars.appended:,} bars in {WINDOW_S} s"
    return ServiceLevel(name, limit, seen, True if bars.appended else None)


def _latency_level(name: str, latency: Latency, limit_ms: int) -> ServiceLevel:
    if latency.p95_ms is None:
        return ServiceLevel(name, f"< {limit_ms} ms", "no live data", None)
    return ServiceLevel(name, f"< {limit_ms} ms", f"{latency.p95_ms} ms", latency.p95_ms < limit_ms)


def _connectors_level(connectors: list[Connector]) -> ServiceLevel:
    """All run and write, or none is deployed: one that tries in vain is said to run by its worker."""
    is_used = any(connector.state != MISSING for connector in connectors)
    bad = [f"{c.name}: {fault}" for c in connectors if (fault := _fault(c))]
    seen = "; ".join(bad) if is_used else "none deployed"
    return ServiceLevel(
        "connectors", "all run", seen or f"{len(connectors)} run", not bad if is_used else None
    )


def _fault(connector: Connector) -> str:
    if not connector.is_running:
        return connector.problem or " ".join([connector.state, *connector.tasks])
    if connector.waiting_s > WAITING_S:
        return f"a record waits for {connector.waiting_s:.0f} s"
    return ""


def _warehouse() -> Warehouse:
    uses = usage.since(now_ms() - HOUR_MS)
    lags = (use.lag_ms for use in uses if use.lag_ms is not None)
    return Warehouse(
        execution_s=round(sum(use.execution_s for use in uses), 1),
        billed_s=round(billed_s(uses, AUTO_SUSPEND_S), 1),
        flush_lag=percentiles(lags),
    )


def _execution_level(warehouse: Warehouse, limit_s: int) -> ServiceLevel:
    name, limit = "warehouse execution in an hour", f"< {limit_s} s"
    if not warehouse.execution_s:
        return ServiceLevel(name, limit, "no work", None)
    return ServiceLevel(name, limit, f"{warehouse.execution_s} s", warehouse.execution_s < limit_s)


def _parts_level(parts: list[Part]) -> ServiceLevel:
    dead = [part.name for part in parts if part.state in BROKEN]
    run = sum(part.state == RUNNING for part in parts)
    seen = f"not running: {', '.join(dead)}" if dead else f"{run} run"
    return ServiceLevel("parts on this machine", "all run", seen, not dead if dead or run else None)


def render(status: Status) -> RenderableType:
    """Return the status as tables."""
    parts = _table("Parts", "part", "state", "pid", "memory", "where")
    for part in status.parts:
        memory = f"{part.memory_mb} MiB" if part.memory_mb is not None else ""
        is_good = {RUNNING: True, ANSWERS: True, NOT_HERE: None, ENDED: None}.get(part.state, False)
        parts.add_row(part.name, _coloured(part.state, is_good), str(part.pid or ""), memory, part.where)
    engine = status.engine
    if engine.where:
        parts.add_row(engine.name, _coloured(engine.state, engine.is_running), "", "", engine.where)
    total = sum(part.memory_mb or 0 for part in status.parts)
    parts.add_row("total", "", "", f"{total} MiB", "")

    flow = _table(f"Latency, last {WINDOW_S} s", "step", "records", "p50", "p95", "p99")
    for name, latency in (
        ("bin closed -> ticks.raw", status.publish_latency),
        ("bar end -> ticks.agg.1s", status.bar_latency),
    ):
        flow.add_row(
            name, f"{latency.count:,}", *(_ms(v) for v in (latency.p50_ms, latency.p95_ms, latency.p99_ms))
        )

    lag = _table("Lag", "group", "topic", "partition", "lag")
    for row in status.lag:
        lag.add_row(
            row.group, row.topic, str(row.partition), "never read" if row.lag is None else f"{row.lag:,}"
        )

    streams = _table("Connectors", "connector", "state", "tasks", "lag", "committed offset of each channel")
    for connector in status.connectors:
        lags = [row.lag for row in connector.lag if row.lag is not None]
        streams.add_row(
            connector.name,
            _coloured(connector.state, connector.is_running),
            " ".join(connector.tasks),
            f"{sum(lags):,}" if lags else "",
            ", ".join(f"{c.name}: {c.offset or 'none'}" for c in connector.channels or []),
        )

    work = _table("Warehouse, last hour", "live flushes", "execution", "billed (estimate)")
    work.add_row(
        f"{status.warehouse.flush_lag.count:,}",
        f"{status.warehouse.execution_s} s",
        f"{status.warehouse.billed_s} s",
    )

    letters = _table("Dead letters, last hour", "reason", "lines")
    for reason, count in status.dead_letters.items():
        letters.add_row(reason, f"{count:,}")
    if not status.dead_letters:
        letters.add_row("none", "0")

    levels = _table("Service levels", "promise", "limit", "seen", "")
    for level in status.service_levels:
        verdict = (
            "n/a" if level.is_met is None else _coloured("pass" if level.is_met else "FAIL", level.is_met)
        )
        levels.add_row(level.name, level.limit, level.seen, verdict)
    tables = [parts, flow, lag, *([streams] if status.connectors else []), work, letters, levels]
    return Group(*tables)


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for i, column in enumerate(columns):
        is_number = column in ("pid", "memory", "records", "p50", "p95", "p99", "lines", "partition", "lag")
        table.add_column(column, justify="right" if is_number and i else "left", header_style="dim")
    return table


def _coloured(text: str, is_good: bool | None) -> str:
    return text if is_good is None else f"[{'green' if is_good else 'red'}]{text}[/]"


def _ms(value: int | None) -> str:
    return "n/a" if value is None else f"{value} ms"


def main(argv: list[str]) -> int:
    """Show the status once, or again and again."""
    parser = argparse.ArgumentParser(
        prog="python -m glue.status",
        description="Parts and memory, lag, latency by append times, dead letters, service levels.",
        epilog="Exit code 1 when a service level fails.",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--watch", action="store_true", help="renew every two seconds until Ctrl-C")
    options = parser.parse_args(argv)
    settings = Settings.load()
    if options.watch:
        return _watch(settings, as_json=options.json)
    status = collect(settings)
    if options.json:
        sys.stdout.write(msgspec.json.encode(status).decode() + "\n")
    else:
        Console().print(render(status))
    return 0 if status.is_good else 1


def _watch(settings: Settings, *, as_json: bool) -> int:
    try:
        if as_json:
            while True:
                status = collect(settings, with_channels=False)
                sys.stdout.write(msgspec.json.encode(status).decode() + "\n")
                sys.stdout.flush()
                time.sleep(2)
        with Live(console=Console(), auto_refresh=False) as live:
            while True:
                try:
                    live.update(render(collect(settings, with_channels=False)), refresh=True)
                except TapelineError as error:
                    live.update(f"[red]{error}[/]", refresh=True)
                time.sleep(2)
    except KeyboardInterrupt:
        return 0


if __name__ == "__main__":
    run(main)
