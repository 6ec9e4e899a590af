"""A look at the whole pipeline: parts, lag, latencies, dead letters, warehouse seconds, service levels."""

from collections import Counter

import msgspec

from glue import usage
from glue.connectors import Connector, look
from glue.core.usage import billed_s
from glue.engine import Engine, ksqldb_engine, local_engine
from glue.errors import TapelineError
from glue.intake import now_ms
from glue.io.connect_letters import unsent_since
from glue.io.kafka import MissingTopic
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
from glue.levels import (
    ENGINE_GRACE_S,
    WINDOW_S,
    ServiceLevel,
    connectors_level,
    engine_level,
    execution_level,
    latency_level,
    parts_level,
    refused_level,
)
from glue.parts import ENGINE, NOT_HERE, Part, answering, jobs_elsewhere, parts_here
from glue.settings import Settings

DEAD_LETTERS_S = 3600
HOUR_MS = 3_600_000
AUTO_SUSPEND_S = 60.0
"""Of the warehouse in snowflake/00_setup.sql."""


class Warehouse(msgspec.Struct, frozen=True):
    """What the jobs on this machine had the warehouse do in the last hour; seconds, and lag in ms."""

    execution_s: float
    billed_s: float
    """An estimate: a minute at least each time it resumes."""
    flush_lag: Latency


class Status(msgspec.Struct, frozen=True):
    """What glue.status and the dashboard's pipeline page show; times in ms."""

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
    levels = [parts_level(parts)]
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
        lag = _lag(settings, engine)
        parts += jobs_elsewhere(settings, parts, active)
        since_ms = now_ms() - WINDOW_S * 1000
        publish = publish_latency(settings, since_ms)
        bars = bar_latency(settings, since_ms)
        waits_ms = _waits_ms(settings, bars, since_ms)
        reasons = dead_letters(settings, now_ms() - DEAD_LETTERS_S * 1000)
    except TapelineError as error:
        levels.append(ServiceLevel("broker and registry", "answer", str(error), False))
    else:
        levels += [
            latency_level("publish p95 (bin closed -> ticks.raw)", publish, settings.sla_publish_ms),
            latency_level("bar p95 (bar end -> ticks.agg.1s)", bars, settings.sla_bar_ms),
            engine_level(publish, bars, waits_ms),
        ]
    if has_broker:  # also without a registry, which may be why
        levels += _refused(settings)
    warehouse = _warehouse()
    connectors: list[Connector] = []
    if settings.connect_url:
        try:
            connectors = look(settings, with_channels=with_channels)
        except TapelineError as error:
            levels.append(ServiceLevel("connectors", "all run", str(error), False))
        else:
            has_connect = True
            levels.append(connectors_level(connectors))
    levels += [
        latency_level("flush p95 (window end -> facts)", warehouse.flush_lag, settings.sla_flush_ms),
        execution_level(warehouse.execution_s, settings.sla_warehouse_s),
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


def _lag(settings: Settings, engine: Engine) -> list[Lag]:
    """Return the lag of the engine, and that of the loaders where there are some."""
    lag = [row for group, topic in engine.reads for row in consumer_lag(settings, group, topic)]
    for group, topic in (
        (settings.snowflake_loader_group, settings.agg_output_topic),
        (settings.snowflake_raw_group, settings.kafka_topic_raw),  # up to an hour behind
    ):
        lag += [row for row in consumer_lag(settings, group, topic) if row.lag is not None]
    return lag


def _refused(settings: Settings) -> list[ServiceLevel]:
    """Look at ticks.connect.dlt; a broker that went away meanwhile is told by others."""
    try:
        return [refused_level(unsent_since(settings, now_ms() - HOUR_MS))]
    except MissingTopic:
        return [refused_level(None)]
    except TapelineError:
        return []


def _waits_ms(settings: Settings, bars: Latency, since_ms: int) -> int:
    """Return how long the first bar after the newest one has been due, 0 where none is.

    Only where no bar came lately are the bins asked: a market may be quiet.
    """
    if bars.newest_ms is not None and now_ms() - bars.newest_ms < ENGINE_GRACE_S * 1000:
        return 0
    at_ms = due_ms(settings, max(since_ms, (bars.newest_ms or 0) + 1))
    return 0 if at_ms is None else now_ms() - at_ms


def _warehouse() -> Warehouse:
    uses = usage.since(now_ms() - HOUR_MS)
    lags = (use.lag_ms for use in uses if use.lag_ms is not None)
    return Warehouse(
        execution_s=round(sum(use.execution_s for use in uses), 1),
        billed_s=round(billed_s(uses, AUTO_SUSPEND_S), 1),
        flush_lag=percentiles(lags),
    )
