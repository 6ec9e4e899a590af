"""The parts of a pipeline: those of this machine by their processes, others by what Kafka tells of them."""

from collections.abc import Callable
from contextlib import suppress

import msgspec
import psutil

from glue.errors import TapelineError
from glue.intake import now_ms
from glue.io.bar_progress import KafkaTopics
from glue.io.kafka_groups import own_groups
from glue.io.registry import Registry, subjects
from glue.io.state_topic import RECENT_MS, Checkpoint
from glue.presence import running
from glue.settings import Settings, shown
from glue.stack import Stack

RUNNING, ANSWERS, ENDED, NOT_HERE = "running", "answers", "feed ended", "not on this machine"
BROKEN = ("died", "unready")
ENGINE, WORKER = "aggregate", "replay"


class Part(msgspec.Struct, frozen=True):
    """A part of the pipeline.

    Of a process on this machine `pid` and its resident set in MiB are known; `where` is its address, or what
    one of another machine is known by.
    """

    name: str
    state: str
    pid: int | None = None
    memory_mb: int | None = None
    where: str = ""


def parts_here() -> list[Part]:
    """Return the embedded stack and the workers of this folder; what does not run is not here."""
    parts = [
        Part(p.name, NOT_HERE if p.state == "stopped" else p.state, p.pid, p.memory_mb, p.where)
        for p in Stack().status()
    ]
    for worker in running():
        with suppress(psutil.NoSuchProcess):  # it has just ended
            memory_mb = psutil.Process(worker.pid).memory_info().rss >> 20
            parts.append(Part(worker.name, RUNNING, worker.pid, memory_mb, worker.metrics_url))
    return parts


def answering(settings: Settings, parts: list[Part], *, broker: bool, connect: bool) -> list[Part]:
    """Return the parts in which those that are not here, but answer, say so.

    `broker` and `connect` tell whether these two did. The registry is asked; the warehouse is not, which
    would be a login.
    """
    asked: dict[str, tuple[str, Callable[[], bool]]] = {
        "kafka": (settings.kafka_brokers, lambda: broker),
        "registry": (shown(settings.schema_registry_url), lambda: _has_registry(settings)),
        "connect": (shown(settings.connect_url), lambda: connect),
    }
    found = []
    for part in parts:
        where, answers = asked.get(part.name, ("", lambda: False))
        is_elsewhere = part.state == NOT_HERE and answers()
        found.append(msgspec.structs.replace(part, state=ANSWERS, where=where) if is_elsewhere else part)
    return found


def jobs_elsewhere(settings: Settings, parts: list[Part], active: set[str]) -> list[Part]:
    """Return worker, engine and loaders as far as they are not among the parts of this machine.

    A worker is known by its checkpoints, the others by the members of their groups: `active` are the groups
    that have one.

    Raises:
        TapelineError: no broker answers, or a topic is not there.
    """
    here = {part.name for part in parts}
    found = []
    if not any(name.startswith(WORKER) for name in here):
        found = [worker(checkpoint, now_ms()) for checkpoint in KafkaTopics(settings).checkpoints()]
        found = found or [Part(WORKER, NOT_HERE)]
    groups = {"rollup": settings.snowflake_loader_group, "stage_raw": settings.snowflake_raw_group}
    if not settings.ksqldb_url:
        groups = {ENGINE: settings.agg_group} | groups
    return found + [job(name, group, active) for name, group in groups.items() if name not in here]


def worker(checkpoint: Checkpoint, at_ms: int) -> Part:
    """Return a worker by its newest checkpoint, whose age says whether it runs."""
    age_ms = at_ms - checkpoint.updated_ms
    state = (
        ENDED if checkpoint.is_ended else RUNNING if age_ms < RECENT_MS else f"silent for {age_ms // 1000} s"
    )
    return Part(f"{WORKER}{checkpoint.shard.suffix}", state, where=f"feed {checkpoint.feed_id}")


def job(name: str, group: str, active: set[str]) -> Part:
    """Return a job by its consumer group, or the shards of that: it runs where one has a member."""
    members = own_groups(group, active)
    return Part(name, RUNNING, where=f"group {', '.join(members)}") if members else Part(name, NOT_HERE)


def _has_registry(settings: Settings) -> bool:
    subject, schema_file = next(iter(subjects(settings).items()))
    try:
        with Registry(settings) as registry:
            registry.find(subject, schema_file)
    except TapelineError:
        return False
    return True
