"""Feed lines: what is a tick, what is a control line, what is neither."""

import json
from typing import Any

import pytest
from feed_lines import END, tick_line
from hypothesis import example, given, settings
from hypothesis import strategies as st
from strategies import BAD_LINES

from glue.core.ticks import (
    MAX_EVENT_MS,
    BadLine,
    Control,
    Tick,
    decode_chunk,
    decode_line,
    event_time_ms,
    is_symbol,
    split_lines,
)

GOOD = b'{"symbol":"A","px":1.5,"sz":2,"event_ts":1600000000.25}'


def with_field(**changes: Any) -> bytes:
    return json.dumps({"symbol": "A", "px": 1.5, "sz": 2, "event_ts": 1600000000.25} | changes).encode()


def test_a_tick_needs_symbol_price_size_and_event_time():
    assert decode_line(GOOD) == Tick("A", 1.5, 2.0, 1600000000.25)
    for name in ("symbol", "px", "sz", "event_ts"):
        fields = json.loads(GOOD)
        del fields[name]
        line = decode_line(json.dumps(fields).encode())
        assert isinstance(line, BadLine)
        assert name in line.detail


def test_a_tick_may_carry_quotes_number_and_times():
    line = decode_line(with_field(bid=1.4, ask=1.6, seq=7, api_send_ts_ms=12, source_event_ts_ms=13))
    assert line == Tick("A", 1.5, 2.0, 1600000000.25, 7, 12, 13, 1.4, 1.6)


def test_optional_fields_may_be_null_and_unknown_ones_are_ignored():
    line = decode_line(with_field(bid=None, seq=None, type=None, venue={"name": "X", "flags": [1, 2]}))
    assert line == Tick("A", 1.5, 2.0, 1600000000.25)


@pytest.mark.parametrize("name", sorted(BAD_LINES))
def test_a_bad_line_is_a_value_with_a_reason_and_no_exception(name):
    line = decode_line(BAD_LINES[name])
    assert isinstance(line, BadLine), line
    assert line.detail


@pytest.mark.parametrize("name", sorted(BAD_LINES))
def test_a_bad_line_costs_neither_neighbour(name):
    chunk = GOOD + b"\n" + BAD_LINES[name] + b"\n" + GOOD + b"\n"
    raws, lines = split_lines(chunk), decode_chunk(chunk)
    assert raws == [GOOD, BAD_LINES[name], GOOD]
    assert [type(line) for line in lines] == [Tick, BadLine, Tick]


def test_the_number_of_a_bad_line_is_kept_where_it_can_be_read():
    assert decode_line(with_field(px=-1, seq=7)) == BadLine("Expected `float` > 0.0 - at `$.px`", 7)
    assert decode_line(with_field(type="trade", seq=7)).seq == 7
    assert decode_line(with_field(px="1", seq=-7)).seq is None
    assert decode_line(b'{"px":"x","seq":7').seq is None


def test_a_line_wrong_first_and_broken_later_is_a_bad_line():
    # The decoder stops at the wrong value; the second look reads on and meets the broken end.
    assert isinstance(decode_line(b'{"symbol":5,'), BadLine)
    assert isinstance(decode_line(b'{"symbol":"A","px":"x","sz":1,"event_ts":1,"no'), BadLine)
    assert isinstance(decode_line(b'{"symbol":5,"x":' + b"[" * 100_000), BadLine)


def test_numbers_at_the_edge_are_taken():
    assert decode_line(with_field(px=5e-324)).px == 5e-324
    assert decode_line(with_field(px=1e15)).px == 1e15
    assert decode_line(with_field(sz=0)).sz == 0
    assert decode_line(with_field(event_ts=0)).event_ts == 0
    assert event_time_ms(decode_line(with_field(event_ts=253402300799.999)).event_ts) == MAX_EVENT_MS
    assert decode_line(with_field(seq=2**63 - 1)).seq == 2**63 - 1


def test_control_lines_are_told_by_their_type():
    hello = b'{"type":"hello","feed_id":"f","mode":"live","resume":"since","speed":2}'
    assert decode_line(hello) == Control("hello", None, "f", "live", "since")
    assert decode_line(b'{"type":"heartbeat","event_ts":1.5}') == Control("heartbeat", 1.5)
    assert decode_line(END) == Control("end")


def test_event_time_is_rounded_to_microseconds_and_cut_to_milliseconds():
    assert event_time_ms(1.0) == 1000
    assert event_time_ms(1.0009996) == 1001  # 1,001,000 us after rounding
    assert event_time_ms(1.0009994) == 1000
    assert event_time_ms(1610064000.278) == 1610064000278  # the double is just below .278
    assert event_time_ms(0.0) == 0


@given(st.integers(0, 2**53 // 1000))  # microseconds are exact in a double until the year 2255
@settings(max_examples=500, derandomize=True, database=None)
@example(1610064000278)
def test_whole_milliseconds_survive_the_way_through_json_seconds(event_ms):
    assert event_time_ms(decode_line(tick_line("A", event_ms)).event_ts) == event_ms


def test_a_symbol_has_1_to_32_plain_characters():
    for good in ("A", "BRK.B", "ES-H5", "X:BTC/USD", "a_b", "0", "a" * 32):
        assert is_symbol(good)
    for bad in ("", "a" * 33, "~wm0", "A B", "A\n", "Ä", "A,B", "A'", "A|B"):
        assert not is_symbol(bad)


def test_blank_lines_are_dropped_and_carriage_returns_are_blanks():
    chunk = b"\n" + GOOD + b"\r\n \t\r\n\r\n" + GOOD + b"\n\n"
    raws, lines = split_lines(chunk), decode_chunk(chunk)
    assert len(raws) == 2
    assert lines == [decode_line(GOOD)] * 2
    assert decode_chunk(b"\n") == decode_chunk(b"") == []


def test_a_value_over_two_lines_is_two_bad_lines():
    chunk = b'{"symbol":"A","px":1.5,\n"sz":2,"event_ts":1600000000.25}\n'
    raws, lines = split_lines(chunk), decode_chunk(chunk)
    assert len(raws) == 2
    assert [type(line) for line in lines] == [BadLine, BadLine]


def test_two_values_on_a_line_beside_a_value_over_two_lines_shift_nothing():
    cut = GOOD.index(b'"sz"')  # as many braces as lines, and all of it well-formed JSON
    half, rest = GOOD[:cut], GOOD[cut:]
    chunk = b"\n".join([GOOD + GOOD, half, rest, GOOD]) + b"\n"
    raws, lines = split_lines(chunk), decode_chunk(chunk)
    assert raws == [GOOD + GOOD, half, rest, GOOD]
    assert [type(line) for line in lines] == [BadLine, BadLine, BadLine, Tick]


def test_a_string_does_not_run_over_a_line_feed():
    first, second = b'{"symbol":"A","px":1.5,"sz":2,"event_ts":1,"note":"x', b'{ "}'
    chunk = first + b"\n" + second + b"\n"
    raws, lines = split_lines(chunk), decode_chunk(chunk)
    assert raws == [first, second]
    assert [type(line) for line in lines] == [BadLine, BadLine]


MARKS = [b"{", b"}", b"[", b'"', b",", b":", b"\n", b"\r", b" ", b"1", b"-", b"e9", b"NaN", b"\xff", b"\x00"]
FIELDS = [b'"symbol":"A"', b'"px":', b'"sz":1', b'"event_ts":1', b'"type":"end"', b'"seq":3', b"\xc3"]
PIECES = st.sampled_from([*MARKS, *FIELDS, GOOD, END, *BAD_LINES.values()])


@given(st.lists(st.one_of(PIECES, st.binary(max_size=4)), max_size=12).map(b"".join))
@settings(max_examples=600, derandomize=True, database=None)
@example(GOOD + b"\n" + GOOD + GOOD + b"\n")
def test_a_chunk_decodes_as_its_lines_do_one_by_one_whatever_the_bytes_are(chunk):
    raws, lines = split_lines(chunk), decode_chunk(chunk)
    assert raws == [raw for raw in chunk.split(b"\n") if raw.strip()]
    assert lines == [decode_line(raw) for raw in raws]
