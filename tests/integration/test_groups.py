"""Consumer groups on a broker that hangs: it takes connections and answers nothing."""

import socket
from collections.abc import Callable, Iterator

import pytest

from glue.errors import TransientError
from glue.io import kafka_groups
from glue.io.kafka_groups import active_groups, forget_group, move_group
from glue.settings import Settings

ASKED: dict[str, Callable[[Settings], object]] = {
    "which there are": active_groups,
    "to forget one": lambda settings: forget_group(settings, "group", "glue.rollup"),
    "to move one": lambda settings: move_group(settings, "group", "glue.rollup", "topic", {0: (1, "")}),
}


@pytest.fixture
def hanging(monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    monkeypatch.setattr(kafka_groups, "REQUEST_TIMEOUT_S", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as broker:
        yield Settings.load(kafka_brokers=f"127.0.0.1:{broker.getsockname()[1]}")


@pytest.mark.parametrize("asked", ASKED)
def test_a_broker_that_hangs_is_named_with_the_way_out(asked: str, hanging: Settings) -> None:
    with pytest.raises(TransientError, match=r"KAFKA_BROKERS=127\.0\.0\.1:.*glue\.stack up"):
        ASKED[asked](hanging)
