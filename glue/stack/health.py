"""How an embedded part is: running, unready, died or stopped."""

import time
from typing import Literal

import msgspec

from glue.errors import TapelineError
from glue.stack import processes
from glue.stack.part import LOOPBACK, Part
from glue.stack.state import Running, StateDir

TAIL_LINES = 20


class PartStatus(msgspec.Struct, frozen=True):
    """How a part is. Memory is the resident set in MiB; None where a part is not alive."""

    name: str
    state: Literal["running", "unready", "died", "stopped"]
    """Unready: alive, but it does not answer."""
    pid: int | None
    where: str
    ports: dict[str, int]
    memory_mb: int | None
    uptime_s: int | None
    log: str


class PartDied(TapelineError):
    """A part ended by itself; the text has the end of its log."""

    def __init__(self, part: Part, state: StateDir) -> None:
        super().__init__(f"{part.name} died; the end of its log:\n{state.log_tail(part.name, TAIL_LINES)}")
        self.part = part


def is_ready(part: Part, running: Running, state: StateDir) -> bool:
    """Ask the part itself whether it serves: somebody else may answer on its port.

    Raises:
        PartDied: it does not run any more.
    """
    if not processes.is_alive(running.process):
        raise PartDied(part, state)
    expected = {(LOOPBACK, port) for port in running.ports.values()}
    return expected <= processes.listening(running.process) and part.is_ready(running.ports)


def part_status(part: Part, running: Running | None, state: StateDir) -> PartStatus:
    """Return how a part is at this moment; `running` is its record, None when it was not started."""
    log = str(state.log(part.name))
    if running is None:
        return PartStatus(part.name, "stopped", None, "", {}, None, None, log)
    where = f"{LOOPBACK}:{next(iter(running.ports.values()))}"
    process = running.process
    try:
        now: Literal["running", "unready"] = "running" if is_ready(part, running, state) else "unready"
    except PartDied:
        return PartStatus(part.name, "died", None, where, running.ports, None, None, log)
    memory_mb = processes.memory_bytes(process) >> 20
    uptime_s = max(0, int(time.time() - process.create_time_s))
    return PartStatus(part.name, now, process.pid, where, running.ports, memory_mb, uptime_s, log)
