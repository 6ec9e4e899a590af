"""scripts/validate_aggregates.py: which lines of a feed are ticks, and what market files become."""

import gzip
import hashlib
from pathlib import Path

import pytest
from validate_cases import END, HELLO, Outcome, Validator, a_bin, letter, mark, raw, tick

# isort: split
from validate.database import open_database
from validate.feed_lines import load_captures
from validate.rules import Rules

GOOD = b'"symbol":"A","px":1.5,"sz":2,"event_ts":10.0'
LINES: dict[bytes, str] = {
    b"{" + GOOD + b"}": "tick",
    b' \t{"event_ts":10,"sz":0,"px":1e2,"symbol":"a.B/c:d_e-9"} \r': "tick",
    b"{" + GOOD + b',"bid":1,"ask":null,"seq":7,"api_send_ts_ms":1,"source_event_ts_ms":null}': "tick",
    b"{" + GOOD + b',"venue":{"name":"X","flags":[1,2]},"note":"a \\"quote\\" and \xc3\xa9"}': "tick",
    b'{"symbol":"\\u0041","px":1.5,"sz":2,"event_ts":10.0}': "tick",
    b'{"px":-1,' + GOOD + b"}": "tick",  # of two equal keys the last counts
    b'{"symbol":"A","px":5e-324,"sz":1e15,"event_ts":10.0}': "tick",
    b'{"symbol":"A","px":1,"sz":1,"event_ts":253402300799.999}': "tick",  # the last ms of the year 9999
    b'{"type":null,' + GOOD + b"}": "tick",
    b'{"symbol":"A","px":1,"sz":1,"event_ts":-0.0}': "tick",
    b'{"type":"heartbeat","event_ts":10.5}': "heartbeat",
    b'{"type":"heartbeat","event_ts":10,"px":"anything"}': "heartbeat",
    b'{"type":"heartbeat","event_ts":10,"seq":"x"}': "invalid: seq",
    b'{"type":"heartbeat"}': "invalid: event_ts",
    b'{"type":"heartbeat","event_ts":-1}': "invalid: event_ts",
    b'{"type":"heartbeat","event_ts":"10"}': "invalid: event_ts",
    b'{"type":"hello","mode":"live"}': "invalid: hello, but not the first line",
    b'{"type":"tick",' + GOOD + b"}": "invalid: unknown type",
    b'{"type":7,' + GOOD + b"}": "invalid: unknown type",
    b"no JSON": "invalid: not a JSON object",
    b"[1,2]": "invalid: not a JSON object",
    b"null": "invalid: not a JSON object",
    b"\xef\xbb\xbf{" + GOOD + b"}": "invalid: not a JSON object",  # a byte order mark
    b"{" + GOOD: "invalid: not a JSON object",
    b"{" + GOOD + b",}": "invalid: not a JSON object",
    b"{" + GOOD + b"}{" + GOOD + b"}": "invalid: not a JSON object",
    b"{" + GOOD + b',"bid":NaN}': "invalid: not a JSON object",
    b"{" + GOOD + b',"x":-Infinity}': "invalid: not a JSON object",
    b"{" + GOOD + b',"x":"\x01"}': "invalid: not a JSON object",
    b"{" + GOOD + b',"x":"\x00"}': "invalid: not a JSON object",
    b"{" + GOOD + b',"x":"\xff"}': "invalid: not a JSON object",
    b"[" * 5000 + b"]" * 5000: "invalid: not a JSON object",
    b'{"symbol":"A","px":01.5,"sz":2,"event_ts":10.0}': "invalid: not a JSON object",
    b"{'symbol':'A'}": "invalid: not a JSON object",
    b"{}": "invalid: event_ts",
    b'{"px":1,"sz":1,"event_ts":10}': "invalid: symbol",
    b'{"symbol":7,"px":1,"sz":1,"event_ts":10}': "invalid: symbol",
    b'{"symbol":"","px":1,"sz":1,"event_ts":10}': "invalid: symbol",
    b'{"symbol":"A B","px":1,"sz":1,"event_ts":10}': "invalid: symbol",
    b'{"symbol":"A\\n","px":1,"sz":1,"event_ts":10}': "invalid: symbol",
    b'{"symbol":"~wm0","px":1,"sz":1,"event_ts":10}': "invalid: symbol",
    b'{"symbol":"\xc3\x84","px":1,"sz":1,"event_ts":10}': "invalid: symbol",
    b'{"symbol":"' + b"A" * 33 + b'","px":1,"sz":1,"event_ts":10}': "invalid: symbol",
    b'{"symbol":"' + b"B" * 32 + b'","px":1,"sz":1,"event_ts":10}': "tick",
    b'{"symbol":"A","sz":1,"event_ts":10}': "invalid: px",
    b'{"symbol":"A","px":0,"sz":1,"event_ts":10}': "invalid: px",
    b'{"symbol":"A","px":-1.5,"sz":1,"event_ts":10}': "invalid: px",
    b'{"symbol":"A","px":"1","sz":1,"event_ts":10}': "invalid: px",
    b'{"symbol":"A","px":true,"sz":1,"event_ts":10}': "invalid: px",
    b'{"symbol":"A","px":[1],"sz":1,"event_ts":10}': "invalid: px",
    b'{"symbol":"A","px":1e400,"sz":1,"event_ts":10}': "invalid: px",
    b'{"symbol":"A","px":1,"sz":-1,"event_ts":10}': "invalid: sz",
    b'{"symbol":"A","px":1,"sz":null,"event_ts":10}': "invalid: sz",
    b'{"symbol":"A","px":1000000000000000.2,"sz":1,"event_ts":10}': "invalid: px",
    b'{"symbol":"A","px":123456789012345678901234567890,"sz":1,"event_ts":10}': "invalid: px",
    b'{"symbol":"A","px":1,"sz":1e16,"event_ts":10}': "invalid: sz",
    b'{"symbol":"A","px":1,"sz":1,"event_ts":-1e-9}': "invalid: event_ts",
    b'{"symbol":"A","px":1,"sz":1,"event_ts":253402300800}': "invalid: event_ts",
    b'{"symbol":"A","px":1,"sz":1,"event_ts":1e300}': "invalid: event_ts",
    b'{"symbol":"A","px":1,"sz":1,"event_ts":"10"}': "invalid: event_ts",
    b"{" + GOOD + b',"bid":"1"}': "invalid: bid",
    b"{" + GOOD + b',"ask":false}': "invalid: ask",
    b"{" + GOOD + b',"seq":1.5}': "invalid: seq",
    b"{" + GOOD + b',"seq":"1"}': "invalid: seq",
    b"{" + GOOD + b',"seq":-1}': "invalid: seq",
    b"{" + GOOD + b',"seq":9223372036854775808}': "invalid: seq",
    b"{" + GOOD + b',"api_send_ts_ms":253402300800000}': "invalid: api_send_ts_ms",
    b"{" + GOOD + b',"seq":{}}': "invalid: seq",
    b"{" + GOOD + b',"api_send_ts_ms":1e3}': "invalid: api_send_ts_ms",
    b"{" + GOOD + b',"source_event_ts_ms":[]}': "invalid: source_event_ts_ms",
    b"{" + GOOD + b',"x":"\\ud800"}': "invalid: not a JSON object",
    b"{" + GOOD + b',"x":"' + b"y" * 100_000 + b'"}': "tick",
    b"{" + GOOD + b',"x":"' + b"y" * (1048576 - len(GOOD) - 9) + b'"}': "tick",
    b"{" + GOOD + b',"x":"' + b"y" * (1048577 - len(GOOD) - 9) + b'"}': "invalid: longer than 1 MiB",
    b"z" * 100_000: "invalid: not a JSON object",
    b'{"type":"end"}': "end",
    b"{" + GOOD + b',"seq":99}': "invalid: after the end",
    b'{"type":"end","again":1}': "invalid: after the end",
}  # fmt: skip


def judged(folder: Path, data: bytes) -> list[tuple[int, str, str]]:
    """Return (line_no, kind and why, hash) of the lines of a capture."""
    (folder / "capture").write_bytes(data)
    with open_database(folder / "db", Rules()) as con:
        load_captures(con, [folder / "capture"], lambda lines: None)
        return con.execute(
            "SELECT line_no, concat_ws(': ', kind, detail), sha256 FROM feed ORDER BY line_no"
        ).fetchall()


def test_lines_are_judged_as_the_feed_protocol_says(tmp_path: Path) -> None:
    found = judged(tmp_path, b"\n".join(LINES))
    kinds = [(line[:90], kind) for line, (_, kind, _) in zip(LINES, found, strict=True)]
    assert kinds == [(line[:90], kind) for line, kind in LINES.items()]


def test_the_hash_is_over_the_whole_raw_line(tmp_path: Path) -> None:
    found = judged(tmp_path, b"\r\n".join(LINES))
    assert [sha for _, _, sha in found] == [hashlib.sha256(line.rstrip(b"\r")).hexdigest() for line in LINES]


def test_blank_lines_are_skipped_but_count_as_lines(tmp_path: Path) -> None:
    found = judged(tmp_path, b"\n \t\r\n" + raw(HELLO) + b"\n\v\n\f\n" + raw(tick(1)) + b"\n\n")
    assert [(line_no, kind) for line_no, kind, _ in found] == [(3, "hello"), (6, "tick")]


def test_lines_are_the_same_in_any_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = b"\n".join(LINES)
    whole = judged(tmp_path, data)
    monkeypatch.setattr("validate.feed_lines.CHUNK_BYTES", 257)
    (tmp_path / "db").unlink()
    assert judged(tmp_path, data) == whole


@pytest.mark.parametrize(
    ("event_ts", "ms"),
    [
        ("10", 10_000),
        ("1610064000.278", 1_610_064_000_278),
        ("1610064000.2789999", 1_610_064_000_279),  # to whole microseconds first
        ("1610064000.278999", 1_610_064_000_278),  # then down to milliseconds
        ("0.0009994", 0),
        ("0.0009996", 1),
    ],
)
def test_event_time_is_rounded_to_microseconds_and_cut_to_milliseconds(
    tmp_path: Path, event_ts: str, ms: int
) -> None:
    (tmp_path / "capture").write_text(f'{{"symbol":"A","px":1,"sz":1,"event_ts":{event_ts}}}')
    with open_database(tmp_path / "db", Rules()) as con:
        load_captures(con, [tmp_path / "capture"], lambda lines: None)
        assert con.execute("SELECT event_ts_ms FROM feed").fetchall() == [(ms,)]


@pytest.fixture
def validator(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Validator:
    return Validator(tmp_path, capsys)


BAD = (
    b"no JSON",
    b'{"symbol":"A","px":"\xff\xfe","sz":1,"event_ts":10}',
    b"\xc3\xa9" * 5000,
    raw(tick(10_001, -1.0)),
)


def test_invalid_lines_are_dead_letters_and_the_feed_goes_on(validator: Validator) -> None:
    outcome = Outcome(
        feed=[HELLO, tick(10_000), *BAD, tick(10_002), END, tick(10_003)],
        bins=[a_bin(10_000, 11_500, (10.0, 1.0), (10.0, 1.0)), mark(11_500)],
        letters=[letter(line, "invalid") for line in (*BAD, tick(10_003))],
    )
    assert validator.differences(outcome) == {}
    # What the worker could read of an invalid line may be there, but not be wrong.
    outcome.letters[3] |= {"symbol": "A", "event_ts_ms": 10_001}
    assert validator.differences(outcome) == {}
    outcome.letters[3] |= {"symbol": "B"}
    outcome.letters[2] |= {"line": "something else"}
    assert validator.differences(outcome) == {"dead_letter_fields": 2, "dead_letter_sanity": 1}


KIBOT = """\
02/17/2010,09:29:59,42.80,42.7,43.01,100
02/17/2010,09:30:01,42.87,42.7,43.01,1161
02/17/2010,09:30:01,42.85,42.7,42.98,39
"""
KIBOT_BINS = [
    a_bin(1_266_416_999_000, 1_266_417_000_980, (42.80, 100.0), symbol="WDC"),
    mark(1_266_417_000_980),
    a_bin(1_266_417_001_000, 1_266_417_002_500, (42.87, 1161.0), (42.85, 39.0), symbol="WDC"),
    mark(1_266_417_002_500),
]
BINANCE = """\
trade_id,price,qty,time_ms,is_buyer_maker
553287559,39432.48,0.000263,1610064000278,True
553287560,39439.44,0.004376,1610064000279,False
"""
BINANCE_BINS = [
    a_bin(1_610_064_000_270, 1_610_064_001_500, (39432.48, 0.000263), (39439.44, 0.004376), symbol="BTC"),
    mark(1_610_064_001_500),
]


@pytest.mark.parametrize(
    ("name", "text", "bins", "options"),
    [
        ("WDC_tickbidask.txt", KIBOT, KIBOT_BINS, ()),
        ("WDC_tickbidask.txt", KIBOT, KIBOT_BINS[2:], ("--no-premarket",)),
        ("2010.txt", KIBOT, KIBOT_BINS, ("--symbol", "WDC", "--ticks-format", "kibot")),
        ("BTC-trades.csv.gz", BINANCE, BINANCE_BINS, ()),
        ("BTC-trades.csv", BINANCE.partition("\n")[2], BINANCE_BINS, ()),
    ],
    ids=["kibot", "kibot regular hours", "kibot, symbol given", "binance, gzip", "binance without header"],
)
def test_market_files_are_read_as_a_feed_would_serve_them(
    validator: Validator, name: str, text: str, bins: list[dict[str, object]], options: tuple[str, ...]
) -> None:
    path = validator.folder / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    (validator.folder / "dlt.jsonl").touch()
    ticks = ("--ticks", str(path), "--dlt", str(validator.folder / "dlt.jsonl"))
    report = validator.report(Outcome(bins=bins), *ticks, *options)
    assert report["differences"] == 0, report


def test_several_market_files_are_merged_by_event_time(validator: Validator) -> None:
    folder = validator.folder
    (folder / "AA_1.csv").write_text("1,10,1,20000\n2,10,1,22000\n")
    (folder / "BB_1.csv").write_text("1,10,1,21000\n2,0,1,21500\n")
    bins = [
        a_bin(20_000, 20_980, (10.0, 1.0), symbol="AA"),
        mark(20_980),
        a_bin(21_000, 21_980, (10.0, 1.0), symbol="BB"),
        mark(21_980),
        a_bin(22_000, 23_500, (10.0, 1.0), symbol="AA"),
        mark(23_500),
    ]
    outcome = Outcome(feed=[b"-"], bins=bins, letters=[letter(b"a line with px 0", "invalid")])
    files = (str(folder / "AA_1.csv"), str(folder / "BB_1.csv"))
    assert validator.differences(outcome, "--ticks", *files) == {}
    outcome.letters.clear()
    assert validator.differences(outcome, "--ticks", *files) == {
        "missing_dead_letters": 1,
        "tick_conservation": 1,
    }
