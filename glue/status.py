"""How the pipeline does, as tables or JSON."""

import argparse
import sys
import time

import msgspec
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from glue.cli import run
from glue.errors import TapelineError
from glue.levels import WINDOW_S
from glue.overview import Status, collect
from glue.parts import ANSWERS, ENDED, NOT_HERE, RUNNING
from glue.settings import Settings


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
        levels.add_row(level.name, level.limit, escape(level.seen), verdict)
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
