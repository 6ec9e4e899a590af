"""A pipeline of real processes that is disturbed while data flows, and a supervisor that starts it again."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from confluent_kafka import KafkaException, TopicPartition

from glue.core.partition import Shard
from glue.io.kafka_read import reader
from glue.settings import Settings
from tests.processes import Command, bars_on_topic, env_of, until

DEADLINE_S = 120.0
ENDED = '"feed ended"'


class Part:
    """A worker or an engine under a supervisor: started again whenever it ends before its time."""

    def __init__(self, name: str, args: list[str], cwd: Path, env: dict[str, str]) -> None:
        self.name = name
        self.is_done = False
        """Whether it came to the end of the feed."""
        self.surprises: list[str] = []
        """The output of each run that ended although nobody ended it."""
        self._new = lambda: Command("-m", *args, cwd=cwd, env=env)
        self._commands: list[Command] = []
        self.start()

    @property
    def command(self) -> Command:
        """The newest run."""
        return self._commands[-1]

    @property
    def output(self) -> str:
        """What all runs so far have printed."""
        return "\n".join(command.output for command in self._commands)

    def start(self) -> None:
        """Start it, whatever became of the run before."""
        self._commands.append(self._new())

    def hit(self, sig: signal.Signals) -> None:
        """End it with a signal and start it again."""
        self.end(sig)
        self._start_again()

    def end(self, sig: signal.Signals) -> None:
        """End it with a signal."""
        code, output = self.command.stop(sig, DEADLINE_S), self.command.output
        is_as_told = code == (0 if sig == signal.SIGTERM and output else -sig)  # silent: no handler yet
        assert is_as_told or self._has_ended, f"exit code {code}: {output[-3000:]}"

    def watch(self) -> None:
        """Do what a supervisor does: start what has ended, unless the feed is over."""
        if self.command.is_running or self.is_done:
            return
        self.command.wait()
        if not self._has_ended:
            self.surprises.append(self.command.output)
        self._start_again()

    def close(self) -> None:
        """End all runs, whatever state they are in."""
        for command in self._commands:
            if command.is_running:
                command.stop(signal.SIGKILL)

    @property
    def _has_ended(self) -> bool:
        return ENDED in self.command.output

    def _start_again(self) -> None:
        self.is_done = self._has_ended
        if not self.is_done:
            self.start()


class Pipeline:
    """One worker or a worker a shard, some engines, and the topics between them."""

    def __init__(self, settings: Settings, url: str, cwd: Path, shards: int = 1) -> None:
        self.settings = settings
        self.cwd = cwd
        self._env = env_of(settings)
        self._reader = reader(settings)
        self.shards = [Shard(i, shards) for i in range(shards)]
        self.workers = [
            Part("replay", ["glue.replay", "--url", url, "--shard", str(shard)], cwd, self._env)
            for shard in self.shards
        ]
        self.engines: dict[str, Part] = {}
        self._removed: list[Part] = []
        self.add_engine("0")

    @property
    def parts(self) -> list[Part]:
        return [*self.workers, *self.engines.values()]

    @property
    def worker(self) -> Part:
        """The only worker, or that of the first shard."""
        return self.workers[0]

    @property
    def is_fed(self) -> bool:
        """Whether every worker came to the end of the feed."""
        return all(worker.is_done for worker in self.workers)

    def add_engine(self, instance: str) -> Part:
        """Start one more engine next to the others."""
        engine = Part(instance, ["glue.aggregate", "--instance", instance], self.cwd, self._env)
        self.engines[instance] = engine
        return engine

    def remove_engine(self, instance: str, sig: signal.Signals) -> None:
        """End an engine for good."""
        engine = self.engines.pop(instance)
        self._removed.append(engine)
        engine.end(sig)

    def wait_until(self, is_true: Callable[[], object], what: str, deadline_s: float = DEADLINE_S) -> None:
        """Wait with the supervisor at work."""

        def watched() -> object:
            for part in self.parts:
                part.watch()
            return is_true()

        until(watched, what, deadline_s)

    def wait_for_data(self, records: int = 200) -> None:
        """Wait until so much more is on ticks.raw: the pipeline has got over what was done to it."""
        ends: list[int] = []

        def is_there() -> bool:
            with suppress(KafkaException):  # the broker may be away
                ends.append(self._raw_end())
            return self.is_fed or (bool(ends) and ends[-1] >= ends[0] + records)

        self.wait_until(is_there, f"{records} more records")
        assert not self.is_fed, "the feed is too short for so many faults"

    def go_on(self, seconds: float) -> None:
        """Let it run, so that the next fault strikes at a moment of its own."""
        end = time.monotonic() + seconds
        self.wait_until(lambda: time.monotonic() >= end, f"{seconds} s")

    def finish(self, bar_count: int) -> None:
        """Wait for the end of the feed and for all its bars, then stop the engines as a user does."""
        self.wait_until(lambda: self.is_fed, "the end of the feed")
        self.wait_until(lambda: len(bars_on_topic(self.settings)) >= bar_count, f"{bar_count} bars")
        for engine in self.engines.values():
            assert engine.command.stop(signal.SIGTERM, DEADLINE_S) == 0, engine.command.output[-3000:]
        assert "Traceback" not in self.told(10**9)

    def surprises(self) -> list[str]:
        """Return the ends of the output of all runs that ended by themselves."""
        parts = [*self.parts, *self._removed]
        return [f"{part.name}: {output[-600:]}" for part in parts for output in part.surprises]

    def close(self) -> None:
        self._reader.close()
        for part in [*self.parts, *self._removed]:
            part.close()

    def _raw_end(self) -> int:
        """Return the sum of the end offsets of ticks.raw."""
        topic = self.settings.kafka_topic_raw
        partitions = [TopicPartition(topic, p) for p in range(self.settings.kafka_partitions)]
        return sum(self._reader.get_watermark_offsets(partition, 1)[1] for partition in partitions)

    def told(self, length: int = 3000) -> str:
        """Return the ends of what the parts have printed, all runs of each."""
        return "\n".join(f"--- {part.name}, \n{part.output[-length:]}" for part in self.parts)


@contextmanager
def frozen(command: Command) -> Iterator[None]:
    """Keep a process from running for as long as the block lasts."""
    os.kill(command.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(command.pid, signal.SIGCONT)


@contextmanager
def pipeline(settings: Settings, url: str, cwd: Path, shards: int = 1) -> Iterator[Pipeline]:
    """Run workers and an engine for as long as the block lasts."""
    running = Pipeline(settings, url, cwd, shards)
    try:
        yield running
    except Exception as exception:
        exception.add_note(running.told())
        raise
    finally:
        running.close()
