"""Two workers of one feed: the newer one goes on exactly, the older one writes nothing more and says why."""

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from glue.core.binner import Binner
from glue.core.introduction import Feed
from glue.core.partition import Shard
from glue.core.watermarks import Rules
from glue.io.kafka_sink import KafkaSink, transactional_id
from glue.io.state_topic import Checkpoint, read_state
from glue.io.transactions import TURNS, transactional_producer
from tests.conftest import RunningStack
from tests.faults.conftest import Run
from tests.faults.pipeline import frozen
from tests.processes import Command

pytestmark = [pytest.mark.stack, pytest.mark.timeout(1200)]
MANY = pytest.param(20, marks=pytest.mark.full)
GAVE_UP = "the broker gave up a transaction"
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


@pytest.mark.parametrize("count", [2, MANY])
def test_a_worker_whose_transactions_the_broker_gave_up_goes_on_by_itself(
    count: int, disturbed_run: Callable[..., AbstractContextManager[Run]]
) -> None:
    rng = random.Random(f"given up {count}")
    with disturbed_run(faults=count) as run:
        feed_id = run.expected.letters[0].dlt_id.partition("-")[0]
        for _ in range(count):
            run.pipeline.wait_for_data()
            run.pipeline.go_on(rng.uniform(0, 1.5))
            before = run.pipeline.worker.output.count(GAVE_UP)
            # What the broker does to a producer that left a transaction open for too long: a new epoch. It is
            # asked for again, and the worker's next run given up as well, when a transaction was open.
            transactional_producer(
                run.pipeline.settings,
                f"{transactional_id(run.pipeline.settings, feed_id)}-{rng.randrange(TURNS)}",
            )
            run.pipeline.wait_until(
                lambda n=before: run.pipeline.worker.output.count(GAVE_UP) > n, "the new run"
            )
        run.assert_undisturbed()
        assert run.pipeline.surprises() == []


def test_a_checkpoint_is_found_behind_the_open_transaction_of_another_worker(
    stack: RunningStack, tmp_path: Path
) -> None:
    settings = stack.settings()
    other = transactional_producer(settings, "another-feed")
    other.begin_transaction()
    other.produce(settings.kafka_topic_state, b"", b"another-feed")
    other.flush()
    sink = KafkaSink(settings, "this-feed", tmp_path / "dlt.jsonl", is_stopping=lambda: False)
    binner = Binner(Feed("this-feed", "historical", is_numbered=True), Rules(partitions=6))
    sink.publish(binner.process(b"no tick\n", 0))
    checkpoint = Checkpoint(
        feed_id="this-feed", shard=Shard(), mode="historical", snapshot=binner.snapshot(), late_ms=500,
        bin_ms=10, partitions=6, is_ended=False, updated_ms=0,
    )  # fmt: skip
    sink.commit(checkpoint, binner.base())
    sink.finish()
    with ThreadPoolExecutor(1) as pool:
        found = pool.submit(read_state, settings)
        with pytest.raises(TimeoutError):
            found.result(2)
        other.abort_transaction()
        checkpoints = found.result(60).checkpoints
    assert list(checkpoints.values()) == [checkpoint]
