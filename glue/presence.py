"""Which workers run here: a file each under .tapeline/run, so that glue.status finds them."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import psutil

from glue.files import write_whole
from glue.settings import STATE_DIR

RUN_DIR = STATE_DIR / "run"
CREATE_TIME_TOLERANCE_S = 2.0
"""The clock that dates a process may be corrected while it runs; no pid comes round so soon."""


class Presence(msgspec.Struct, frozen=True):
    """A running worker. `create_time` tells it from a later process with the same pid."""

    name: str
    pid: int
    create_time: float
    metrics_url: str


@contextmanager
def present(name: str, metrics_url: str) -> Iterator[None]:
    """Be listed as running while the context lasts."""
    pid = os.getpid()
    me = Presence(name, pid, psutil.Process(pid).create_time(), metrics_url)
    path = RUN_DIR / f"{name}-{pid}.json"
    RUN_DIR.mkdir(parents=True, exist_ok=True)
    write_whole(path, msgspec.json.encode(me))
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def running(run_dir: Path = RUN_DIR) -> list[Presence]:
    """Return the workers that are alive, and forget those that died without saying so."""
    found = []
    for path in sorted(run_dir.glob("*.json")):
        try:
            presence = msgspec.json.decode(path.read_bytes(), type=Presence)
        except FileNotFoundError:  # it has just ended
            continue
        try:
            is_alive = _is_dated(psutil.Process(presence.pid), presence.create_time)
        except psutil.NoSuchProcess:
            is_alive = False
        if is_alive:
            found.append(presence)
        else:
            path.unlink(missing_ok=True)
    return found


def _is_dated(process: psutil.Process, create_time: float) -> bool:
    return bool(abs(process.create_time() - create_time) < CREATE_TIME_TOLERANCE_S)
