"""Which consumer groups there are, by brokers that do not all answer."""

from concurrent.futures import Future
from types import SimpleNamespace

import pytest
from confluent_kafka import ConsumerGroupState, KafkaError

from glue.errors import TapelineError, TransientError
from glue.io import kafka_groups
from glue.settings import Settings

LOADER = SimpleNamespace(group_id="loader", state=ConsumerGroupState.STABLE)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[SimpleNamespace]:
    """What the brokers tell, list by list, the last for good."""
    lists: list[SimpleNamespace] = []

    def list_consumer_groups(**_: object) -> Future[SimpleNamespace]:
        answer: Future[SimpleNamespace] = Future()
        answer.set_result(lists.pop(0) if len(lists) > 1 else lists[0])
        return answer

    admin = SimpleNamespace(list_consumer_groups=list_consumer_groups)
    monkeypatch.setattr(kafka_groups, "admin_client", lambda _: admin)
    monkeypatch.setattr(kafka_groups, "REQUEST_TIMEOUT_S", 0.5)
    return lists


def groups(*valid: SimpleNamespace, errors: tuple[KafkaError, ...] = ()) -> SimpleNamespace:
    return SimpleNamespace(valid=list(valid), errors=list(errors))


@pytest.mark.parametrize("error", [KafkaError.COORDINATOR_LOAD_IN_PROGRESS, KafkaError._TIMED_OUT])
def test_a_broker_that_still_loads_its_groups_or_is_slow_is_waited_for(told, error):
    told += [groups(errors=(KafkaError(error),)), groups(LOADER)]
    assert kafka_groups.active_groups(Settings(_env_file=None)) == {"loader"}
    assert kafka_groups.shards_of(Settings(_env_file=None), "loader") == ["loader"]


@pytest.mark.parametrize("error", [KafkaError.COORDINATOR_LOAD_IN_PROGRESS, KafkaError._TIMED_OUT])
def test_a_list_that_lacks_the_groups_of_a_broker_is_not_taken_for_whole(told, error):
    told += [groups(LOADER, errors=(KafkaError(error),))]
    with pytest.raises(TransientError, match="no Kafka broker answers at KAFKA_BROKERS"):
        kafka_groups.active_groups(Settings(_env_file=None))


def test_a_refusal_is_told(told):
    told += [groups(errors=(KafkaError(KafkaError.CLUSTER_AUTHORIZATION_FAILED),))]
    with pytest.raises(TapelineError, match=r"list of consumer groups: .*authorization failed"):
        kafka_groups.active_groups(Settings(_env_file=None))
