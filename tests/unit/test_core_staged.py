"""Names, lines and committed places of the files of raw bins."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from glue.core.bins import TickBin, watermark_record
from glue.core.staged import LARGEST_SUM, Place, Span, bounds_of, is_storable, line_of, offset_of

BIN = TickBin("WDC-10", "WDC", 10, 20, 10, 1.5, 2.25, 1.125, 2.0, 3.0, 4.5, 2, 7, 520, None, 11, 530)
TOPIC_ID = "0123456789abcdef0123456789abcdef"


def test_a_file_is_known_by_partition_and_offsets() -> None:
    span = Span(3, 100, 250, 70)
    assert span.name == "3-100-250.ndjson.gz"
    assert bounds_of(span.name) == (3, 100, 250)
    assert bounds_of("3-100.part") is None


def test_a_line_is_the_bin_and_where_it_was_read() -> None:
    line = line_of(BIN, 3, 123)
    assert msgspec.json.decode(line) == msgspec.structs.asdict(BIN) | {
        "kafka_partition": 3,
        "kafka_offset": 123,
    }
    assert offset_of(line) == 123
    assert line.endswith(b"\n")


def test_part_of_a_line_has_no_offset() -> None:
    line = line_of(BIN, 3, 123)
    assert {offset_of(line[:i]) for i in range(len(line))} == {None}
    assert offset_of(b"\0" * 4096) is None


def test_a_sum_that_the_column_cannot_hold_is_the_largest_it_can() -> None:
    line = line_of(msgspec.structs.replace(BIN, notional=1e31), 0, 1)
    assert msgspec.json.decode(line)["notional"] == LARGEST_SUM


@given(st.integers(0, 1 << 40), st.lists(st.tuples(st.integers(0, 99), st.integers(0, 9999)), max_size=20))
def test_a_committed_place_comes_back(offset: int, lengths: list[tuple[int, int]]) -> None:
    spans, at = [], offset
    for gap, length in lengths:
        first = at + gap
        at = first + length + 1
        spans.append(Span(4, first, at - 1, length // 2 + 1))
    place = Place(TOPIC_ID, offset, tuple(spans))
    assert Place.parse(TOPIC_ID, 4, offset, place.metadata) == place
    assert Place.parse("another", 4, offset, place.metadata) == Place("another")


def test_a_hundred_files_fit_into_the_metadata_of_an_offset() -> None:
    spans = tuple(Span(999, 10**12 + i * 10**7, 10**12 + (i + 1) * 10**7 - 1, 10**7) for i in range(120))
    assert len(Place(TOPIC_ID, 10**12, spans).metadata) < 4096


def test_nothing_committed_is_the_start() -> None:
    assert Place.parse(TOPIC_ID, 0, -1, None) == Place(TOPIC_ID)
    assert Place.parse(TOPIC_ID, 0, 500, None) == Place(TOPIC_ID), "without metadata it is not ours"


def test_what_the_table_cannot_hold_is_told() -> None:
    assert is_storable(BIN)
    assert not is_storable(watermark_record("~wm3", 1000, 10, None))
    for name, value in (
        ("open", None),
        ("close", float("nan")),
        ("high", 1e21),
        ("volume", float("inf")),
        ("notional", float("nan")),
        ("trade_count", 0),
        ("start_ts_ms", 10**18),
        ("api_send_ts_ms", -(10**18)),
        ("bin_id", "x" * 65),
        ("symbol", "x" * 33),
        ("source", "x" * 17),
    ):
        assert not is_storable(msgspec.structs.replace(BIN, **{name: value})), name
