"""How the dashboard says that things are: one condition for the page, and a badge for each number."""

from typing import Literal, get_args

import msgspec

from glue.errors import TapelineError
from glue.io.kafka import MissingTopic
from glue.io.registry import RegistryAway
from glue.io.topic_stats import HISTORICAL_MS, Latency
from glue.levels import ServiceLevel, latency_level
from glue.settings import Settings

Level = Literal["good", "warn", "bad", "none"]
Fault = Literal["kafka_down", "registry_down", "no_topic"]
FAULTS: tuple[Fault, ...] = get_args(Fault)
Condition = Literal["starting", "waiting", "replay", "live", "closed", "stale", "no_bars"] | Fault
STALE_MS = 10_000
"""Without a new bar for so long, what is on the screen is old."""
WARN_SHARE = 0.8
BACKLOG_WARN, BACKLOG_BAD = 1_000, 10_000


class Badge(msgspec.Struct, frozen=True):
    """A number for people: its level is the colour, `hint` says what it is and what it is held to."""

    name: str
    value: str
    level: Level
    hint: str


class Facts(msgspec.Struct, frozen=True):
    """What a condition and the badges are made of, at one moment. Times in ms since 1970 UTC."""

    now_ms: int
    is_connected: bool
    fault: Fault | None
    """What is wrong where nothing can be read; `error` says it in words."""
    error: str
    is_current: bool
    """What was on the topic at the start has been read up to its end."""
    filled: float
    bar_count: int
    newest_end_ms: int | None
    """End of the newest bar of all symbols."""
    received_ms: int | None
    """When the newest bar came; None where all were there before this process."""
    backlog: int
    latencies: dict[str, Latency]
    dead_letters: int
    """In the last hour."""


def is_historical(facts: Facts) -> bool:
    """Tell whether the bars are of another time, as those of a replayed file."""
    if facts.newest_end_ms is None:
        return False
    return (facts.received_ms or facts.now_ms) - facts.newest_end_ms >= HISTORICAL_MS


def age_ms(facts: Facts) -> int | None:
    """Return the age of the newest bar: by its end, in a replay by when it came, if that is known."""
    if facts.newest_end_ms is None:
        return None
    if is_historical(facts):
        return None if facts.received_ms is None else facts.now_ms - facts.received_ms
    return max(0, facts.now_ms - facts.newest_end_ms)


def fault(error: TapelineError) -> Fault:
    """Return what of reading is wrong."""
    if isinstance(error, MissingTopic):
        return "no_topic"
    return "registry_down" if isinstance(error, RegistryAway) else "kafka_down"


def condition(facts: Facts, *, is_open: bool, symbol_end_ms: int | None = None) -> Condition:
    """Return what the page says: one word for the whole.

    `is_open` is about the market of what is shown. `symbol_end_ms`, the end of the newest bar of the one
    symbol that is shown, tells a closed market where others go on.
    """
    if not facts.is_connected:
        return facts.fault or "starting"
    if not facts.is_current:
        return "starting"
    if not facts.bar_count:
        return "waiting"
    age = age_ms(facts)
    is_moving = age is not None and age < STALE_MS
    if is_historical(facts):
        return "replay" if is_moving else "stale"
    if not is_open and (not is_moving or _is_behind(facts, symbol_end_ms)):
        return "closed"
    return "live" if is_moving else "stale"


def _is_behind(facts: Facts, end_ms: int | None) -> bool:
    return end_ms is not None and facts.now_ms - end_ms >= STALE_MS


def badges(facts: Facts, settings: Settings, *, is_open: bool = True) -> list[Badge]:
    """Return the badges of the page, coloured by their service levels; a closed market is not late."""
    end, log = facts.latencies["end"], facts.latencies["log"]
    limit = settings.sla_dashboard_ms
    age = age_ms(facts)
    fresh_limit = settings.sla_fresh_ms
    hint = f"bar end to here, 95th percentile of the last minute; limit {limit} ms"
    if end.p95_ms is None:
        latency = Badge("latency p95", "n/a", "none", hint)
    else:
        latency = Badge("latency p95", ms(end.p95_ms), against(end.p95_ms, limit), hint)
    return [
        latency,
        Badge(
            "log lag p95",
            "n/a" if log.p95_ms is None else ms(log.p95_ms),
            "none" if log.p95_ms is None else against(log.p95_ms, limit),
            "appended by the broker to read here, 95th percentile of the last minute",
        ),
        Badge(
            "newest bar",
            "n/a" if age is None else span(age),
            "none" if age is None or not is_open else against(age, fresh_limit),
            f"age of the newest bar of all symbols; limit {span(fresh_limit)}",
        ),
        Badge(
            "backlog",
            f"{facts.backlog:,}",
            "bad" if facts.backlog >= BACKLOG_BAD else "warn" if facts.backlog >= BACKLOG_WARN else "good",
            "bars on the topic that the dashboard has not read yet",
        ),
        Badge(
            "dead letters",
            f"{facts.dead_letters:,}",
            "warn" if facts.dead_letters else "good",
            "feed lines refused in the last hour",
        ),
    ]


def service_levels(facts: Facts, settings: Settings, *, is_open: bool) -> list[ServiceLevel]:
    """Hold the dashboard to its latency and to the age of what it shows; a closed market is not late."""
    name, limit = "newest bar on the dashboard", settings.sla_fresh_ms
    age = age_ms(facts)
    if age is None or not is_open:
        fresh = ServiceLevel(name, f"< {limit} ms old", "no bars" if age is None else "market closed", None)
    else:
        fresh = ServiceLevel(name, f"< {limit} ms old", span(age), age < limit)
    end = facts.latencies["end"]
    return [latency_level("dashboard p95 (bar end -> dashboard)", end, settings.sla_dashboard_ms), fresh]


def against(value: float, limit: float) -> Level:
    """Return the colour of a value against its limit: warn above four fifths of it, bad above it."""
    return "bad" if value > limit else "warn" if value > limit * WARN_SHARE else "good"


def ms(value: int) -> str:
    """Return a latency in ms, a long one as a span."""
    return f"{value} ms" if value < 10_000 else span(value)


def span(ms: int) -> str:
    """Return a time span as people read it; whole seconds from ten on."""
    if ms < 10_000:
        return f"{ms / 1000:.1f} s"
    seconds = ms // 1000
    if seconds < 120:
        return f"{seconds} s"
    minutes = seconds // 60
    if minutes < 120:
        return f"{minutes} min"
    return f"{minutes // 60} h" if minutes < 48 * 60 else f"{minutes // 1440} d"
