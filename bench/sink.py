"""The worker's way to Kafka, beside librdkafka alone with the same records already serialized."""

import time
import urllib.request
from itertools import count

import msgspec

from bench.bare import BareTransactions
from bench.records import BATCH, SYMBOLS, batches, checkpoint, on_the_wire, publish, sink
from bench.report import Row, compared
from bench.rounds import Say, take_turns
from bench.stage import Stage
from bench.topic import committed
from glue.errors import TapelineError
from glue.io.kafka import partition_count

LEAST_RATIO = 0.5
WHOLE_DEADLINE_S = 180.0
READ_BYTES = 1 << 16


def rows(stage: Stage, say: Say, *, is_quick: bool) -> list[Row]:
    """Measure the sink, and the whole worker from a feed without pauses."""
    ticks, turns = (6_000, 1) if is_quick else (90_000, 5)
    return [_sink_row(stage, say, ticks, turns), _worker_row(stage, say, ticks * 3, 1 if is_quick else 2)]


def _sink_row(stage: Stage, say: Say, ticks: int, turns: int) -> Row:
    say("making bins and their payloads")
    of = batches(ticks)
    settings = stage.settings()
    numbers = count(1)
    partitions = partition_count(settings, settings.kafka_topic_raw)
    payloads = [on_the_wire(outputs, partitions) for outputs in of.outputs]
    bare = BareTransactions(settings, "bench-bare")
    state = msgspec.json.encode(checkpoint(of, "bare"))

    def through_the_sink() -> float:
        feed_id = f"bench-{next(numbers)}"
        opened = sink(settings, feed_id)
        began = time.perf_counter()
        publish(of, opened, feed_id)
        return of.count / (time.perf_counter() - began)

    def bare_librdkafka() -> float:
        fresh = [  # the client may write into them
            {partition: [dict(record) for record in some] for partition, some in records.items()}
            for records in payloads
        ]
        began = time.perf_counter()
        for records in fresh:
            bare.send(records)
            bare.commit(state)
        return of.count / (time.perf_counter() - began)

    through_the_sink()  # the broker's first transactions are slow
    rates = take_turns({"KafkaSink": through_the_sink, "librdkafka": bare_librdkafka}, turns, say)
    return compared(
        "bins to Kafka, exactly once",
        rates["KafkaSink"],
        "librdkafka, serialized before",
        rates["librdkafka"],
        at_least=LEAST_RATIO,
        note="`KafkaSink.publish` and `commit`: Avro, partitions, a transaction with checkpoint every "
        f"{BATCH:,} records, {of.count:,} records of {SYMBOLS} symbols a turn; beside `produce_batch` of "
        "the same payloads to the same partitions in the same batches, by two transactional producers that "
        "take turns as the sink's do",
    )


def _worker_row(stage: Stage, say: Say, ticks: int, turns: int) -> Row:
    rate = 2_000
    sizes = {"--symbols": SYMBOLS, "--rate": rate, "--duration": ticks // rate, "--speed": 0}
    options = ["--synthetic", "--historical", *(text for item in sizes.items() for text in map(str, item))]

    def worker() -> float:
        settings = stage.settings()
        with (
            stage.feed(*options) as url,
            stage.running("glue.replay", "--url", url, settings=settings) as child,
        ):
            child.wait_to_end(WHOLE_DEADLINE_S)
            ended = child.events("feed ended")
        appended = [message.timestamp()[1] for message in committed(settings, settings.kafka_topic_raw)]
        if not ended or not appended:
            raise TapelineError("the worker took no tick")
        return float(ended[-1]["ticks"]) / max(0.001, (max(appended) - min(appended)) / 1000)

    def feed_alone() -> float:
        with stage.feed(*options) as url, urllib.request.urlopen(url) as answer:  # noqa: S310 - it is http
            first = answer.read(READ_BYTES)
            began = time.perf_counter()
            lines = 0
            while data := answer.read(READ_BYTES):
                lines += data.count(b"\n")
            assert first
            return lines / (time.perf_counter() - began)

    rates = take_turns({"glue.replay": worker, "feed alone": feed_alone}, turns, say)
    return compared(
        "the whole worker, ticks from an HTTP feed to Kafka",
        rates["glue.replay"],
        "reading the feed alone",
        rates["feed alone"],
        note=f"`glue.replay` on `glue.mock_api --speed 0`, {SYMBOLS} symbols; ticks over the time from the "
        "first to the last record's append. The feed, made on the fly by the mock API, runs on the same "
        "cores",
    )
