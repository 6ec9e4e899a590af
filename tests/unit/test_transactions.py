"""Handing records to the client: in order, a piece at a time, and all or an error."""

import pytest
from confluent_kafka import KafkaError, KafkaException

from glue.io.transactions import MOST_QUEUED, PIECE, produce


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
