"""How the pipeline does: its parts, lag, latencies, dead letters, and the service levels they are held to."""

import argparse
import sys
import time
from collections import Counter

import msgspec
import psutil
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table

from glue.cli import run
from glue.errors import TapelineError
from glue.intake import now_ms
from glue.io.topic_stats import (
    Lag,
    Latency,
    bar_latency,
    consumer_lag,
    dead_letters,
    publish_latency,
)
from glue.presence import running
from glue.settings import Settings
from glue.stack import Stack

WINDOW_S = 60
"""Latencies are taken over the records appended in the last so many seconds."""
DEAD_LETTERS_S = 3600
ENGINE_GRACE_S = 15


class Part(msgspec.Struct, frozen=True):
    """A process of the pipeline on this machine; memory is its resident set in MiB."""

    name: str
    state: str
    pid: int | None = None
    memory_mb: int | None = None
    where: str = ""


class ServiceLevel(msgspec.Struct, frozen=True):
    """A promise: `is_met` is None while there is nothing to judge by."""

    name: str
    limit: str
    seen: str
    is_met: bool | None


class Status(msgspec.Struct, frozen=True):
    """Everything glue.status shows; times in ms."""

    at_ms: int
    parts: list[Part]
    lag: list[Lag]
    publish_latency: Latency
    bar_latency: Latency
    dead_letters: dict[str, int]
    service_levels: list[ServiceLevel]

    @property
    def is_good(self) -> bool:
        """Whether no service level is broken."""
        return all(level.is_met is not False for level in self.service_levels)


def collect(settings: Settings) -> Status:
    """Look at the pipeline now; what does not answer is told among the service levels."""
    parts = _parts()
    levels = [_parts_level(parts)]
    publish, bars = Latency(0), Latency(0)
    lag: list[Lag] = []
    reasons: Counter[str] = Counter()
    try:
        since_ms = now_ms() - WINDOW_S * 1000
        publish = publish_latency(settings, since_ms)
        bars = bar_latency(settings, since_ms)
        reasons = dead_letters(settings, now_ms() - DEAD_LETTERS_S * 1000)
        lag = consumer_lag(settings, settings.agg_group, settings.kafka_topic_raw)
    except TapelineError as error:
        levels.append(ServiceLevel("broker and registry", "answer", str(error), False))
    else:
        levels += [
            _latency_level("publish p95 (bin closed -> ticks.raw)", publish, settings.sla_publish_ms),
            _latency_level("bar p95 (bar end -> ticks.agg.1s)", bars, settings.sla_bar_ms),
            _engine_level(publish, bars),
        ]
    return Status(
        at_ms=now_ms(),
        parts=parts,
        lag=lag,
        publish_latency=publish,
        bar_latency=bars,
        dead_letters=dict(sorted(reasons.items())),
        service_levels=levels,
    )


def _engine_level(publish: Latency, bars: Latency) -> ServiceLevel:
    """Bins that have come for some seconds must lead to bars, whatever the engine says of itself."""
    name, limit = "engine (bins lead to bars)", f"within {ENGINE_GRACE_S} s"
    if publish.oldest_ms is None or now_ms() - publish.oldest_ms < ENGINE_GRACE_S * 1000:
        return ServiceLevel(name, limit, "no bins", None)
    return ServiceLevel(name, limit, f"{bars.appended:,} bars in {WINDOW_S} s", bars.appended > 0)


def _latency_level(name: str, latency: Latency, limit_ms: int) -> ServiceLevel:
    if latency.p95_ms is None:
        return ServiceLevel(name, f"< {limit_ms} ms", "no live data", None)
    return ServiceLevel(name, f"< {limit_ms} ms", f"{latency.p95_ms} ms", latency.p95_ms < limit_ms)


def _parts_level(parts: list[Part]) -> ServiceLevel:
    dead = [part.name for part in parts if part.state not in ("running", "stopped")]
    seen = f"not running: {', '.join(dead)}" if dead else f"{len(parts)} run"
    return ServiceLevel("parts on this machine", "all run", seen, not dead if parts else None)


def _parts() -> list[Part]:
    parts = [Part(p.name, p.state, p.pid, p.memory_mb, p.where) for p in Stack().status()]
    for worker in running():
        memory_mb = psutil.Process(worker.pid).memory_info().rss >> 20
        parts.append(Part(worker.name, "running", worker.pid, memory_mb, worker.metrics_url))
    return parts


def render(status: Status) -> RenderableType:
    """Return the status as tables."""
    parts = _table("Parts", "part", "state", "pid", "memory", "where")
    for part in status.parts:
        memory = f"{part.memory_mb} MiB" if part.memory_mb is not None else ""
        parts.add_row(
            part.name, _coloured(part.state, part.state == "running"), str(part.pid or ""), memory, part.where
        )
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

    lag = _table("Lag of the engine", "topic", "partition", "records")
    for row in status.lag:
        lag.add_row(row.topic, str(row.partition), "never read" if row.lag is None else f"{row.lag:,}")

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
    return Group(parts, flow, lag, letters, levels)


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for i, column in enumerate(columns):
        is_number = column in ("pid", "memory", "records", "p50", "p95", "p99", "lines", "partition")
        table.add_column(column, justify="right" if is_number and i else "left", header_style="dim")
    return table


def _coloured(text: str, is_good: bool) -> str:
    return f"[{'green' if is_good else 'red'}]{text}[/]"


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
                sys.stdout.write(msgspec.json.encode(collect(settings)).decode() + "\n")
                sys.stdout.flush()
                time.sleep(2)
        with Live(console=Console(), auto_refresh=False) as live:
            while True:
                try:
                    live.update(render(collect(settings)), refresh=True)
                except TapelineError as error:
                    live.update(f"[red]{error}[/]", refresh=True)
                time.sleep(2)
    except KeyboardInterrupt:
        return 0


if __name__ == "__main__":
    run(main)
