"""Bins a second through ksqlDB: the product's scripts beside a plain query of sums."""

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

from bench.ksqldb.load import Records, bars_of, dense, encoded, send
from bench.ksqldb.place import Place, bar_scripts, plain_scripts, plain_topic
from bench.topic import Following
from glue.core.bars import Bar
from glue.deploy.scripts import Statement
from glue.errors import TapelineError
from glue.settings import Settings

WARM_S = 3
DEADLINE_S = 300.0
THREADS = "ksql.streams.num.stream.threads"
EXACT = ("high", "low", "trade_count", "bin_count", "max_lateness_ms", "api_send_ts_ms", "source_event_ts_ms")
NEAR = ("volume", "notional")
WHOLE_EXACT, WHOLE_NEAR = (*EXACT, "symbol", "open", "close", "end_ts_ms"), (*NEAR, "vwap")


class Load:
    """Bins of some symbols, once and ready: a few seconds to warm up, then all at once."""

    def __init__(self, symbols: int, seconds: int, partitions: int) -> None:
        self.symbols, self.seconds, self.partitions = symbols, seconds, partitions
        self.warm = dense(symbols, 0, WARM_S, partitions)
        self.rest = dense(symbols, WARM_S, seconds, partitions)
        both: Records = {p: self.warm[p] + self.rest[p] for p in self.rest}
        self.bars = bars_of(both)
        self.bins = symbols * seconds * 100


def bars_per_s(place: Place, load: Load, properties: dict[str, str]) -> float:
    """Return bins a second of ksql/."""
    return _run(place, load, bar_scripts, properties, lambda s: s.agg_output_topic, WHOLE_EXACT, WHOLE_NEAR)


def plain_per_s(place: Place, load: Load, properties: dict[str, str]) -> float:
    """Return bins a second of a plain query of all fields of a bar that can be summed or compared."""
    return _run(place, load, lambda s: plain_scripts(s, "fields.sql"), properties, plain_topic, EXACT, NEAR)


def lean_per_s(place: Place, load: Load, properties: dict[str, str]) -> float:
    """Return bins a second of a plain query of one SUM and one MAX."""
    return _run(
        place, load, lambda s: plain_scripts(s, "lean.sql"), properties, plain_topic, ("high",), ("volume",)
    )


def _run(
    place: Place,
    load: Load,
    statements: Callable[[Settings], Sequence[Statement]],
    properties: dict[str, str],
    topic: Callable[[Settings], str],
    exact: Sequence[str],
    near: Sequence[str],
) -> float:
    with place.topics(kafka_partitions=load.partitions) as settings:
        schema_id = place.registry.register(f"{settings.kafka_topic_raw}-value", "tick_bin.avsc")
        warm, rest = encoded(load.warm, schema_id), encoded(load.rest, schema_id)
        with place.queries(settings, statements(settings), properties):
            out = Following(settings, topic(settings), is_from_start=True)
            try:
                send(settings, warm)
                bars = _take(place, out, load.symbols * WARM_S)
                began = time.monotonic()
                send(settings, rest)
                more = _take(place, out, load.symbols * load.seconds)
                elapsed_s = time.monotonic() - began
            finally:
                out.close()
    found = bars + more
    _require_equal(found, load.bars, exact, near)
    return load.bins / elapsed_s


def _take(place: Place, out: Following, count: int) -> list[dict[str, Any]]:
    """Return so many bars as they become visible."""
    values: list[bytes | None] = []
    deadline = time.monotonic() + DEADLINE_S
    while len(values) < count:
        values += [message.value() for message in out.poll(0.2)]
        if time.monotonic() > deadline:
            raise TapelineError(f"{len(values)} of {count} bars came in {DEADLINE_S:.0f} s")
    return [place.decode(value) for value in values]


def _require_equal(
    found: list[dict[str, Any]], expected: dict[str, Bar], exact: Sequence[str], near: Sequence[str]
) -> None:
    """Raise unless each bar came once with the values of the local engine."""
    by_id = {f"{bar['symbol']}-{bar['start_ts_ms']}": bar for bar in found}
    if len(found) != len(by_id) or by_id.keys() != expected.keys():
        raise TapelineError(f"{len(found)} bars, {len(by_id)} of them different; expected {len(expected)}")
    for bar_id, bar in by_id.items():
        wanted = expected[bar_id]
        is_equal = all(bar[name] == getattr(wanted, name) for name in exact)
        is_near = all(math.isclose(bar[name], getattr(wanted, name), rel_tol=1e-9) for name in near)
        if not (is_equal and is_near):
            raise TapelineError(f"ksqlDB and the local engine differ: {bar} is not {wanted}")
