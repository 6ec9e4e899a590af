"""Engines join, leave and die under load: each bar comes once, in order, from all its bins."""

import random
import signal
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from tests.conftest import RunningStack
from tests.faults.conftest import Run
from tests.faults.pipeline import frozen

pytestmark = [pytest.mark.stack, pytest.mark.timeout(1800)]
MANY = pytest.param(20, marks=pytest.mark.full)
SLOWLY = 1
"""A group waits ten seconds for a member that was killed, and the feed goes on."""
MOST_ENGINES = 3
RETENTION_MS = 600_000
"""Of ticks that are years old, and of a run that may take minutes on a busy machine."""


@pytest.mark.parametrize("count", [4, MANY])
def test_engines_that_join_and_leave_and_die_change_nothing(
    count: int, disturbed_run: Callable[..., AbstractContextManager[Run]]
) -> None:
    rng = random.Random(f"rebalance {count}")
    with disturbed_run(faults=count, speed=SLOWLY) as run:
        engines = run.pipeline.engines
        for turn in range(count):
            run.pipeline.wait_for_data()
            free = [name for name in map(str, range(MOST_ENGINES)) if name not in engines]
            if free and (len(engines) == 1 or rng.random() < 0.5):
                engine = run.pipeline.add_engine(free[0])
                run.pipeline.wait_until(
                    lambda e=engine: '"assigned"' in e.output, "a share of the partitions"
                )
            elif turn % 2:
                rng.choice(list(engines.values())).hit(signal.SIGKILL)
            else:
                run.pipeline.remove_engine(rng.choice(list(engines)), signal.SIGTERM)
            run.pipeline.go_on(rng.uniform(0, 1.5))
        run.assert_undisturbed()
        assert run.pipeline.surprises() == []


@pytest.mark.full
def test_an_engine_that_is_frozen_until_others_have_its_partitions_repeats_nothing(
    disturbed_run: Callable[..., AbstractContextManager[Run]],
) -> None:
    with disturbed_run(faults=2, speed=SLOWLY) as run:
        run.pipeline.wait_for_data()
        with frozen(run.pipeline.engines["0"].command):
            other = run.pipeline.add_engine("1")
            run.pipeline.wait_until(lambda: '"partitions": [0, 1, 2, 3, 4, 5]' in other.output, "a takeover")
        run.pipeline.wait_until(lambda: "revoked" in other.output, "the engine that was frozen")
        run.assert_undisturbed()


def test_an_engine_that_is_away_for_less_than_the_retention_misses_nothing(
    stack: RunningStack, disturbed_run: Callable[..., AbstractContextManager[Run]]
) -> None:
    with disturbed_run(faults=1, kafka_retention_ms=RETENTION_MS) as run:
        run.pipeline.wait_for_data()
        run.pipeline.remove_engine("0", signal.SIGTERM)
        run.feed.hurry()
        run.pipeline.wait_until(lambda: run.pipeline.worker.is_done, "the end of the feed")
        stack.wait_for_retention_checks(2)
        run.pipeline.add_engine("0")
        run.assert_undisturbed()
