"""The service levels that the pipeline is held to, and whether what was seen meets them."""

from textwrap import shorten

import msgspec

from glue.connectors import MISSING, Connector
from glue.io.connect_letters import Unsent
from glue.io.topic_stats import Latency
from glue.parts import BROKEN, RUNNING, Part

WINDOW_S = 60
"""Latencies are taken over the records appended in the last so many seconds."""
ENGINE_GRACE_S = 15
REASON_CHARACTERS = 160
WAITING_S = 180
"""A record that a connector has not committed for so long is held up: workers commit once a minute."""


class ServiceLevel(msgspec.Struct, frozen=True):
    """A promise: `is_met` is None while there is nothing to judge by."""

    name: str
    limit: str
    seen: str
    is_met: bool | None


def engine_level(publish: Latency, bars: Latency, waits_ms: int) -> ServiceLevel:
    """Hold the engine to its bars, whatever it says of itself: one that is due must come within seconds.

    `waits_ms` is how long one has been due.
    """
    name, limit = "engine (bins lead to bars)", f"within {ENGINE_GRACE_S} s"
    if waits_ms > ENGINE_GRACE_S * 1000:
        return ServiceLevel(name, limit, f"a bar is due for {waits_ms // 1000} s", False)
    if not publish.appended:
        return ServiceLevel(name, limit, "no bins", None)
    seen = f"{bars.appended:,} bars in {WINDOW_S} s"
    return ServiceLevel(name, limit, seen, True if bars.appended else None)


def latency_level(name: str, latency: Latency, limit_ms: int) -> ServiceLevel:
    """Hold the 95th percentile of a step to a limit in ms."""
    if latency.p95_ms is None:
        return ServiceLevel(name, f"< {limit_ms} ms", "no live data", None)
    return ServiceLevel(name, f"< {limit_ms} ms", f"{latency.p95_ms} ms", latency.p95_ms < limit_ms)


def connectors_level(connectors: list[Connector]) -> ServiceLevel:
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


def refused_level(unsent: Unsent | None) -> ServiceLevel:
    """Hold the connectors to refuse nothing in an hour that is not sent again; None: there is no topic.

    A connector that refuses every record is said to run, and has no lag.
    """
    name, limit = "records refused by connectors in an hour", "0 not sent again"
    if unsent is None:
        return ServiceLevel(name, limit, "no topic for them", None)
    reason = shorten(unsent.reason, REASON_CHARACTERS, placeholder=" …")
    seen = f"{unsent.count:,}, the newest: {reason}" if unsent.count else "0"
    return ServiceLevel(name, limit, seen, not unsent.count)


def execution_level(execution_s: float, limit_s: int) -> ServiceLevel:
    """Hold the jobs to the seconds that the warehouse may work for them in an hour."""
    name, limit = "warehouse execution in an hour", f"< {limit_s} s"
    if not execution_s:
        return ServiceLevel(name, limit, "no work", None)
    return ServiceLevel(name, limit, f"{execution_s} s", execution_s < limit_s)


def parts_level(parts: list[Part]) -> ServiceLevel:
    """Every part that was started on this machine runs."""
    dead = [part.name for part in parts if part.state in BROKEN]
    run = sum(part.state == RUNNING for part in parts)
    seen = f"not running: {', '.join(dead)}" if dead else f"{run} run"
    return ServiceLevel("parts on this machine", "all run", seen, not dead if dead or run else None)
