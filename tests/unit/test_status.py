"""The table of `glue.status` names the engine that the settings choose, whether it runs or not."""

import pytest
from rich.console import Console

from glue.connectors import MISSING, Connector
from glue.engine import Engine, local_engine
from glue.io.topic_stats import Latency
from glue.settings import Settings
from glue.status import WAITING_S, Part, Status, Warehouse, _connectors_level, render


def table(engine: Engine, *parts: Part) -> list[str]:
    """Return the lines of the table that name the engine, blanks made one."""
    status = Status(
        at_ms=0, parts=list(parts), engine=engine, lag=[], publish_latency=Latency(0), bar_latency=Latency(0),
        dead_letters={}, warehouse=Warehouse(0, 0, Latency(0)), connectors=[], service_levels=[],
    )  # fmt: skip
    console = Console(width=200)
    with console.capture() as capture:
        console.print(render(status))
    lines = (" ".join(line.split()) for line in capture.get().splitlines())
    return [line for line in lines if line.startswith(("aggregate", "ksqldb"))]


@pytest.mark.parametrize(
    ("engine", "parts", "says"),
    [
        (local_engine(Settings(), is_running=True), [Part("aggregate", "running", 7)], "aggregate running 7"),
        (local_engine(Settings(), is_running=False), [], "aggregate not on this machine"),
        (Engine("ksqldb 7.9.2", "http://k:8088", "running", []), [], "ksqldb 7.9.2 running http://k:8088"),
        (Engine("ksqldb", "http://k", "Q is ERROR", []), [], "ksqldb Q is ERROR http://k"),
    ],
)
def test_the_engine_has_one_line(engine, parts, says):
    assert table(engine, *parts) == [says]


def connector(name: str, state: str = "RUNNING", *tasks: str, problem: str = "", waiting_s: float = 0):
    return Connector(name, state, list(tasks), problem, [], None, waiting_s)


@pytest.mark.parametrize(
    ("connectors", "seen", "is_met"),
    [
        ([connector("a", MISSING), connector("b", MISSING)], "none deployed", None),
        ([connector("a", "RUNNING", "RUNNING"), connector("b", "RUNNING", "RUNNING")], "2 run", True),
        ([connector("a", MISSING), connector("b", "RUNNING", "RUNNING")], "a: not deployed", False),
        ([connector("a", "RUNNING", "FAILED", problem="org.x.Broken")], "a: org.x.Broken", False),
        ([connector("a", "RUNNING", "RUNNING", waiting_s=WAITING_S - 1)], "1 run", True),
        ([connector("a", "RUNNING", "RUNNING", waiting_s=200.4)], "a: a record waits for 200 s", False),
    ],
)
def test_connectors_are_good_where_all_run_and_write(connectors, seen, is_met):
    level = _connectors_level(connectors)
    assert (level.seen, level.is_met) == (seen, is_met)
