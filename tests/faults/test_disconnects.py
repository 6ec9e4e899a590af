"""A feed whose connection breaks again and again, anywhere: the worker takes each line in once."""

import random
import signal
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack

import pytest

from tests.faults.breaking_proxy import BreakingProxy, breaking_proxy
from tests.faults.conftest import Run

pytestmark = [pytest.mark.stack, pytest.mark.timeout(1200)]
STORM_DEADLINE_S = 600
STORMS = [(12, 1), pytest.param(100, 20, marks=pytest.mark.full)]


@pytest.mark.parametrize(("breaks", "kills"), STORMS)
def test_a_storm_of_disconnects_changes_nothing_nor_does_a_kill_amid_it(
    breaks: int, kills: int, disturbed_run: Callable[..., AbstractContextManager[Run]]
) -> None:
    rng = random.Random(f"storm {breaks} {kills}")
    proxies: list[BreakingProxy] = []
    with ExitStack() as stack:

        def through(url: str) -> str:
            proxies.append(stack.enter_context(breaking_proxy(url, breaks, f"storm {breaks} {kills}")))
            return proxies[0].url

        with disturbed_run(faults=breaks // 5 + kills, through=through) as run:
            for _ in range(kills):
                run.pipeline.wait_for_data()
                run.pipeline.go_on(rng.uniform(0, 1))
                run.pipeline.worker.hit(signal.SIGKILL)
            run.pipeline.wait_until(
                lambda: proxies[0].is_over or run.pipeline.worker.is_done, "the storm", STORM_DEADLINE_S
            )
            assert proxies[0].is_over, "the feed is too short for such a storm"
            run.assert_undisturbed()
            assert run.pipeline.surprises() == []
            assert "feed lost" in run.pipeline.worker.output
