"""Child processes that outlive the command that started them, known by pid and time of creation."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec
import psutil

from glue.errors import TapelineError

CREATE_TIME_TOLERANCE_S = 2.0
"""The clock that dates a process may be corrected between two commands; no pid comes round so soon."""
POLL_S = 0.05
KILL_TIMEOUT_S = 10.0
INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TZ")

_children: dict[int, subprocess.Popen[bytes]] = {}  # those of this very process, which it has to reap


class Process(msgspec.Struct, frozen=True):
    """A started process. Both fields together are never those of another one."""

    pid: int
    create_time_s: float


def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return what a part may see: a LOG_LEVEL or JAVA_TOOL_OPTIONS of the user's must not reach it."""
    return {name: os.environ[name] for name in INHERITED if name in os.environ} | dict(more or {})


def start(command: list[str], *, env: Mapping[str, str], home: Path, log: Path) -> Process:
    """Start a process in a session of its own, so that a terminal's Ctrl-C does not reach it.

    Its output is appended to `log`.
    """
    with log.open("ab") as output:
        try:
            child = subprocess.Popen(
                command,
                cwd=home,
                env=environment(env),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            raise TapelineError(f"cannot start {command[0]}: {error}") from None
    _children[child.pid] = child
    return Process(child.pid, psutil.Process(child.pid).create_time())


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Hold SIGINT and SIGTERM back until the block is over."""
    if threading.current_thread() is not threading.main_thread():  # only that one is interrupted
        yield
        return
    came: list[int] = []
    before = {
        signum: signal.signal(signum, lambda number, _: came.append(number))
        for signum in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler or signal.SIG_DFL)
        for number in came:
            signal.raise_signal(number)


def is_alive(process: Process) -> bool:
    """Tell whether this very process runs; one that ended but was not reaped does not."""
    return _find(process) is not None


def members(process: Process) -> list[psutil.Process]:
    """Return the process and all that it started and that still run, also when it is gone itself."""
    found = []
    for pid in psutil.pids():  # process_iter() remembers a pid's first owner, which cannot be signalled
        try:
            candidate = psutil.Process(pid)
            if os.getsid(pid) != process.pid or _has_ended(candidate):
                continue
            if pid == process.pid and _is_other(candidate, process):
                return []  # nothing of the old session is left, or its pid would not be free
            found.append(candidate)
        except (OSError, psutil.Error):
            continue
    return found


def memory_bytes(process: Process) -> int:
    """Return the resident memory of the process and its children."""
    total = 0
    for member in members(process):
        try:
            total += member.memory_info().rss
        except psutil.Error:
            continue
    return total


def listening(process: Process) -> set[tuple[str, int]]:
    """Return the (address, port) pairs that the process and its children accept TCP connections on."""
    found = set()
    for member in members(process):
        try:
            connections = member.net_connections(kind="tcp")
        except psutil.Error:
            continue
        found |= {(c.laddr.ip, c.laddr.port) for c in connections if c.status == psutil.CONN_LISTEN}
    return found


def send_signal(process: Process, signum: int) -> None:
    """Send a signal, if the process still runs."""
    found = _find(process)
    if found is not None:
        found.send_signal(signum)


def stop(processes: Iterable[Process], timeout_s: float) -> None:
    """End processes and all they started: SIGTERM, after `timeout_s` SIGKILL. Fine when they are gone.

    Raises:
        TapelineError: one of them does not even end by SIGKILL.
    """
    wanted = list(processes)
    for process in wanted:
        send_signal(process, signal.SIGTERM)
    _wait(lambda: not any(map(is_alive, wanted)), timeout_s)
    left = [member for process in wanted for member in members(process)]
    for member in left:
        try:
            member.kill()
        except psutil.NoSuchProcess:
            continue
    _wait(lambda: not any(is_alive(process) or members(process) for process in wanted), KILL_TIMEOUT_S)
    stuck = [str(member.pid) for process in wanted for member in members(process)]
    if stuck:
        raise TapelineError(f"process {', '.join(stuck)} does not end, not even by SIGKILL")


def _wait(is_done: Callable[[], bool], timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while not is_done() and time.monotonic() < deadline:
        time.sleep(POLL_S)


def _find(process: Process) -> psutil.Process | None:
    child = _children.get(process.pid)
    if child is not None and child.poll() is not None:
        del _children[process.pid]
    try:
        found = psutil.Process(process.pid)
        return None if _is_other(found, process) or _has_ended(found) else found
    except psutil.NoSuchProcess:
        return None


def _is_other(found: psutil.Process, process: Process) -> bool:
    """Tell whether the process that has the pid now is another one."""
    return bool(abs(found.create_time() - process.create_time_s) > CREATE_TIME_TOLERANCE_S)


def _has_ended(process: psutil.Process) -> bool:
    """Tell whether nothing but an entry in the process table is left.

    A killed process looks like that, and still holds its ports, while its threads end one by one.
    """
    return process.status() == psutil.STATUS_ZOMBIE and process.num_threads() <= 1
