"""Broker and registry are killed, stopped and frozen under a running pipeline, which goes on exactly."""

import random
import signal
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from glue.io.registry import Registry
from tests.conftest import RunningStack
from tests.faults.conftest import EVERY_PORT, Run
from tests.processes import bars_on_topic, dead_letters_on_topic, env_of, running, until
from tests.scripted_feed import Exchange, scripted_feed

pytestmark = [pytest.mark.stack, pytest.mark.timeout(1800)]
MANY = pytest.param(20, marks=pytest.mark.full)
SLOWLY = 0.5
"""A restart of the broker takes ten seconds and more, on a busy machine half a minute; the feed goes on."""
SUBJECTS = {"kafka_topic_raw": "tick_bin.avsc", "agg_output_topic": "bar_1s.avsc"}
HELLO = b'{"type":"hello","feed_id":"quiet","mode":"historical","resume":"since"}\n'


def end_part(stack: RunningStack, name: str, sig: signal.Signals) -> None:
    """End the broker or the registry, and wait until it is gone."""
    stack.stack.kill(name, sig)
    until(lambda: {p.state for p in stack.stack.status() if p.name == name} == {"died"}, f"the end of {name}")


@pytest.mark.parametrize("count", [2, MANY])
def test_a_broker_that_is_killed_or_stopped_and_started_again_changes_nothing(
    count: int, stack: RunningStack, disturbed_run: Callable[..., AbstractContextManager[Run]]
) -> None:
    rng = random.Random(f"broker {count}")
    with disturbed_run(faults=count, speed=SLOWLY) as run:
        for _ in range(count):
            run.pipeline.wait_for_data()
            run.pipeline.go_on(rng.uniform(0, 1.5))
            end_part(stack, "kafka", rng.choice([signal.SIGKILL, signal.SIGTERM]))
            try:
                run.pipeline.go_on(rng.uniform(0, 2))
            finally:
                stack.stack.up()
        run.assert_undisturbed()
        assert run.pipeline.surprises() == []


@pytest.mark.parametrize("count", [3, MANY])
def test_a_broker_that_is_frozen_for_a_while_changes_nothing(
    count: int, stack: RunningStack, disturbed_run: Callable[..., AbstractContextManager[Run]]
) -> None:
    rng = random.Random(f"frozen broker {count}")
    with disturbed_run(faults=count, speed=SLOWLY) as run:
        for _ in range(count):
            run.pipeline.wait_for_data()
            run.pipeline.go_on(rng.uniform(0, 1.5))
            stack.stack.kill("kafka", signal.SIGSTOP)
            time.sleep(rng.uniform(0.5, 4))
            stack.stack.kill("kafka", signal.SIGCONT)
        run.assert_undisturbed()
        assert run.pipeline.surprises() == []


@pytest.mark.parametrize("count", [2, MANY])
def test_a_registry_that_is_killed_and_started_again_keeps_its_schemas_and_changes_nothing(
    count: int, stack: RunningStack, disturbed_run: Callable[..., AbstractContextManager[Run]]
) -> None:
    rng = random.Random(f"registry {count}")
    with disturbed_run(faults=count, speed=SLOWLY) as run:
        ids = schema_ids(run)
        for _ in range(count):
            run.pipeline.wait_for_data()
            end_part(stack, "registry", rng.choice([signal.SIGKILL, signal.SIGTERM]))
            try:
                run.pipeline.wait_for_data()  # who has the schemas does not need it
                assert run.pipeline.surprises() == []
            finally:
                stack.stack.up()
            engine = run.pipeline.engines["0"]
            engine.hit(signal.SIGKILL)  # the next one reads what was written before
            run.pipeline.wait_until(lambda e=engine: '"assigned"' in e.command.output, "the next engine")
        assert schema_ids(run) == ids
        run.assert_undisturbed()


@pytest.mark.full
def test_a_worker_and_an_engine_that_start_without_a_registry_come_up_with_it(
    stack: RunningStack, disturbed_run: Callable[..., AbstractContextManager[Run]]
) -> None:
    with disturbed_run(faults=1) as run:
        run.pipeline.wait_for_data()
        end_part(stack, "registry", signal.SIGKILL)
        try:
            for part in run.pipeline.parts:
                part.hit(signal.SIGKILL)
            run.pipeline.wait_until(lambda: all(p.surprises for p in run.pipeline.parts), "both to give up")
        finally:
            stack.stack.up()
        run.assert_undisturbed()
        assert all("SCHEMA_REGISTRY_URL" in output for output in run.pipeline.surprises())


def test_an_engine_waits_for_a_registry_and_stops_meanwhile_when_told_to(
    stack: RunningStack, tmp_path: Path
) -> None:
    settings = stack.settings(**EVERY_PORT)
    env = env_of(settings)
    is_away = threading.Event()

    def answer(exchange: Exchange) -> None:
        exchange.begin()
        exchange.send(HELLO + b"no tick\n")  # nothing for ticks.raw yet
        while not is_away.wait(0.05):
            exchange.send(b"\n")
        exchange.send(b'{"symbol":"A","px":1.0,"sz":1,"event_ts":1e9,"seq":0}\n{"type":"end"}\n')

    with (
        scripted_feed(answer) as source,
        running("-m", "glue.aggregate", cwd=tmp_path, env=env) as engine,
        running("-m", "glue.replay", "--url", source.url, cwd=tmp_path, env=env) as worker,
    ):
        try:
            engine.wait_for('"assigned"')
            until(lambda: dead_letters_on_topic(settings), "a worker that has its schemas")
            end_part(stack, "registry", signal.SIGKILL)
            is_away.set()
            assert worker.wait() == 0, worker.output
            engine.wait_for("waiting for the schema registry")
            assert engine.stop() == 0, engine.output
            assert "Traceback" not in engine.output
        finally:
            is_away.set()
            stack.stack.up()
        with running("-m", "glue.aggregate", cwd=tmp_path, env=env):
            until(lambda: [b.bar_id for b in bars_on_topic(settings)] == ["A-1000000000000"], "the bar")


def schema_ids(run: Run) -> list[int]:
    """Return the ids under which the schemas of the run's topics are registered."""
    settings = run.pipeline.settings
    with Registry(settings) as registry:
        return [registry.register(f"{getattr(settings, t)}-value", file) for t, file in SUBJECTS.items()]
