"""The embedded stack: starts, watches and stops the parts of one state folder."""

import signal
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from glue.errors import TapelineError
from glue.io.topics import ensure_topics
from glue.settings import STATE_DIR, Settings
from glue.stack import ports, processes
from glue.stack.broker import Kafka
from glue.stack.connect import Connect
from glue.stack.health import TAIL_LINES, PartDied, PartStatus, is_ready, part_status
from glue.stack.jars import JarCache
from glue.stack.part import Part, Place, embedded
from glue.stack.registry import Registry
from glue.stack.reporter import Reporter
from glue.stack.snowflake import Snowflake
from glue.stack.state import Record, Running, StateDir

PARTS: tuple[type[Part], ...] = (Registry, Kafka, Snowflake, Connect)
"""In starting order: a part comes after those it talks to. They are stopped the other way round."""

POLL_S = 0.1
STILL_WAITING_S = 5.0
STOP_TIMEOUT_S = 20.0

PORT_ATTEMPTS = 3


class Stack:
    """The parts of one state folder. Another folder is another stack, with ports and data of its own."""

    def __init__(
        self,
        settings: Settings | None = None,
        state_dir: Path = STATE_DIR,
        reporter: Reporter | None = None,
    ) -> None:
        self._settings = settings or Settings.load()
        self._state = StateDir(state_dir)
        self._report = reporter or Reporter()
        self._jars = JarCache(self._settings, self._report)
        self._parts = {kind.name: kind(self._settings) for kind in PARTS}

    def up(self) -> list[PartStatus]:
        """Start what does not run, wait until all parts are ready and create missing topics.

        A part is started again when one that it uses has moved to another port.

        Safe to run twice. Interrupted or failed, it stops what it started itself.

        Raises:
            TapelineError: a part died or did not get ready; the text says why and shows its log.
        """
        with self._locked():
            record = self._state.load()
            started: list[Part] = []
            try:
                missing = self._not_running(record)
                self._jars.fetch(part.name for part in missing)
                self._start_these(missing, record, started)
                self._wait_until_ready(record, started)
                if not started:
                    self._report.line("already running")
                self._create_topics(record)
                self._state.write_endpoints(self._endpoints(record))
            except BaseException:  # Ctrl-C too
                if stopped := self._stop(record, started):
                    self._report.line(f"stopped {' and '.join(stopped)} again")
                raise
        return self.status()

    def down(self, purge: bool = False) -> list[str]:
        """Stop all parts and what they started, and return their names; fine when nothing runs.

        Data and ports are kept for the next `up`, unless `purge` is set.
        """
        if not self._state.path.exists():
            return []
        with self._locked():
            record = self._state.load()
            stopped = self._stop(record, reversed(self._parts.values()))
            if purge:
                self._state.purge(list(self._parts))
        return stopped

    def status(self) -> list[PartStatus]:
        """Return how each part is at this moment."""
        record = self._state.load()
        return [part_status(part, record.parts.get(part.name), self._state) for part in self._in_use(record)]

    def kill(self, name: str, signum: int = signal.SIGKILL) -> None:
        """Send a part a signal, as a crash would; the record keeps it, so `status` tells that it died."""
        running = self._state.load().parts.get(name)
        if running is None:
            raise TapelineError(f"{name} does not run")
        processes.send_signal(running.process, signum)

    def endpoints(self) -> dict[str, str]:
        """Return the settings by which clients find the parts that were started."""
        return self._endpoints(self._state.load())

    def settings(self) -> Settings:
        """Return the settings of a client of this stack."""
        return embedded(self._settings, self.endpoints())

    def listening(self) -> set[tuple[str, int]]:
        """Return the (address, port) pairs on which processes of the stack accept connections."""
        running = self._state.load().parts.values()
        return {pair for part in running for pair in processes.listening(part.process)}

    def log(self, name: str) -> Path:
        """Return the log file of a part.

        Raises:
            TapelineError: there is no such part, or it was never started.
        """
        if name not in self._parts:
            raise TapelineError(f"no part is named {name}; there are {', '.join(sorted(self._parts))}")
        log = self._state.log(name)
        if not log.exists():
            raise TapelineError(f"{name} has no log yet; start it with `python -m glue.stack up`")
        return log

    def tail(self, name: str, lines: int = TAIL_LINES) -> str:
        """Return the last lines of a part's log."""
        return self._state.log_tail(name, lines)

    def _in_use(self, record: Record) -> list[Part]:
        """Return the parts that the settings ask for, and those that run all the same."""
        return [p for p in self._parts.values() if p.is_wanted or p.name in record.parts]

    def _not_running(self, record: Record) -> list[Part]:
        missing = []
        for part in self._in_use(record):
            running = record.parts.get(part.name)
            if running and processes.is_alive(running.process):
                continue
            if running:
                self._report.line(f"{part.name} died since the last up; the end of its log:")
                self._report.line(self.tail(part.name))
            missing.append(part)
        return missing

    def _start_these(self, parts: list[Part], record: Record, started: list[Part]) -> list[Part]:
        """Start parts, and those that were told another place of what they use than it has by now."""
        found = []
        for part in self._in_use(record):
            running = record.parts.get(part.name)
            if part not in parts:
                if running is None or running.endpoints == self._used_by(part, record):
                    continue
                self._report.line(f"{part.name}: what it uses has moved, so it starts again")
            if part not in started:
                started.append(part)
            self._start(part, record)
            found.append(part)
        return found

    def _start(self, part: Part, record: Record) -> None:
        if left := record.parts.pop(part.name, None):
            processes.stop([left.process], STOP_TIMEOUT_S)  # what a dead part itself had started
        chosen = record.ports[part.name] = self._choose_ports(part, record)
        home = self._state.home(part.name)
        place = Place(
            home=home,
            temp=self._state.temp(part.name),
            ports=chosen,
            files=self._jars.fetch([part.name])[part.name],
            endpoints=self._used_by(part, record),
            keys=self._state.keys,
        )
        launch = part.launch(place)
        log = self._state.start_log(part.name)
        with processes.uninterrupted():  # else a process might be left of which no record tells
            process = processes.start(launch.command, env=launch.env, home=home, log=log)
            record.parts[part.name] = Running(process, chosen, dict(place.endpoints))
            self._state.save(record)
        self._report.line(f"{part.name}: starting on port {next(iter(chosen.values()))}, pid {process.pid}")

    def _choose_ports(self, part: Part, record: Record) -> dict[str, int]:
        """Prefer the ports of last time, so that clients survive a restart, unless a setting names one."""
        is_set = f"stack_{part.name}_port" in self._settings.model_fields_set
        promised = {p for name, others in record.ports.items() if name != part.name for p in others.values()}
        chosen: dict[str, int] = {}
        for purpose, usual in part.wanted_ports().items():
            last = record.ports.get(part.name, {}).get(purpose, 0)
            wanted = (usual, last) if is_set else (last, usual)
            chosen[purpose] = port = ports.choose(wanted, promised | set(chosen.values()))
            if usual and port not in wanted:
                self._report.line(f"{part.name}: port {usual} is taken, using {port} ({purpose})")
        return chosen

    def _wait_until_ready(self, record: Record, started: list[Part]) -> None:
        began = time.monotonic()
        deadline = began + self._settings.stack_start_timeout_ms / 1000
        next_line = began + STILL_WAITING_S
        pending = self._in_use(record)
        attempts = dict.fromkeys(self._parts, 1)
        while pending:
            for part in list(pending):
                try:
                    ready = is_ready(part, record.parts[part.name], self._state)
                except PartDied:
                    # Another program may have taken a port between the choice and the start.
                    all_free = all(map(ports.is_free, record.parts[part.name].ports.values()))
                    attempts[part.name] += 1
                    if all_free or attempts[part.name] > PORT_ATTEMPTS or part not in started:
                        raise
                    again = self._start_these([part], record, started)
                    pending += [other for other in again if other not in pending]
                    continue
                if ready:
                    pending.remove(part)
                    if part in started:
                        self._report.line(f"{part.name}: ready after {time.monotonic() - began:.1f} s")
            now = time.monotonic()
            if pending and now > deadline:
                raise self._not_ready(pending[0], now - began)
            if pending and now > next_line:
                next_line += STILL_WAITING_S
                names = " and ".join(part.name for part in pending)
                self._report.line(f"waiting for {names}, {now - began:.0f} s so far")
            time.sleep(POLL_S if pending else 0)

    def _not_ready(self, part: Part, waited_s: float) -> TapelineError:
        return TapelineError(
            f"{part.name} is not ready after {waited_s:.0f} s (STACK_START_TIMEOUT_MS); if it hangs, "
            f"`python -m glue.stack down` ends it; the end of its log:\n{self.tail(part.name)}"
        )

    def _create_topics(self, record: Record) -> None:
        outcome = ensure_topics(embedded(self._settings, self._endpoints(record)))
        created = [name for name, result in outcome if result == "created"]
        if created:
            self._report.line(f"topics created: {', '.join(created)}")
        for name, result in outcome:
            if result not in ("created", "exists"):
                self._report.line(f"topic {name} differs from the settings: {result}")

    def _stop(self, record: Record, parts: Iterable[Part]) -> list[str]:
        stopped = []
        for part in parts:
            if running := record.parts.get(part.name):
                processes.stop([running.process], STOP_TIMEOUT_S)
                del record.parts[part.name]
                self._state.save(record)
                stopped.append(part.name)
        if not record.parts:
            self._state.forget_endpoints()
            self._state.remove_temp()
        return stopped

    def _endpoints(self, record: Record) -> dict[str, str]:
        found: dict[str, str] = {}
        for name, running in record.parts.items():
            found |= self._parts[name].endpoints(running.ports)
        return found

    def _used_by(self, part: Part, record: Record) -> dict[str, str]:
        """Return the endpoints that a part uses."""
        found = self._endpoints(record)
        return {name: found[name] for name in part.uses if name in found}

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with self._state.lock(
            lambda: self._report.line("waiting for another glue.stack command in this folder")
        ):
            yield
