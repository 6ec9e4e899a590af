"""What a run left on the topics, and whether that is what an undisturbed run leaves.

A historical feed decides everything by its lines alone, so the comparison is strict: the same records on the
same partition, each once, all fields equal but for `ingest_ts_ms`, the wall time a record was made.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from glue.core.bars import Bar
from glue.core.bins import TickBin
from glue.core.dead_letters import DeadLetter
from glue.core.partition import is_watermark
from glue.io.kafka_read import read_to_end
from glue.io.registry import AvroReader, Registry
from glue.settings import Settings
from tests.processes import lines_of

RELATIVE = 1e-9
WALL_TIME = "ingest_ts_ms"


@dataclass(frozen=True)
class Outcome:
    """All committed records, in the order of their partition."""

    raw: list[list[TickBin]]
    """By partition, watermark records included."""
    bars: list[Bar]
    letters: list[DeadLetter]

    @property
    def bins(self) -> list[TickBin]:
        return [record for partition in self.raw for record in partition if not is_watermark(record.symbol)]


def committed(settings: Settings) -> Outcome:
    """Read what a read_committed reader gets."""
    with Registry(settings) as registry:
        bins, bars, letters = (
            AvroReader(schema, registry) for schema in ("tick_bin.avsc", "bar_1s.avsc", "dead_letter.avsc")
        )
        raw: list[list[TickBin]] = [[] for _ in range(settings.kafka_partitions)]
        for message in read_to_end(settings, settings.kafka_topic_raw):
            raw[message.partition() or 0].append(msgspec.convert(bins.decode(message.value()), TickBin))
        made = read_to_end(settings, settings.agg_output_topic)
        refused = read_to_end(settings, settings.kafka_topic_dlt)
        return Outcome(
            raw,
            [msgspec.convert(bars.decode(m.value()), Bar) for m in made],
            [msgspec.convert(letters.decode(m.value()), DeadLetter) for m in refused],
        )


def assert_equal(found: Outcome, expected: Outcome, dlt_files: list[Path]) -> None:
    """Compare a disturbed run with an undisturbed one.

    ticks.raw and ticks.dlt: the same sequence a partition; only the letters of several workers, which have a
    file each, are in an order of their own. ticks.agg.1s: the same bars, each once, in order
    per symbol; symbols of different partitions may overtake each other. The dead-letter file: the same ids,
    any number of times.
    """
    for partition, (records, wanted) in enumerate(zip(found.raw, expected.raw, strict=True)):
        _assert_same(records, wanted, "bin_id", f"ticks.raw, partition {partition}")
    letters = [found.letters, expected.letters]
    if len(dlt_files) > 1:
        letters = [sorted(some, key=lambda letter: letter.dlt_id) for some in letters]
    _assert_same(*letters, "dlt_id", "ticks.dlt")
    assert_same_bars(found.bars, expected.bars)
    ids = {letter.dlt_id for file in dlt_files for letter in lines_of(file, DeadLetter)}
    assert ids == {letter.dlt_id for letter in expected.letters}, "the dead-letter files"


def assert_same_bars(found: list[Bar], expected: list[Bar]) -> None:
    """Compare bars: each once, and in order per symbol."""

    def order(bar: Bar) -> tuple[str, int]:
        return bar.symbol, bar.start_ts_ms

    by_symbol = sorted(found, key=lambda bar: bar.symbol)  # stable: keeps the order of a symbol
    _assert_same(by_symbol, sorted(expected, key=order), "bar_id", "ticks.agg.1s")


def _assert_same(found: Sequence[Any], expected: Sequence[Any], key: str, where: str) -> None:
    ids, wanted = ([getattr(record, key) for record in records] for records in (found, expected))
    if ids != wanted:
        extra, missing = Counter(ids) - Counter(wanted), Counter(wanted) - Counter(ids)
        first = next((i for i, (a, b) in enumerate(zip(ids, wanted, strict=False)) if a != b), None)
        around = slice(max(0, (first or 0) - 2), (first or 0) + 3)
        raise AssertionError(
            f"{where}: {sum(extra.values())} records too many {list(extra)[:5]}, "
            f"{sum(missing.values())} missing {list(missing)[:5]}; first difference at {first}: "
            f"{ids[around]} instead of {wanted[around]}"
        )
    for record, other in zip(found, expected, strict=True):
        differences = {name: values for name, *values in _differing(record, other)}
        assert not differences, f"{where}: {getattr(record, key)} differs in {differences}"


def _differing(record: Any, other: Any) -> list[tuple[str, Any, Any]]:
    fields = ((name, getattr(record, name), getattr(other, name)) for name in record.__struct_fields__)
    return [(name, a, b) for name, a, b in fields if name != WALL_TIME and a != b and not _is_near(a, b)]


def _is_near(a: Any, b: Any) -> bool:
    return isinstance(a, float) and isinstance(b, float) and math.isclose(a, b, rel_tol=RELATIVE)
