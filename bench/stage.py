"""Where the Kafka rows are played: an embedded stack of their own, new topics a row, child processes."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any, Self

from bench.rounds import Say
from glue.errors import TapelineError, TransientError
from glue.io.topics import ensure_topics
from glue.settings import Settings
from glue.stack import Stack
from glue.stack.reporter import Reporter
from tests.processes import env_of, own_names

ROOT = Path(__file__).parents[1]
START_DEADLINE_S = 60.0
STOP_DEADLINE_S = 20.0
TAIL_LINES = 15


class Child:
    """A process of the bench; its output goes to a file."""

    def __init__(self, name: str, command: list[str], log: Path, env: dict[str, str]) -> None:
        self.name = name
        self._log = log
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                command,
                env=env,
                cwd=log.parent,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C reaches the bench alone, which stops its children
            )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """How it ended, None while it runs."""
        return self._process.poll()

    def lines(self) -> list[str]:
        """Return what it has written so far."""
        return self._log.read_text(errors="replace").splitlines()

    def events(self, name: str) -> list[dict[str, Any]]:
        """Return its log events of one name."""
        found = (line for line in self.lines() if f'"{name}"' in line and line.startswith("{"))
        return [event for event in map(json.loads, found) if event.get("event") == name]

    def check(self) -> None:
        """Raise if it ended with an error."""
        if self.exit_code:
            tail = "\n".join(self.lines()[-TAIL_LINES:])
            raise TapelineError(f"{self.name} ended with exit code {self.exit_code}:\n{tail}")

    def wait_for(self, text: str) -> str:
        """Return the first line of its output that has `text` in it."""
        deadline = time.monotonic() + START_DEADLINE_S
        while time.monotonic() < deadline:
            for line in self.lines():
                if text in line:
                    return line
            self.check()
            time.sleep(0.05)
        tail = "\n".join(self.lines()[-TAIL_LINES:])
        raise TapelineError(f"{self.name} did not write {text!r} in {START_DEADLINE_S:.0f} s:\n{tail}")

    def wait_to_end(self, deadline_s: float) -> None:
        """Wait until it has ended by itself, and raise if it did not or ended with an error."""
        try:
            self._process.wait(deadline_s)
        except subprocess.TimeoutExpired:
            raise TapelineError(f"{self.name} did not end in {deadline_s:.0f} s") from None
        self.check()

    def stop(self) -> None:
        """End it, politely first."""
        if self.exit_code is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(STOP_DEADLINE_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()


class StackNews(Reporter):
    """Passes on what the stack tells; a download of its jars happens at the first start only."""

    def __init__(self, say: Say) -> None:
        self._say = say

    def line(self, text: str) -> None:
        """Pass on one line."""
        self._say(text)

    @contextmanager
    def download(self, count: int, size: int) -> Iterator[Callable[[int], None]]:
        """Say that a download begins."""
        self._say(f"downloading {count} files, {size / 1e6:.0f} MB (only this once)")
        yield lambda received: None


class Scene:
    """A folder, commands that run for a while, and topics that nobody else uses."""

    def __init__(self, folder: Path, say: Say) -> None:
        self.folder = folder
        self.say = say
        self._numbers = count(1)

    def own_settings(self, prefix: str, **overrides: Any) -> Settings:
        """Return settings with names of topics and group that begin with `prefix`; the topics are there."""
        names: dict[str, Any] = own_names(prefix) | {
            "replay_metrics_port": 0,
            "agg_metrics_port": 0,
            "log_dir": self.folder / f"{prefix}.logs",
        }
        settings = Settings.load(**(names | overrides))
        try:
            ensure_topics(settings)
        except TransientError:
            raise
        except TapelineError as error:  # a busy broker can take longer than the commands wait
            self.say(f"once more: {error}")
            ensure_topics(settings)
        return settings

    @contextmanager
    def running(self, module: str, *args: str, settings: Settings | None = None) -> Iterator[Child]:
        """Run `python -m module` for as long as the block lasts."""
        command = [sys.executable, "-u", "-m", module, *args]
        with self.child(module, command, settings) as child:
            yield child

    @contextmanager
    def child(self, name: str, command: list[str], settings: Settings | None = None) -> Iterator[Child]:
        """Run a command with these settings in its environment for as long as the block lasts."""
        env = os.environ | {"PYTHONPATH": str(ROOT), "LOG_FORMAT": "json"}
        log = self.folder / f"{name.rpartition('.')[2]}-{next(self._numbers)}.log"
        child = Child(name, command, log, env | (env_of(settings) if settings else {}))
        try:
            yield child
        finally:
            child.stop()

    @contextmanager
    def feed(self, *options: str) -> Iterator[str]:
        """Serve ticks for as long as the block lasts and yield the URL."""
        with self.running("glue.mock_api", "--port", "0", *options) as server:
            yield server.wait_for("serving ").split()[-1]


class Stage(Scene):
    """A running broker and registry on free ports, in a folder that is deleted afterwards."""

    def __init__(self, folder: Path, say: Say) -> None:
        super().__init__(folder, say)
        settings = Settings.load(
            stack_kafka_port=0,
            stack_registry_port=0,
            stack_snowflake_port=0,
            stack_connect=False,
            stack_connect_port=0,
        )
        self._stack = Stack(settings, folder / ".tapeline", StackNews(say))
        with_connect = settings.model_copy(update={"stack_connect": True})
        self._with_connect = Stack(with_connect, folder / ".tapeline", StackNews(say))

    def __enter__(self) -> Self:
        self._stack.up()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stack.down(purge=True)

    def start_connect(self) -> None:
        """Start Kafka Connect too; it stops with the rest."""
        self._with_connect.up()

    def settings(self, **overrides: Any) -> Settings:
        """Return settings with topic and group names nobody else uses; the topics are there."""
        here = {name.lower(): value for name, value in self._stack.endpoints().items()}
        alone = {"kafka_properties": "", "ksqldb_url": ""}
        return self.own_settings(f"b{next(self._numbers)}", **(alone | here | overrides))


@contextmanager
def stage(say: Say) -> Iterator[Stage]:
    """Start a stack in a temporary folder; stop it and delete the folder in the end, whatever happens."""
    with tempfile.TemporaryDirectory(prefix="tapeline-bench-") as folder, Stage(Path(folder), say) as running:
        yield running
