"""A new user's first minutes: a fresh clone, `make demo`, then a file, with nothing left behind."""

import os
import pty
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.processes import ROOT, WDC

pytestmark = [pytest.mark.stack, pytest.mark.timeout(2400)]
DEADLINE_S = 900.0


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Copy what a clone of the working tree would have into an empty folder, as a repository of its own."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("needs git and a checkout to clone")
    target = tmp_path_factory.mktemp("clone") / "v=1" / "tapeline"  # to DuckDB `v=1` is a partition
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, capture_output=True, check=True
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).exists():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "clone"]):
        subprocess.run(["git", "-c", "user.name=t", "-c", "user.email=t@t", *command], cwd=target, check=True)
    yield target
    for process in processes_of(target):
        process.kill()


def make(clone: Path, *arguments: str, **env: str) -> tuple[int, str]:
    """Run make in a terminal of 80 columns, as a user does; return exit code and screen text."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(clone)
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("KAFKA", "REPLAY", "STACK"))}
        os.execvpe(
            "make", ["make", *arguments], inherited | {"TERM": "xterm", "COLUMNS": "80", "LINES": "24", **env}
        )
    output = b""
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        try:
            data = os.read(terminal, 65536)
        except OSError:  # the terminal closes when the last process has left it
            break
        output += data
        if not data:
            break
    else:
        os.kill(pid, 9)
    os.close(terminal)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status), re.sub(
        r"\x1b\[[0-9;?]*[A-Za-z]", "", output.decode(errors="replace")
    )


def processes_of(folder: Path) -> list[psutil.Process]:
    """Return the processes that run in a folder or below it."""
    found = []
    for process in psutil.process_iter():
        try:
            if Path(process.cwd()).is_relative_to(folder) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.Error, OSError):  # it has just ended, or is another user's
            continue
    return found


def assert_nothing_is_left(clone: Path) -> None:
    assert processes_of(clone) == []
    status = subprocess.run(["git", "status", "--porcelain"], cwd=clone, capture_output=True, check=True)
    assert status.stdout == b""
    assert not (clone / ".tapeline" / "stack.env").exists()
    assert list((clone / ".tapeline" / "run").glob("*")) == []


def test_the_demo_shows_bars_ends_by_itself_and_leaves_nothing(clone: Path) -> None:
    code, screen = make(clone, "demo", "DEMO_SECONDS=30")
    assert code == 0, screen[-3000:]
    assert "building the dashboard" in screen
    assert re.search(r"==> dashboard http://127\.0\.0\.1:\d+/", screen)
    assert "newest bar of each symbol" in screen
    assert re.search(r"NVDA +\d\d:\d\d:\d\d +\d+\.\d\d", screen)
    assert re.search(r"[1-9][\d,]* ticks in [1-9][\d,]* bars \| bar end -> Kafka p50 \d+ ms", screen)
    assert re.search(r"NVDA .* \d+ +\d+ ms", screen)
    assert "dead letters: none" in screen
    assert "newest rows of CORE.FACT_TICKS_60S" in screen
    assert "newest rows of CORE.FACT_TICKS_1S" in screen
    assert re.search(r"NVDA +\d\d:\d\d +\d+\.\d\d", screen)
    assert re.search(r"rows: [1-9]\d* in FACT_TICKS_60S, [1-9]\d* in FACT_TICKS_1S, [1-9]", screen)
    assert "Traceback" not in screen
    assert_nothing_is_left(clone)


@pytest.mark.skipif(not WDC.exists(), reason="the recorded ticks of ../shared/data are not here")
def test_the_same_file_can_be_replayed_twice_in_a_row(clone: Path) -> None:
    for _ in range(2):
        code, screen = make(
            clone, "demo", f"TICKS={WDC}", "FORMAT=kibot", "SPEED=2000", STACK_CONNECT="false"
        )
        assert code == 0, screen[-3000:]
        assert "20,000 ticks in 5,049 bars" in screen
        assert "latency n/a (historical feed)" in screen
        assert re.search(r"WDC +\d\d:\d\d +\d+\.\d\d", screen)
        assert_nothing_is_left(clone)


def test_a_missing_file_is_named_without_a_stack_trace(clone: Path) -> None:
    code, screen = make(clone, "demo", "TICKS=nowhere.txt")
    assert code != 0
    assert "TICKS=nowhere.txt: there is no such file" in screen
    assert "Traceback" not in screen
