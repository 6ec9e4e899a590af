"""Kafka transactions one after the other, each whole or not at all, without a pause between them.

A broker refuses a producer's next transaction for some milliseconds after a commit, until the markers of the
last one are written; the client then backs off for longer than that. Two producers that take turns never meet
it. Their order is kept: a turn begins when the other's commit was answered.
"""

import time

import structlog
from confluent_kafka import KafkaError, KafkaException, Producer

from glue.errors import TapelineError
from glue.io.kafka import REQUEST_TIMEOUT_S, client_config, kafka_error, unreachable
from glue.settings import Settings

TIMEOUT_MS = 15_000
"""The broker gives up a transaction that its producer left open for so long; readers wait until then."""
TURNS = 2
MAX_TRIES = 5
FENCED = {"_FENCED", "PRODUCER_FENCED", "INVALID_PRODUCER_EPOCH"}
NO_ANSWER = {"_TIMED_OUT", "_TRANSPORT", "_ALL_BROKERS_DOWN"}
log = structlog.get_logger()


class Transactions:
    """Sends records in transactions under a fixed id: the newest process with the id fences all others."""

    def __init__(self, settings: Settings, transactional_id: str) -> None:
        self._batch: list[tuple[str, str, bytes, int]] = []
        self._is_open = False
        self._turn = 0
        self._producers = [
            Producer(
                client_config(
                    settings,
                    transactional_id=f"{transactional_id}-{turn}",
                    transaction_timeout_ms=TIMEOUT_MS,
                    linger_ms=0,
                    compression_type="lz4",
                )
            )
            for turn in range(TURNS)
        ]
        for producer in self._producers:
            try:
                producer.init_transactions(REQUEST_TIMEOUT_S * 3)
            except KafkaException as exception:
                error = kafka_error(exception)
                if error.name() in NO_ANSWER:
                    raise unreachable(settings) from None
                raise TapelineError(f"cannot start transactions: {error.str()}") from None

    @property
    def is_empty(self) -> bool:
        """Whether nothing was sent since the last commit."""
        return not self._batch

    def send(self, topic: str, key: str, value: bytes, partition: int) -> None:
        """Send a record in the open transaction, opening one where there is none."""
        record = (topic, key, value, partition)
        self._batch.append(record)
        if not self._is_open:
            self._producer.begin_transaction()
            self._is_open = True
        self._produce(record)

    def commit(self) -> None:
        """Commit what was sent; a transaction that fails is tried again whole.

        Raises:
            TapelineError: another process took over the id, or the broker refuses for good.
        """
        for tries_left in reversed(range(MAX_TRIES)):
            try:
                self._producer.commit_transaction(REQUEST_TIMEOUT_S)
            except KafkaException as exception:
                self._recover(kafka_error(exception), tries_left)
            else:
                self._batch.clear()
                self._is_open = False
                self._turn = (self._turn + 1) % TURNS
                return

    def abort(self) -> None:
        """Give up what was sent since the last commit, so that readers need not wait for its time-out."""
        if self._is_open:
            self._is_open = False
            try:
                self._producer.abort_transaction(REQUEST_TIMEOUT_S)
            except KafkaException as exception:
                log.warning("abort failed", error=kafka_error(exception).str())

    @property
    def _producer(self) -> Producer:
        return self._producers[self._turn]

    def _produce(self, record: tuple[str, str, bytes, int]) -> None:
        topic, key, value, partition = record
        while True:
            try:
                self._producer.produce(topic, value, key, partition)
            except BufferError:  # the client's queue is full: wait for deliveries
                self._producer.poll(0.1)
            else:
                return

    def _recover(self, error: KafkaError, tries_left: int) -> None:
        """Make ready for the next try of the same transaction, or raise."""
        if error.fatal() or not tries_left:
            self._is_open = False
            if error.name() in FENCED:
                raise TapelineError("another worker has taken over this feed; this one stops")
            raise TapelineError(f"the broker refused a transaction for good: {error.str()}")
        log.warning("transaction failed, trying again", error=error.str(), tries_left=tries_left)
        if error.txn_requires_abort():
            self._producer.abort_transaction(REQUEST_TIMEOUT_S)
            time.sleep(0.2)
            self._producer.begin_transaction()
            for record in self._batch:
                self._produce(record)
