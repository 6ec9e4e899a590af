"""Running the commands of Tapeline as a user does: real processes, real sockets, always stopped again."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from glue.core.bars import Bar
from glue.core.bins import TickBin
from glue.core.dead_letters import DeadLetter
from glue.io.kafka_read import read_to_end
from glue.io.registry import AvroReader, Registry
from glue.settings import Settings

ROOT = Path(__file__).parents[1]
SHARED_DATA = ROOT.parent / "shared" / "data"
WDC = SHARED_DATA / "WDC_tickbidask_20000.txt"
BTCUSDT = SHARED_DATA / "BTCUSDT_trades_20210108.csv"
ENV = {"PYTHONPATH": str(ROOT), "LOG_FORMAT": "json", "KSQLDB_URL": ""}
"""Of every command. A ksqlDB server that the tests are given is for the contract suite only."""
DEADLINE_S = 90.0


class Command:
    """One `python -m glue.…` process; its output is kept for failure messages."""

    def __init__(self, *args: str, cwd: Path, env: dict[str, str] | None = None) -> None:
        self.args = args
        self._process = subprocess.Popen(
            [sys.executable, "-u", *args],
            cwd=cwd,
            env={**os.environ, **ENV, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self._lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def output(self) -> str:
        """What it printed so far, both streams."""
        return "".join(self._lines)

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait(self, deadline_s: float = DEADLINE_S) -> int:
        """Return its exit code."""
        try:
            code = self._process.wait(deadline_s)
        except subprocess.TimeoutExpired:
            self.stop(signal.SIGKILL)
            raise AssertionError(
                f"{self.args} did not end in {deadline_s} s:\n{self.output[-3000:]}"
            ) from None
        self._reader.join(5)
        return code

    def wait_for(self, text: str, deadline_s: float = DEADLINE_S) -> str:
        """Wait until a line with `text` was printed and return it."""

        def found() -> str | None:
            return next((line for line in list(self._lines) if text in line), None)

        until(lambda: found() is not None or not self.is_running, f"{text!r} from {self.args}", deadline_s)
        time.sleep(0 if found() else 0.2)
        line = found()
        assert line is not None, f"{self.args} ended without printing {text!r}:\n{self.output[-3000:]}"
        return line

    def stop(self, sig: signal.Signals = signal.SIGTERM, deadline_s: float = DEADLINE_S) -> int:
        """Send a signal, wait, and return the exit code."""
        if self.is_running:
            self._process.send_signal(sig)
        return self.wait(deadline_s)

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as stdout:
            for line in stdout:
                self._lines.append(line.decode(errors="replace"))


class NeverStopped:
    """A stop signal that does not come."""

    def __bool__(self) -> bool:
        return False


def until(is_true: Callable[[], Any], what: str, deadline_s: float = DEADLINE_S) -> None:
    """Wait for something to become true; only a hang makes this fail."""
    deadline = time.monotonic() + deadline_s
    while not is_true():
        assert time.monotonic() < deadline, f"waited {deadline_s} s for {what}"
        time.sleep(0.05)


@contextmanager
def running(*args: str, cwd: Path, env: dict[str, str] | None = None) -> Iterator[Command]:
    """Run a command for as long as the block lasts; what fails in the block tells what it printed."""
    command = Command(*args, cwd=cwd, env=env)
    try:
        yield command
    except BaseException as error:
        state = "running" if command.is_running else "ended"
        error.add_note(f"--- {' '.join(args)}, {state}:\n{command.output[-4000:]}")
        raise
    finally:
        if command.is_running:
            command.stop()


def restart(stack: Any, name: str) -> None:
    """Kill a part of a `RunningStack`, and start it again once it is dead."""
    stack.stack.kill(name)
    until(lambda: {p.name: p.state for p in stack.stack.status()}[name] == "died", f"{name} to die")
    stack.stack.up()


@contextmanager
def feed(*options: str, cwd: Path, port: int = 0) -> Iterator[str]:
    """Serve ticks for as long as the block lasts and yield the URL."""
    with running("-m", "glue.mock_api", "--port", str(port), *options, cwd=cwd) as command:
        yield command.wait_for("serving ").split()[-1]


def run_offline(cwd: Path, url: str) -> None:
    """Feed to bins to bars, in files under cwd/logs."""
    worker = Command("-m", "glue.replay", "--url", url, "--sink", "jsonl", cwd=cwd)
    assert worker.wait() == 0, worker.output
    engine = Command("-m", "glue.aggregate", "--source", "jsonl", "--sink", "jsonl", cwd=cwd)
    assert engine.wait() == 0, engine.output


def own_names(prefix: str) -> dict[str, str]:
    """Return settings with names of topics and group that nobody else uses."""
    return {
        "kafka_topic_raw": f"{prefix}.ticks.raw",
        "kafka_topic_dlt": f"{prefix}.ticks.dlt",
        "kafka_topic_state": f"{prefix}.ticks.replay.state",
        "kafka_topic_connect_dlt": f"{prefix}.ticks.connect.dlt",
        "agg_output_topic": f"{prefix}.ticks.agg.1s",
        "agg_group": f"{prefix}-aggregate",
    }


def env_of(settings: Settings) -> dict[str, str]:
    """Return the environment that gives a command these settings."""
    env = {}
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if value is not None and not hasattr(value, "get_secret_value"):
            env[name.upper()] = str(value)
    return env


def bars_on_topic(settings: Settings) -> list[Bar]:
    """Return the committed bars, in topic order."""
    return [msgspec.convert(r, Bar) for r in _records(settings, settings.agg_output_topic, "bar_1s.avsc")]


def bins_on_topic(settings: Settings) -> list[TickBin]:
    """Return the committed bins, watermark records left out, by partition and in their order there."""
    records = _records(settings, settings.kafka_topic_raw, "tick_bin.avsc")
    return [msgspec.convert(r, TickBin) for r in records if r["trade_count"]]


def dead_letters_on_topic(settings: Settings) -> list[DeadLetter]:
    """Return the committed dead letters, in topic order."""
    records = _records(settings, settings.kafka_topic_dlt, "dead_letter.avsc")
    return [msgspec.convert(r, DeadLetter) for r in records]


def lines_of(path: Path, kind: type[Any]) -> list[Any]:
    """Return the records of a JSONL file."""
    return [msgspec.json.decode(line, type=kind) for line in path.read_bytes().splitlines()]


def _records(settings: Settings, topic: str, schema_file: str) -> list[dict[str, Any]]:
    with Registry(settings) as registry:
        reader = AvroReader(schema_file, registry)
        return [reader.decode(message.value()) for message in read_to_end(settings, topic)]
