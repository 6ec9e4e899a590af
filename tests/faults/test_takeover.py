"""Two workers of one feed: the newer one goes on exactly, the older one writes nothing more and says why."""

import random
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from tests.faults.conftest import Run
from tests.faults.pipeline import frozen
from tests.processes import Command

pytestmark = [pytest.mark.stack, pytest.mark.timeout(1200)]
MANY = pytest.param(20, marks=pytest.mark.full)
WHY = "another worker has taken over this feed"


def assert_gave_up(worker: Command) -> None:
    assert worker.wait() == 1, worker.output[-3000:]
    assert WHY in worker.output
    assert "Traceback" not in worker.output


@pytest.mark.parametrize("count", [2, MANY])
def test_of_two_workers_only_the_newer_one_goes_on(
    count: int, disturbed_run: Callable[..., AbstractContextManager[Run]]
) -> None:
    rng = random.Random(f"two workers {count}")
    with disturbed_run(faults=count) as run:
        for _ in range(count):
            run.pipeline.wait_for_data()
            run.pipeline.go_on(rng.uniform(0, 1.5))
            older = run.pipeline.worker.command
            run.pipeline.worker.start()
            assert_gave_up(older)
        run.assert_undisturbed()
        assert run.pipeline.surprises() == []


@pytest.mark.parametrize("count", [1, MANY])
def test_a_frozen_worker_that_wakes_up_after_another_took_over_writes_nothing(
    count: int, disturbed_run: Callable[..., AbstractContextManager[Run]]
) -> None:
    rng = random.Random(f"frozen worker {count}")
    with disturbed_run(faults=count) as run:
        for _ in range(count):
            run.pipeline.wait_for_data()
            run.pipeline.go_on(rng.uniform(0, 1.5))
            older = run.pipeline.worker.command
            with frozen(older):
                run.pipeline.worker.start()
                run.pipeline.wait_for_data()
            assert_gave_up(older)
        run.assert_undisturbed()
        assert run.pipeline.surprises() == []
