"""Files become source lines: Kibot, Binance, NDJSON, and what tells them apart."""

import gzip
import json
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from glue.errors import TapelineError
from glue.feeds import binance, kibot, ndjson
from glue.feeds.chunks import ChunkEncoder
from glue.feeds.files import FileSource, TickFile, looks_like, symbol_of
from glue.feeds.lines import RawLine, SourceTick

SHARED = Path(__file__).parents[2] / ".." / "shared" / "data"
needs_recordings = pytest.mark.skipif(
    not SHARED.is_dir(), reason="the recordings in ../shared/data are absent"
)


def utc_us(text: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1e6)


def kibot_times(*rows: str, **options: bool) -> list[int]:
    lines = kibot.read((row.encode() for row in rows), "WDC", **options)
    return [line.event_us for line in lines if isinstance(line, SourceTick)]


# Kibot


def test_a_kibot_row_gives_price_size_bid_and_ask_in_new_york_time() -> None:
    [tick] = kibot.read([b"02/17/2010,09:30:01,42.87,42.7,43.01,1161"], "WDC")
    assert tick == SourceTick(utc_us("2010-02-17T14:30:01"), "WDC", 42.87, 1161.0, 42.7, 43.01)


def test_a_kibot_row_without_quotes_has_none() -> None:
    [tick] = kibot.read([b"02/17/2010,09:30:01,42.87,1161"], "WDC")
    assert tick == SourceTick(utc_us("2010-02-17T14:30:01"), "WDC", 42.87, 1161.0)


def test_kibot_times_follow_daylight_saving() -> None:
    winter, summer = kibot_times("03/12/2010,09:30:00,1,1", "03/15/2010,09:30:00,1,1")
    assert winter == utc_us("2010-03-12T14:30:00")
    assert summer == utc_us("2010-03-15T13:30:00")


def test_kibot_hours_around_both_clock_changes_are_right() -> None:
    assert kibot_times("03/14/2010,01:59:59,1,1", "03/14/2010,03:00:00,1,1") == [
        utc_us("2010-03-14T06:59:59"),
        utc_us("2010-03-14T07:00:00"),
    ]
    repeated = kibot_times(
        "11/07/2010,01:00:00,1,1",
        "11/07/2010,01:59:59,1,1",
        "11/07/2010,01:00:00,1,1",
        "11/07/2010,01:59:59,1,1",
        "11/07/2010,02:00:00,1,1",
    )
    assert repeated == [
        utc_us("2010-11-07T05:00:00"),
        utc_us("2010-11-07T05:59:59"),
        utc_us("2010-11-07T06:00:00"),
        utc_us("2010-11-07T06:59:59"),
        utc_us("2010-11-07T07:00:00"),
    ]


def test_without_premarket_only_the_regular_session_comes() -> None:
    rows = [f"02/17/2010,{time},1,1" for time in ("09:29:59", "09:30:00", "12:00:00", "16:00:00", "16:00:01")]
    assert len(kibot_times(*rows)) == 5
    assert len(kibot_times(*rows, include_premarket=False)) == 3


@pytest.mark.parametrize(
    "row",
    [
        b"02/30/2010,09:30:01,42.87,42.7,43.01,1161",
        b"02/17/2010,24:30:01,42.87,42.7,43.01,1161",
        b"02/17/2010,09:60:01,42.87,42.7,43.01,1161",
        b"02/17/2010,09:30:01,nan,42.7,43.01,1161",
        b"02/17/2010,09:30:01,0,42.7,43.01,1161",
        b"02/17/2010,09:30:01,42.87,42.7,43.01,-1",
        b"02/17/2010,09:30:01,4_2,42.7,43.01,1",
        b"02/17/2010,09:30:01,42.87,42.7",  # cut short: 42.7 is a bid, not a size
        b"\xff\xfe",
        b"02/17/2010,09:30:01," + b"1" * 10**6,
    ],
)
def test_a_bad_kibot_row_is_passed_on_as_it_is(row: bytes) -> None:
    good = b"02/17/2010,09:30:01,42.87,42.7,43.01,1161"
    lines = list(kibot.read([good, row, good], "WDC"))
    assert lines[1] == RawLine(row, "WDC")
    assert lines[0] == lines[2]


# Binance


def test_binance_rows_come_with_and_without_a_header() -> None:
    row = b"553287559,39432.48,0.000263,1610064000278,True"
    expected = [SourceTick(1610064000278000, "BTCUSDT", 39432.48, 0.000263)]
    assert list(binance.read([row], "BTCUSDT")) == expected
    header = b"trade_id,price,qty,time_ms,is_buyer_maker"
    assert list(binance.read([header, row], "BTCUSDT")) == expected


def test_binance_microseconds_are_told_by_their_magnitude() -> None:
    [tick] = binance.read([b"1,2.5,3,1735689600123456,True"], "X")
    assert tick == SourceTick(1735689600123456, "X", 2.5, 3.0)


def test_the_column_order_of_the_public_dumps_is_recognised() -> None:
    spot = b"1,2.5,3,7.5,1610064000278,True,True"
    aggregate = b"1,2.5,3,100,101,1610064000278,True,True"
    futures_header = b"id,price,qty,quote_qty,time,is_buyer_maker"
    expected = [SourceTick(1610064000278000, "X", 2.5, 3.0)]
    assert list(binance.read([spot], "X")) == expected
    assert list(binance.read([aggregate], "X")) == expected
    assert list(binance.read([futures_header, spot], "X")) == expected


@pytest.mark.parametrize(
    "row",
    [
        b"2,x,1,1610064000278",
        b"2,1,1,12",
        b"2,1",
        b"2,-1,1,1610064000278",
        b"2,inf,1,1610064000278",
        b"2,1_0,1,1610064000278",
        b"2,1,1,99999999999999999",
        b"2,1,1," + b"1" * 10**6,
    ],
)
def test_a_bad_binance_row_is_passed_on_as_it_is(row: bytes) -> None:
    good = b"1,2.5,3,1610064000278,True"
    assert list(binance.read([good, row], "X"))[1] == RawLine(row, "X")


# NDJSON


def test_ndjson_ticks_are_read_and_other_lines_passed_on() -> None:
    tick = b'{"symbol":"A","px":1.5,"sz":2,"event_ts":1610064000.278123,"bid":1.4,"seq":77}'
    bad = [
        b"{broken",
        b'{"symbol":"A","px":NaN,"sz":2,"event_ts":1}',
        b'{"symbol":"A","px":-1,"sz":2,"event_ts":1}',
        b'{"symbol":"a b","px":1,"sz":2,"event_ts":1}',
        b"\xff\x00",
        b"[1,2]",
    ]
    lines = list(ndjson.read([tick, *bad]))
    assert lines[0] == SourceTick(1610064000278123, "A", 1.5, 2.0, 1.4, None)
    assert lines[1:] == [RawLine(text) for text in bad]


def test_control_lines_of_a_recording_are_left_out() -> None:
    recording = [
        b'{"type":"hello","feed_id":"x","mode":"live","resume":"since"}',
        b'{"type":"heartbeat","event_ts":5}',
        b'{"type":"end"}',
    ]
    assert list(ndjson.read(recording)) == []


# Which is which


def test_formats_are_told_by_the_first_row() -> None:
    assert looks_like(b"02/17/2010,09:30:01,42.87,42.7,43.01,1161") == "kibot"
    assert looks_like(b"trade_id,price,qty,time_ms,is_buyer_maker") == "binance"
    assert looks_like(b"553287559,39432.48,0.000263,1610064000278,True") == "binance"
    assert looks_like(b'{"symbol":"A"}') == "ndjson"
    assert looks_like(b"hello, world") is None


def test_symbols_come_from_file_names() -> None:
    assert symbol_of(Path("d/WDC_tickbidask_20000.txt")) == "WDC"
    assert symbol_of(Path("BTCUSDT_trades_20210108.csv.gz")) == "BTCUSDT"
    assert symbol_of(Path("BTCUSDT-aggTrades-2021-01-08.csv")) == "BTCUSDT"
    assert symbol_of(Path("BRK.B.txt")) == "BRK.B"


def test_a_wrong_format_says_which_it_looks_like(tmp_path: Path) -> None:
    file = tmp_path / "WDC.txt"
    file.write_text("02/17/2010,09:30:01,42.87,42.7,43.01,1161\n")
    with pytest.raises(TapelineError, match=r"WDC\.txt, line 1: .* looks like kibot: use --format kibot"):
        TickFile(file, "binance")
    with pytest.raises(TapelineError, match="looks like kibot"):
        TickFile(file, "ndjson")


def test_a_bad_first_row_is_an_error_and_a_later_one_is_not(tmp_path: Path) -> None:
    file = tmp_path / "WDC.txt"
    file.write_text("oops\n02/17/2010,09:30:01,42.87,42.7,43.01,1161\n")
    with pytest.raises(TapelineError, match=r"WDC\.txt, line 1"):
        TickFile(file, "kibot")
    file.write_text("02/17/2010,09:30:01,42.87,42.7,43.01,1161\noops\n")
    assert RawLine(b"oops", "WDC") in TickFile(file, "kibot").lines()


@pytest.mark.parametrize("problem", ["absent", "empty", "directory", "damaged"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, problem: str) -> None:
    file = tmp_path / ("WDC.txt.gz" if problem == "damaged" else "WDC.txt")
    if problem == "empty":
        file.touch()
    elif problem == "directory":
        file.mkdir()
    elif problem == "damaged":
        file.write_bytes(gzip.compress(b"02/17/2010,09:30:01,42.87,1161\n")[:-8])
    with pytest.raises(TapelineError, match=r"WDC\.txt"):
        list(TickFile(file, "kibot").lines())


def test_a_gzip_file_reads_like_the_plain_one(tmp_path: Path) -> None:
    text = b"\xef\xbb\xbf02/17/2010,09:30:01,42.87,1161\r\n\r\n02/17/2010,09:30:02,42.88,5\r\n"
    plain, packed = tmp_path / "WDC_a.txt", tmp_path / "WDC_b.txt.gz"
    plain.write_bytes(text)
    packed.write_bytes(gzip.compress(text))
    assert list(TickFile(packed).lines()) == list(TickFile(plain).lines())
    assert len(list(TickFile(plain).lines())) == 2


def test_several_files_are_merged_by_event_time_and_one_keeps_its_order(tmp_path: Path) -> None:
    def write(name: str, times: list[int]) -> TickFile:
        file = tmp_path / name
        ticks = [{"symbol": name[0], "px": 1, "sz": 1, "event_ts": 1600000000 + time} for time in times]
        file.write_text("".join(json.dumps(tick) + "\n" for tick in ticks))
        return TickFile(file)

    def order(source: FileSource) -> list[tuple[str, int]]:
        return [
            (line.symbol, line.event_us // 1_000_000 - 1600000000)
            for _, _, line in source.entries()
            if isinstance(line, SourceTick)
        ]

    a, b = write("a.ndjson", [1, 4, 3, 6]), write("b.ndjson", [2, 4, 5])
    assert order(FileSource([a])) == [("a", 1), ("a", 4), ("a", 3), ("a", 6)]
    assert order(FileSource([a, b])) == [
        ("a", 1), ("b", 2), ("a", 4), ("a", 3), ("b", 4), ("b", 5), ("a", 6),
    ]  # fmt: skip
    assert FileSource([a], survey=True).disorder_ms == 1000


def test_a_loop_adds_the_span_so_that_time_goes_on(tmp_path: Path) -> None:
    file = tmp_path / "WDC.txt"
    file.write_text("".join(f"02/17/2010,09:30:{second:02},1,1\n" for second in (1, 4, 9)))
    entries = FileSource([TickFile(file)], loop=True).entries()
    clocks_s = [next(entries)[0] // 1000 - utc_us("2010-02-17T14:30:00") // 1_000_000 for _ in range(7)]
    assert clocks_s == [1, 4, 9, 10, 13, 18, 19]


@needs_recordings
def test_every_row_of_the_recordings_is_a_tick() -> None:
    wdc = list(TickFile(SHARED / "WDC_tickbidask_20000.txt").lines())
    btc = list(TickFile(SHARED / "BTCUSDT_trades_20210108.csv").lines())
    assert [len(wdc), len(btc)] == [20_000, 2_001]
    assert all(isinstance(line, SourceTick) for line in [*wdc, *btc])
    assert {line.symbol for line in wdc} == {"WDC"}
    assert {line.symbol for line in btc} == {"BTCUSDT"}
    assert wdc[0] == SourceTick(utc_us("2010-02-17T14:30:01"), "WDC", 42.87, 1161.0, 42.7, 43.01)


def test_a_recorded_number_in_a_bad_line_gives_way_to_the_feeds_own() -> None:
    rows = [b'{"symbol":"A","px":-1,"sz":1,"event_ts":1,"seq":777}', b'{"px":', b"[7]"]
    entries = [(0, 0, RawLine(row)) for row in rows]
    first, *others = ChunkEncoder().encode(entries).data.splitlines()
    assert msgspec.json.decode(first) == {"symbol": "A", "px": -1, "sz": 1, "event_ts": 1, "seq": 0}
    assert others == rows[1:]
