"""Handing records to the client: in order, a piece at a time, and all or an error."""

import pytest
from confluent_kafka import KafkaError, KafkaException

from glue.errors import TapelineError, TransientError
from glue.io import transactions
from glue.io.transactions import MOST_QUEUED, PIECE, Fenced, Transactions, produce
from glue.settings import Settings


class Client:
    """A producer whose queue empties by a piece at each poll and holds `room` records."""

    def __init__(self, room: int = 100_000) -> None:
        self.taken: list[dict] = []
        self._room = room
        self._queued = 0

    def __len__(self) -> int:
        return self._queued

    def poll(self, timeout_s: float) -> None:
        self._queued = max(0, self._queued - PIECE)

    def produce_batch(self, topic: str, records: list[dict], partition: int) -> int:
        assert (topic, partition) == ("t", 3)
        fit = max(0, self._room - self._queued)
        for record in records[fit:]:
            record["_error"] = KafkaError(KafkaError._QUEUE_FULL)
        self.taken += records[:fit]
        self._queued += len(records[:fit])
        return len(records[:fit])


@pytest.mark.parametrize("count", [0, 1, PIECE, PIECE + 1, 3 * MOST_QUEUED + 7])
def test_any_number_of_records_goes_out_in_order(count):
    records = [{"key": str(i), "value": b""} for i in range(count)]
    client = Client()
    produce(client, "t", 3, records)
    assert client.taken == records


def test_records_that_the_client_refuses_are_an_error_and_can_be_sent_again():
    records = [{"key": str(i), "value": b""} for i in range(9)]
    with pytest.raises(KafkaException) as raised:
        produce(Client(room=5), "t", 3, records)
    assert raised.value.args[0].code() == KafkaError._QUEUE_FULL
    assert all(set(record) == {"key", "value"} for record in records)


class Broker(Client):
    """A transactional client that refuses records at some tries and remembers what was committed."""

    def __init__(self, refused: list[int], log: list[str]) -> None:
        super().__init__()
        self._refused = refused
        self._log = log
        self.open: list[str] = []

    def begin_transaction(self) -> None:
        self.open = []
        self._log.append("begin")

    def abort_transaction(self, timeout_s: float) -> None:
        self._log.append("abort")

    def commit_transaction(self, timeout_s: float) -> None:
        self._log.append(f"commit {','.join(self.open)}")

    def produce_batch(self, topic: str, records: list[dict], partition: int) -> int:
        self._refused[0] -= 1
        if self._refused[0] in self._refused[1:]:
            records[-1]["_error"] = KafkaError(KafkaError._QUEUE_FULL)
            return 0
        self.open += [record["key"] for record in records]
        return len(records)


@pytest.mark.parametrize("tries", [[9, 8], [9, 7], [9, 8, 7], [9, 7, 6, 5], [9, 8, 6, 4]])
def test_a_batch_is_committed_whole_whatever_the_client_refuses_meanwhile(tries, monkeypatch):
    log: list[str] = []
    monkeypatch.setattr(transactions, "transactional_producer", lambda *_: Broker(tries, log))
    monkeypatch.setattr(transactions, "RETRY_S", 0.0)
    sent = Transactions(Settings.load(), "id", is_stopping=lambda: False)
    for name in "ab":
        sent.send("t", 0, [{"key": name, "value": b""}])
    sent.commit()
    assert [line for line in log if line.startswith("commit")] == ["commit a,b"]
    assert log.count("begin") == log.count("abort") + 1
    assert sent.is_empty


@pytest.mark.parametrize(
    ("code", "is_fatal", "expected"),
    [
        (KafkaError.INVALID_TXN_STATE, True, Fenced),  # ended by the broker: the worker goes on
        (KafkaError._FENCED, True, Fenced),
        (KafkaError.RECORD_LIST_TOO_LARGE, False, TapelineError),
        (KafkaError.CLUSTER_AUTHORIZATION_FAILED, True, TapelineError),
    ],
)
def test_an_error_that_no_retry_can_mend_ends_the_commit(code, is_fatal, expected, monkeypatch):
    class Refusing(Broker):
        def commit_transaction(self, timeout_s: float) -> None:
            raise KafkaException(KafkaError(code, "refused", fatal=is_fatal))

    monkeypatch.setattr(transactions, "transactional_producer", lambda *_: Refusing([9], []))
    sent = Transactions(Settings.load(), "id", is_stopping=lambda: False)
    sent.send("t", 0, [{"key": "a", "value": b""}])
    with pytest.raises(TapelineError) as raised:
        sent.commit()
    assert type(raised.value) is expected


class Starting:
    """A producer whose first tries to start transactions fail."""

    def __init__(self, errors):
        self.errors = list(errors)

    def init_transactions(self, timeout_s):
        if self.errors:
            raise KafkaException(self.errors.pop(0))


def start(monkeypatch, errors, **more):
    starting = Starting(errors)
    monkeypatch.setattr(transactions, "Producer", lambda config: starting)
    monkeypatch.setattr(transactions, "RETRY_S", 0)
    settings = more.pop("settings", Settings.load())
    assert transactions.transactional_producer(settings, "id", **more) is starting
    assert starting.errors == []


NOT_YET = KafkaError(KafkaError.CONCURRENT_TRANSACTIONS, "not yet", retriable=True)


def test_a_broker_that_still_ends_old_transactions_is_waited_for(monkeypatch):
    start(monkeypatch, [NOT_YET] * 5)


@pytest.mark.parametrize(
    "more", [{"is_stopping": lambda: True}, {"settings": Settings.load(kafka_give_up_ms=0)}]
)
def test_the_wait_for_old_transactions_ends_at_a_signal_and_when_the_broker_is_given_up(monkeypatch, more):
    with pytest.raises(TransientError, match="cannot start transactions: not yet"):
        start(monkeypatch, [NOT_YET] * 5, **more)


def test_a_broker_that_refuses_transactions_is_not_asked_again(monkeypatch):
    refused = KafkaError(KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED, "not you", fatal=True)
    with pytest.raises(TapelineError, match="not you"):
        start(monkeypatch, [refused] * 2)
