"""Kafka transactions one after the other, each whole or not at all, without a pause between them.

A broker refuses a producer's next transaction for some milliseconds after a commit, until the markers of the
last one are written; the client then backs off for longer than that. Two producers that take turns never meet
it. Their order is kept: a turn begins when the other's commit was answered.
"""

import time
from collections.abc import Callable
from typing import Any

import structlog
from confluent_kafka import KafkaError, KafkaException, Producer

from glue.errors import TapelineError, TransientError
from glue.io.kafka import MOST_MESSAGE_BYTES, REQUEST_TIMEOUT_S, client_config, kafka_error, unreachable
from glue.settings import Settings

TIMEOUT_MS = 15_000
"""The broker gives up a transaction that its producer left open for so long; readers wait until then."""
TURNS = 2
LINGER_MS = 1
"""Records wait so long for others. They come in batches; a longer wait would only add to their latency."""
MOST_QUEUED, PIECE = 50_000, 10_000
"""Records that may wait in the client when more are handed over, and how many those are at a time. The client
refuses what goes beyond 100,000."""
TRY_TIMEOUT_S = 5.0
RETRY_S = 0.5
FENCED = {"_FENCED", "PRODUCER_FENCED", "INVALID_PRODUCER_EPOCH"}
GIVEN_UP = {
    "INVALID_TXN_STATE",
    "INVALID_PRODUCER_ID_MAPPING",
    "UNKNOWN_PRODUCER_ID",
    "OUT_OF_ORDER_SEQUENCE_NUMBER",
}
"""The broker has ended the transaction, or no longer knows the producer: a new one goes on."""
TOO_LARGE = {"MSG_SIZE_TOO_LARGE", "RECORD_LIST_TOO_LARGE"}
NO_ANSWER = {"_TIMED_OUT", "_TRANSPORT", "_ALL_BROKERS_DOWN"}
Record = dict[str, Any]
"""What the client takes: `key` and `value`."""
log = structlog.get_logger()


class Fenced(TapelineError):
    """A newer process has the transactional id, or the broker gave up the transaction after TIMEOUT_MS.

    The broker does not tell which.
    """


class Transactions:
    """Sends records in transactions under a fixed id: the newest process with the id fences all others."""

    def __init__(self, settings: Settings, transactional_id: str, is_stopping: Callable[[], bool]) -> None:
        self._settings = settings
        self._is_stopping = is_stopping
        self._must_abort = False
        self._batch: list[tuple[str, int, list[Record]]] = []
        self._is_open = False
        self._turn = 0
        self._producers = [
            transactional_producer(settings, f"{transactional_id}-{turn}", is_stopping)
            for turn in range(TURNS)
        ]

    @property
    def is_empty(self) -> bool:
        """Whether nothing was sent since the last commit."""
        return not self._batch

    def send(self, topic: str, partition: int, records: list[Record]) -> None:
        """Send records to a partition in the open transaction, opening one where there is none."""
        self._batch.append((topic, partition, records))
        if self._must_abort:  # the whole batch is sent again at the commit
            return
        try:
            self._open()
            produce(self._producer, topic, partition, records)
        except KafkaException as exception:
            self._refuse_if_final(kafka_error(exception))
            self._must_abort = True

    def commit(self) -> None:
        """Commit what was sent; a transaction that fails is sent again whole until KAFKA_GIVE_UP_MS.

        Raises:
            Fenced: another process took over the id, or the broker was away for too long.
            TapelineError: the broker refuses for good or stays away, or the process is to stop meanwhile.
                What was not committed is done again by the next run.
        """
        began = time.monotonic()
        while True:
            try:
                self._try_commit()
            except KafkaException as exception:
                error = kafka_error(exception)
                self._refuse_if_final(error)
                self._must_abort = self._must_abort or error.txn_requires_abort()
                waited_s = time.monotonic() - began
                if self._is_stopping() or waited_s * 1000 > self._settings.kafka_give_up_ms:
                    raise TapelineError(
                        f"no transaction could be committed for {waited_s:.0f} s ({error.str()}); the next "
                        "run goes on from the last one (KAFKA_GIVE_UP_MS is how long the worker waits)"
                    ) from None
                log.warning("transaction failed, trying again", error=error.str(), waited_s=round(waited_s))
                time.sleep(RETRY_S)
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

    def _open(self) -> None:
        if not self._is_open:
            self._producer.begin_transaction()
            self._is_open = True

    def _try_commit(self) -> None:
        if self._must_abort:  # until all of the batch is sent again: a part of it is never committed
            if self._is_open:
                self._producer.abort_transaction(TRY_TIMEOUT_S)
                self._is_open = False
            self._open()
            for part in self._batch:
                produce(self._producer, *part)
            self._must_abort = False
        self._producer.commit_transaction(TRY_TIMEOUT_S)

    def _refuse_if_final(self, error: KafkaError) -> None:
        if error.name() in FENCED or (error.fatal() and error.name() in GIVEN_UP):
            self._is_open = False
            raise Fenced("another worker has taken over this feed; this one stops")
        if error.name() in TOO_LARGE:
            raise TapelineError(
                f"the broker takes no record so large ({error.str()}). With very many symbols it is the base "
                f"in {self._settings.kafka_topic_state}: give the feed to more workers (REPLAY_SHARD)"
            )
        if error.fatal():
            self._is_open = False
            raise TapelineError(f"the broker refused a transaction for good: {error.str()}")


def transactional_producer(
    settings: Settings, transactional_id: str, is_stopping: Callable[[], bool] = lambda: False
) -> Producer:
    """Return a producer that has taken over the id: what an older one with it left open is aborted.

    A broker that has just started may take its time for that.

    Raises:
        TransientError: no broker answers, or it is not ready after KAFKA_GIVE_UP_MS, or the process is to
            stop meanwhile.
        TapelineError: the broker refuses.
    """
    producer = Producer(
        client_config(
            settings,
            transactional_id=transactional_id,
            transaction_timeout_ms=TIMEOUT_MS,
            linger_ms=LINGER_MS,
            message_max_bytes=MOST_MESSAGE_BYTES,
            compression_type="lz4",
        )
    )
    began = time.monotonic()
    while True:
        try:
            producer.init_transactions(TRY_TIMEOUT_S)
        except KafkaException as exception:
            error, waited_s = kafka_error(exception), time.monotonic() - began
            if error.name() in NO_ANSWER and waited_s > REQUEST_TIMEOUT_S * 3:
                raise unreachable(settings) from None
            if error.fatal() or not error.retriable():
                raise TapelineError(f"cannot start transactions: {error.str()}") from None
            if is_stopping() or waited_s * 1000 > settings.kafka_give_up_ms:
                raise TransientError(f"cannot start transactions: {error.str()}") from None
            log.warning("waiting to start transactions", error=error.str(), waited_s=round(waited_s))
            time.sleep(RETRY_S)
        else:
            return producer


def produce(producer: Producer, topic: str, partition: int, records: list[Record]) -> None:
    """Hand records of one partition to a producer, in their order.

    It waits for deliveries while the client's queue is full.

    Raises:
        KafkaException: the client took not all of them; the transaction must be aborted.
    """
    for i in range(0, len(records), PIECE):
        while len(producer) > MOST_QUEUED:
            producer.poll(0.1)
        piece = records[i : i + PIECE]
        # A partition named in a record would be overlooked: the client then goes by the key.
        if producer.produce_batch(topic, piece, partition) < len(piece):
            errors = [record.pop("_error") for record in piece if "_error" in record]
            raise KafkaException(errors[0])
