"""The limit of publishing: librdkafka's transactions with payloads that are serialized already."""

from typing import Any

from confluent_kafka import Producer

from glue.io.kafka import client_config
from glue.settings import Settings

Payloads = dict[int, list[dict[str, Any]]]
"""Records as {key, value}, by partition."""
TIMEOUT_S = 30.0
PRODUCERS = 2
"""They take turns, as in the worker: one alone waits after each commit for the broker's markers."""


class BareTransactions:
    """Sends batches of {key, value} to the partitions of ticks.raw with a checkpoint each, nothing else."""

    def __init__(self, settings: Settings, transactional_id: str) -> None:
        self._settings = settings
        self._turn = 0
        self._is_open = False
        self._producers = [
            Producer(
                client_config(
                    settings,
                    transactional_id=f"{transactional_id}-{number}",
                    transaction_timeout_ms=15_000,
                    linger_ms=0,
                    compression_type="lz4",
                )
            )
            for number in range(PRODUCERS)
        ]
        for producer in self._producers:
            producer.init_transactions(TIMEOUT_S)

    def send(self, records: Payloads) -> None:
        """Send records, by partition, in the open transaction."""
        producer = self._producers[self._turn]
        if not self._is_open:
            producer.begin_transaction()
            self._is_open = True
        for partition, some in records.items():
            producer.produce_batch(self._settings.kafka_topic_raw, some, partition)

    def commit(self, checkpoint: bytes) -> None:
        """Commit what was sent, with a checkpoint; does nothing when nothing was."""
        if not self._is_open:
            return
        producer = self._producers[self._turn]
        producer.produce(self._settings.kafka_topic_state, checkpoint, "bare", 0)
        producer.commit_transaction(TIMEOUT_S)
        self._turn = (self._turn + 1) % PRODUCERS
        self._is_open = False
