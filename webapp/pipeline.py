"""The pipeline page: parts, lag, latency, throughput, dead letters, service levels."""

import asyncio
import time
from datetime import UTC, datetime
from typing import Any

import reflex as rx

from glue.core.dead_letters import DeadLetter
from glue.errors import TapelineError
from glue.intake import now_ms
from glue.io.connect import Connect
from glue.settings import Settings
from glue.status import Status, collect
from webapp import state
from webapp.client import TimeLines
from webapp.frame import frame
from webapp.shared import Shared

REFRESH_S = 5.0
CONNECT_TIMEOUT_MS = 2_000
NEWEST_LETTERS = 12
LINE_SHOWN = 160


def look(settings: Settings) -> tuple[Status, list[list[str]]]:
    """Ask the parts how they do; returns the status and the rows of the connectors."""
    return collect(settings), _connectors(settings)


def _connectors(settings: Settings) -> list[list[str]]:
    """Return each connector with its state; a worker that does not answer is not part of this estate."""
    quick = settings.model_copy(update={"rest_timeout_ms": CONNECT_TIMEOUT_MS})
    try:
        with Connect(quick) as worker:
            rows = []
            for name in worker.call("GET", "/connectors"):
                found = worker.state(name)
                tasks = found.states[1:] if found else []
                running = sum(task == "RUNNING" for task in tasks)
                is_good = found is not None and found.is_running
                words = f"{running} of {len(tasks)} tasks run" if found else "unknown"
                rows.append([f"connector {name}", words, "good" if is_good else "bad", "", ""])
            return rows
    except TapelineError:
        return []


status = Shared(lambda: look(state.hub.settings))


class Pipeline(rx.State):
    """The pipeline page of one tab; `at` is empty until the first look is over."""

    at: str = ""
    parts: list[list[str]] = []
    levels: list[list[str]] = []
    lag: list[list[str]] = []
    reasons: list[list[str]] = []
    letters: list[list[str]] = []
    warehouse: list[list[str]] = []
    problems: list[list[str]] = []
    throughput: list[list[Any]] = []
    latency: list[list[Any]] = []

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
            seen, connectors = await status.get(REFRESH_S)
            async with self:
                live = await self.get_state(state.Live)
                is_here = self.router.url.path.rstrip("/").endswith("/pipeline")
                if self._generation != mine or not is_here or token not in state.open_sessions():
                    return
                if live.is_live or not self.at:
                    self._show(seen, connectors)
                    self._show_history()
            await asyncio.sleep(max(0.5, REFRESH_S - (time.monotonic() - began)))

    def _show_history(self) -> None:
        history = state.hub.history
        self.throughput, self.latency = history.throughput(now_ms()), history.latency(now_ms())

    def _show(self, seen: Status, connectors: list[list[str]]) -> None:
        self.at = f"{datetime.fromtimestamp(seen.at_ms / 1000, UTC):%H:%M:%S} UTC"
        self.parts = [
            [
                part.name,
                part.state,
                "good" if part.state == "running" else "bad",
                f"{part.memory_mb} MiB" if part.memory_mb is not None else "",
                part.where,
            ]
            for part in seen.parts
        ]
        if seen.engine.where:
            level = "good" if seen.engine.is_running else "bad"
            self.parts.append([seen.engine.name, seen.engine.state, level, "", seen.engine.where])
        self.parts += connectors
        verdicts = {None: ["n/a", "none"], True: ["pass", "good"], False: ["FAIL", "bad"]}
        self.levels = [[lv.name, lv.limit, lv.seen, *verdicts[lv.is_met]] for lv in seen.service_levels]
        self.lag = [
            [row.topic, str(row.partition), "never read" if row.lag is None else f"{row.lag:,}"]
            for row in seen.lag
        ]
        hub = state.hub
        self.lag.append([f"{hub.settings.agg_output_topic} (dashboard)", "all", f"{hub.facts().backlog:,}"])
        counts = sorted(hub.dead_letters().items())
        self.reasons = [[reason, f"{count:,}"] for reason, count in counts] or [["none", "0"]]
        self.letters = [_letter(letter) for letter in list(hub.letters)[: -NEWEST_LETTERS - 1 : -1]]
        work = seen.warehouse
        self.warehouse = [
            ["live flushes, last hour", f"{work.flush_lag.count:,}"],
            ["execution", f"{work.execution_s} s"],
            ["billed (estimate)", f"{work.billed_s} s"],
        ]
        self.problems = [
            [f"{datetime.fromtimestamp(p.at_ms / 1000, UTC):%H:%M:%S}", p.text]
            for p in reversed(hub.problems)
        ]


def _letter(letter: DeadLetter) -> list[str]:
    at = (
        ""
        if letter.ingest_ts_ms is None
        else f"{datetime.fromtimestamp(letter.ingest_ts_ms / 1000, UTC):%H:%M:%S}"
    )
    late = "" if letter.lateness_ms is None else f"{letter.lateness_ms:,}"
    return [at, letter.reason, letter.symbol or "", late, letter.line[:LINE_SHOWN]]


def pipeline_page() -> rx.Component:
    """Return the page."""
    return frame(
        "Pipeline",
        rx.el.div(
            card("Service levels", table(Pipeline.levels, ("promise", "limit", "seen", ""), level_at=4)),
            card("Parts", table(Pipeline.parts, ("part", "state", "memory", "where"), level_at=2, spoken=1)),
            rx.el.section(
                TimeLines.create(
                    title="Throughput", names=["ticks", "bars"], unit="per second", points=Pipeline.throughput
                ),
                class_name="panel",
                aria_label="Throughput",
            ),
            rx.el.section(
                TimeLines.create(
                    title="Bar end → Kafka", names=["median", "p95"], unit="ms", points=Pipeline.latency
                ),
                class_name="panel",
                aria_label="Latency",
            ),
            card("Lag", table(Pipeline.lag, ("topic", "partition", "records"))),
            rx.el.div(
                card("Dead letters, last hour", table(Pipeline.reasons, ("reason", "lines"))),
                card("Warehouse", table(Pipeline.warehouse, ("", ""))),
                class_name="stack",
            ),
            card(
                "Newest dead letters",
                table(Pipeline.letters, ("UTC", "reason", "symbol", "late ms", "line")),
                "wide",
                empty=Pipeline.letters.length() == 0,
            ),
            card(
                "Problems of the dashboard",
                table(Pipeline.problems, ("UTC", "what")),
                "wide",
                empty=Pipeline.problems.length() == 0,
            ),
            class_name="cards",
        ),
    )


def card(
    title: str, content: rx.Component, kind: str = "", empty: rx.Var[bool] | bool = False
) -> rx.Component:
    """Return a titled panel."""
    return rx.el.section(
        rx.el.h2(title),
        rx.cond(empty, rx.el.p("none", class_name="empty"), content),
        class_name=f"panel {kind}",
        aria_label=title,
    )


def table(
    rows: rx.Var[list[list[str]]],
    heads: tuple[str, ...],
    level_at: int | None = None,
    spoken: int | None = None,
) -> rx.Component:
    """Return rows as a table.

    `level_at` is the column that holds the colour of column `spoken` (by default the one before) and is not
    shown itself.
    """
    width = len(heads) + (level_at is not None)
    coloured = None if level_at is None else level_at - 1 if spoken is None else spoken

    def cells(row: rx.Var[list[str]]) -> list[rx.Component]:
        return [
            rx.el.td(row[i], class_name="is " + row[level_at]) if i == coloured else rx.el.td(row[i])
            for i in range(width)
            if i != level_at
        ]

    return rx.el.div(
        rx.el.table(
            rx.el.thead(rx.el.tr(*[rx.el.th(head, scope="col") for head in heads])),
            rx.el.tbody(rx.foreach(rows, lambda row: rx.el.tr(*cells(row)))),
            class_name="plain",
        ),
        class_name="scroll",
        tab_index=0,
    )
