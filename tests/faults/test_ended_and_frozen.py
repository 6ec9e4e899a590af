"""Worker and engine are ended and frozen at random moments; the topics hold what an undisturbed run gives."""

import random
import signal
import time
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from tests.faults.conftest import Run
from tests.faults.pipeline import Part, Pipeline, frozen

pytestmark = [pytest.mark.stack, pytest.mark.timeout(1200)]
MANY = pytest.param(20, marks=pytest.mark.full)
SHORTEST_FREEZE_S, LONGEST_FREEZE_S = 0.5, 4.0


def strike(run: Pipeline, part: Part, sig: signal.Signals, rng: random.Random) -> None:
    """Do one fault to a part at a moment of its own, with data flowing."""
    run.wait_for_data()
    run.go_on(rng.uniform(0, 1.5))
    if sig == signal.SIGSTOP:
        with frozen(part.command):
            time.sleep(rng.uniform(SHORTEST_FREEZE_S, LONGEST_FREEZE_S))
    else:
        part.hit(sig)


@pytest.mark.parametrize("count", [2, MANY])
@pytest.mark.parametrize("sig", [signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP], ids=lambda sig: sig.name)
def test_a_worker_and_an_engine_that_are_ended_or_frozen_change_nothing(
    sig: signal.Signals, count: int, disturbed_run: Callable[..., AbstractContextManager[Run]]
) -> None:
    rng = random.Random(f"{sig.name} {count}")
    with disturbed_run(faults=2 * count) as run:
        victims = [run.pipeline.worker, run.pipeline.engines["0"]] * count
        rng.shuffle(victims)
        for victim in victims:
            strike(run.pipeline, victim, sig, rng)
        run.assert_undisturbed()
        assert run.pipeline.surprises() == []
