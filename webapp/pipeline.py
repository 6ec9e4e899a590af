"""The pipeline page: parts, lag, latency, throughput, dead letters, service levels."""

import asyncio
import time
from datetime import UTC, datetime
from typing import Any

import reflex as rx

from glue.connectors import MISSING, Connector
from glue.core.dead_letters import DeadLetter
from glue.errors import TapelineError
from glue.intake import now_ms
from glue.io.topic_stats import Lag, Latency
from glue.overview import Status, collect
from glue.parts import ANSWERS, BROKEN, ENDED, NOT_HERE, RUNNING, Part
from webapp import state
from webapp.client import Rows, TimeLines
from webapp.frame import frame
from webapp.shared import Shared

REFRESH_S = 5.0
NEWEST_LETTERS = 12
LINE_SHOWN = 160
STEPS = {
    "api": "API sent → dashboard",
    "producer": "engine emitted → dashboard",
    "emit": "bar end → engine emitted",
    "end": "bar end → dashboard",
    "log": "Kafka appended → dashboard",
}


def _look() -> Status | str:
    """Return how the pipeline does, or why that cannot be told."""
    try:
        return collect(state.hub.settings, with_channels=False)
    except TapelineError as error:
        return str(error)


status = Shared(_look)


class Pipeline(rx.State):
    """The pipeline page of one tab; `at` is empty until the first look is over."""

    at: str = ""
    error: str = ""
    """Why the last look told nothing; what is shown is then of an earlier one."""
    parts: list[list[str]] = []
    levels: list[list[str]] = []
    lag: list[list[str]] = []
    reasons: list[list[str]] = []
    letters: list[list[str]] = []
    warehouse: list[list[str]] = []
    problems: list[list[str]] = []
    throughput: list[list[Any]] = []
    latency: list[list[Any]] = []
    steps: list[list[str]] = []

    _generation: int = 0

    @rx.event(background=True)
    async def follow(self) -> None:
        """Look every five seconds until the page is left, closed or paused; a newer one ends this one."""
        async with self:
            self._generation += 1
            mine = self._generation
            token = self.router.session.client_token
            self._show_history()
        while True:
            began = time.monotonic()
            seen = await status.get(REFRESH_S)
            async with self:
                live = await self.get_state(state.Live)
                is_here = self.router.url.path.rstrip("/").endswith("/pipeline")
                if self._generation != mine or not is_here or token not in state.open_sessions():
                    return
                if live.is_live or not self.at:
                    self._show(seen)
                    self._show_history()
            await asyncio.sleep(max(0.5, REFRESH_S - (time.monotonic() - began)))

    def _show_history(self) -> None:
        history = state.hub.history
        self.throughput, self.latency = history.throughput(now_ms()), history.latency(now_ms())

    def _show(self, seen: Status | str) -> None:
        hub = state.hub
        facts = hub.facts()
        self.problems = [[_moment(p.at_ms), p.text] for p in reversed(hub.problems)]
        if isinstance(seen, str):
            self.error = seen
            return
        self.error = ""
        self.at = _moment(seen.at_ms)
        self.parts = [_part(part) for part in seen.parts]
        if seen.engine.where:
            level = "good" if seen.engine.is_running else "bad"
            self.parts.append([seen.engine.name, seen.engine.state, "", seen.engine.where, level])
        self.parts += [_connector(connector) for connector in seen.connectors]
        levels = seen.service_levels + hub.service_levels()
        verdicts = {None: ["n/a", "none"], True: ["pass", "good"], False: ["FAIL", "bad"]}
        self.levels = [[lv.name, lv.limit, lv.seen, *verdicts[lv.is_met]] for lv in levels]
        self.lag = [_lag(row) for row in seen.lag + [row for c in seen.connectors for row in c.lag]]
        self.lag.append(["this dashboard", hub.settings.agg_output_topic, "all", f"{facts.backlog:,}"])
        self.steps = [_step(name, facts.latencies[step]) for step, name in STEPS.items()]
        self.reasons = [[reason, f"{count:,}"] for reason, count in sorted(hub.dead_letters().items())]
        self.letters = [_letter(letter) for letter in list(hub.letters)[: -NEWEST_LETTERS - 1 : -1]]
        work = seen.warehouse
        self.warehouse = [
            ["live flushes, last hour", f"{work.flush_lag.count:,}"],
            ["execution", f"{work.execution_s} s"],
            ["billed (estimate)", f"{work.billed_s} s"],
        ]


def _moment(ms: int) -> str:
    return f"{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%dT%H:%M:%SZ}"


def _part(part: Part) -> list[str]:
    memory = "" if part.memory_mb is None else f"{part.memory_mb} MiB"
    levels = dict.fromkeys((RUNNING, ANSWERS), "good") | dict.fromkeys(BROKEN, "bad")
    levels |= dict.fromkeys((NOT_HERE, ENDED), "none")
    return [part.name, part.state, memory, part.where, levels.get(part.state, "warn")]


def _connector(connector: Connector) -> list[str]:
    name = f"connector {connector.name}"
    if connector.state == MISSING:
        return [name, MISSING, "", "", "none"]
    running = sum(task == "RUNNING" for task in connector.tasks)
    words = f"{running} of {len(connector.tasks)} tasks run"
    return [name, words, "", connector.problem, "good" if connector.is_running else "bad"]


def _lag(row: Lag) -> list[str]:
    lag = "never read" if row.lag is None else f"{row.lag:,}"
    return [row.group or "(no group)", row.topic, str(row.partition), lag]


def _step(name: str, latency: Latency) -> list[str]:
    found = (latency.p50_ms, latency.p95_ms, latency.p99_ms)
    return [name, *("n/a" if ms is None else f"{ms:,} ms" for ms in found), f"{latency.count:,}"]


def _letter(letter: DeadLetter) -> list[str]:
    at = "" if letter.ingest_ts_ms is None else _moment(letter.ingest_ts_ms)
    late = "" if letter.lateness_ms is None else f"{letter.lateness_ms:,}"
    return [at, letter.reason, letter.symbol or "", late, letter.line[:LINE_SHOWN]]


def pipeline_page() -> rx.Component:
    """Return the page."""
    return frame(
        "Pipeline",
        rx.cond(
            Pipeline.error != "",
            rx.el.div(
                rx.el.strong("The pipeline cannot be looked at"),
                rx.el.span("What you see is what came before. It goes on by itself."),
                rx.el.code(Pipeline.error),
                class_name="notice kafka_down",
                role="status",
            ),
        ),
        rx.el.div(
            card("Service levels", table(Pipeline.levels, ("promise", "limit", "seen", "met"), coloured=3)),
            card("Parts", table(Pipeline.parts, ("part", "state", "memory", "where"), coloured=1)),
            lines(
                "Throughput",
                ["ticks", "bars"],
                "per second, 15 minutes; bars on the left",
                Pipeline.throughput,
                is_apart=True,
            ),
            lines("Bar end → Kafka", ["median", "p95"], "ms, 15 minutes", Pipeline.latency),
            card("Lag", table(Pipeline.lag, ("group", "topic", "partition", "records"))),
            rx.el.div(
                card(
                    "Latency, last minute", table(Pipeline.steps, ("from → to", "p50", "p95", "p99", "bars"))
                ),
                card("Warehouse, last hour", table(Pipeline.warehouse, ("work", "amount"))),
                card("Dead letters, last hour", table(Pipeline.reasons, ("reason", "lines"))),
                class_name="stack",
            ),
            card(
                "Newest dead letters",
                table(Pipeline.letters, ("time", "reason", "symbol", "late ms", "line")),
                "wide",
            ),
            card("Problems of the dashboard", table(Pipeline.problems, ("time", "what")), "wide"),
            class_name="cards",
        ),
    )


def lines(
    title: str, names: list[str], unit: str, points: rx.Var[list[list[Any]]], *, is_apart: bool = False
) -> rx.Component:
    """Return a panel with lines over time."""
    return rx.el.section(
        TimeLines.create(title=title, names=names, unit=unit, digits=1, is_apart=is_apart, points=points),
        class_name="panel",
        aria_label=title,
    )


def card(title: str, content: rx.Component, kind: str = "") -> rx.Component:
    """Return a titled panel."""
    return rx.el.section(rx.el.h2(title), content, class_name=f"panel {kind}", aria_label=title)


def table(rows: rx.Var[list[list[str]]], heads: tuple[str, ...], *, coloured: int = -1) -> rx.Component:
    """Return rows as a table; `coloured` is the column whose colour ends each row."""
    empty = rx.cond(Pipeline.at == "", "looking …", "none")
    return Rows.create(heads=list(heads), rows=rows, coloured=coloured, is_plain=True, empty=empty)
