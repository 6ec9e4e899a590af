"""One contract for every engine: the same bins lead to the same bars, whoever makes them.

With KSQLDB_URL set the ksqlDB server there takes part, on the broker and registry that it is attached to
(KAFKA_BROKERS, SCHEMA_REGISTRY_URL or the running embedded stack).
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import pytest

from glue.settings import Settings
from tests.contract.cases import Plan, contract_cases, plan
from tests.contract.engines import Engine, Kafka, KsqlDb, Offline, Outcome
from tests.contract.model import differences

PARTITIONS = (6, 1)
"""Of ticks.raw: the default, and all symbols on one."""
NAMES = [case.name for case in contract_cases(1)]
SHOWN = 20
ENGINES = [
    pytest.param("offline"),
    pytest.param("kafka", marks=pytest.mark.stack),
    pytest.param("ksqldb", marks=pytest.mark.timeout(900)),
]


@dataclass(frozen=True)
class Run:
    """One run of an engine over all cases of a number of partitions."""

    plan: Plan
    engine: Engine
    outcome: Outcome


@pytest.fixture(scope="module", params=ENGINES)
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Engine:
    if request.param == "offline":
        return Offline(tmp_path_factory.mktemp("offline"))
    if request.param == "kafka":
        stack = request.getfixturevalue("stack")
        here = partial(stack.settings, agg_metrics_port=0)
        return Kafka(lambda count: here(kafka_partitions=count), tmp_path_factory.mktemp("kafka"))
    if not Settings.load().ksqldb_url:
        pytest.skip("KSQLDB_URL is not set")
    return KsqlDb()


@pytest.fixture(scope="module", params=PARTITIONS, ids=lambda count: f"{count}p")
def run(request: pytest.FixtureRequest, engine: Engine) -> Iterator[Run]:
    laid_out = plan(contract_cases(request.param), request.param)
    yield Run(laid_out, engine, engine.run(laid_out))


@pytest.mark.parametrize("name", NAMES)
def test_the_bars_of_a_case_are_the_expected_ones(run: Run, name: str) -> None:
    case = run.plan.placed[name]
    found = differences(case.bars, run.plan.bars_of(name, run.outcome.bars))
    assert not found, "\n".join(found[:SHOWN])


def test_no_bar_comes_that_belongs_to_no_case(run: Run) -> None:
    assert run.plan.strays(run.outcome.bars) == []


def test_all_that_comes_is_a_bar_and_every_partition_comes_to_its_end(run: Run) -> None:
    assert run.outcome.problems == []


def test_bars_of_a_symbol_come_in_their_order(run: Run) -> None:
    starts: dict[str, list[int]] = defaultdict(list)
    for bar in run.outcome.bars:
        starts[bar.symbol].append(bar.start_ts_ms)
    assert [symbol for symbol, found in starts.items() if found != sorted(set(found))] == []


def test_a_bar_says_who_made_it(run: Run) -> None:
    assert {bar.source for bar in run.outcome.bars} == {run.engine.source}
