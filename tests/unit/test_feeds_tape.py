"""The tape: numbering, encoding, since, and what is kept."""

import json
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glue.core.ticks import event_time_ms
from glue.errors import TapelineError
from glue.feeds import tape as tape_module
from glue.feeds.chunks import ChunkEncoder
from glue.feeds.lines import Entry, RawLine, SourceLine, SourceTick
from glue.feeds.tape import Tape, TapeDropped

START_MS = 1_600_000_000_000


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tape_module, "CHUNK_LINES", 4)


def entry(ms: int, *, due_ms: int | None = None, symbol: str = "A", shift_ms: int = 0) -> Entry:
    tick = SourceTick((START_MS + ms) * 1000, symbol, 1.5, 2.0)
    return START_MS + (ms if due_ms is None else due_ms), shift_ms, tick


def raw(text: bytes, due_ms: int, symbol: str = "") -> Entry:
    return START_MS + due_ms, 0, RawLine(text, symbol)


def read(tape: Tape, chunk: int = 0, line: int = 0, symbols: list[str] | None = None) -> list[bytes]:
    """Read a tape from a position to its end, as lines."""
    data, wanted = b"", tape.encoder.codes(symbols or [])
    while (current := tape.chunk(chunk)) is not None:
        part, count = current.part(line, len(current), wanted)
        assert part.count(b"\n") == count
        data += part
        chunk, line = chunk + 1, 0
    return data.splitlines()


def test_lines_are_numbered_in_their_order_and_raw_lines_take_a_number() -> None:
    tape = Tape([entry(0), raw(b"oops", 0), entry(1), entry(2), raw(b"{}", 2), entry(3)], ChunkEncoder())
    lines = read(tape)
    assert lines[1] == b"oops"
    assert lines[4] == b"{}"
    assert [json.loads(lines[at])["seq"] for at in (0, 2, 3, 5)] == [0, 2, 3, 5]


def test_a_historical_line_has_no_send_times_and_a_live_one_has_both() -> None:
    [historical] = read(Tape([entry(5)], ChunkEncoder()))
    assert json.loads(historical) == {
        "symbol": "A", "px": 1.5, "sz": 2.0, "event_ts": START_MS / 1000 + 0.005, "seq": 0,
    }  # fmt: skip
    encoder = ChunkEncoder(offset_ms=1000)
    [live] = read(Tape([entry(5, shift_ms=20)], encoder))
    assert json.loads(encoder.stamp(live, START_MS + 1234)) == {
        "symbol": "A", "px": 1.5, "sz": 2.0, "event_ts": START_MS / 1000 + 1.025, "seq": 0,
        "api_send_ts_ms": START_MS + 1234, "source_event_ts_ms": START_MS + 5,
    }  # fmt: skip


def test_bid_and_ask_are_there_where_known() -> None:
    tick = SourceTick(START_MS * 1000, "A", 1.5, 2.0, 1.4, 1.6)
    [line] = read(Tape([(START_MS, 0, tick)], ChunkEncoder()))
    assert (json.loads(line)["bid"], json.loads(line)["ask"]) == (1.4, 1.6)


@given(st.lists(st.integers(0, 4 * 10**15), min_size=1, max_size=20))
def test_event_ts_gives_back_the_exact_millisecond(times_us: list[int]) -> None:
    entries: list[Entry] = [(us // 1000, 0, SourceTick(us, "A", 1.0, 1.0)) for us in times_us]
    lines = read(Tape(entries, ChunkEncoder()))
    stamps = [json.loads(line)["event_ts"] for line in lines]
    assert [event_time_ms(event_ts) for event_ts in stamps] == [us // 1000 for us in times_us]
    assert [round(event_ts * 1e6) for event_ts in stamps] == times_us


def test_a_symbol_filter_keeps_the_numbers_and_the_raw_lines_of_no_symbol() -> None:
    entries = [
        entry(0, symbol="A"),
        entry(1, symbol="B"),
        raw(b"?", 1),
        raw(b"bad B", 1, "B"),
        raw(b"bad A", 1, "A"),
        entry(2, symbol="A"),
    ]
    lines = read(Tape(entries, ChunkEncoder()), symbols=["A"])
    assert lines[1:3] == [b"?", b"bad A"]
    assert [json.loads(lines[at])["seq"] for at in (0, 3)] == [0, 5]


LINES = st.one_of(st.integers(0, 30), st.just(None))


@given(st.lists(LINES, max_size=30), st.integers(-3, 35), st.integers(0, 8))
def test_since_gives_exactly_the_suffix_from_the_first_line_that_new(
    times: list[int | None], since: int, chunks_made: int
) -> None:
    entries = [raw(b"x", 0) if time is None else entry(time, due_ms=0) for time in times]
    tape = Tape(entries, ChunkEncoder())
    for _ in range(chunks_made):
        tape.grow()
    made = min(len(times), 4 * chunks_made)
    found = tape.find(START_MS + since)
    first = next((at for at, time in enumerate(times) if time is not None and time >= since), None)
    everything = read(Tape(entries, ChunkEncoder()))
    if first is None or first >= made:
        assert found is None
    else:
        assert found is not None
        assert read(tape, *found) == everything[first:]


def test_now_is_after_the_last_line_that_was_due() -> None:
    tape = Tape([entry(ms) for ms in (0, 1, 1, 2, 5, 5, 7)], ChunkEncoder())
    while tape.grow():
        pass
    assert tape.find_due_after(START_MS - 1) == (0, 0)
    assert tape.find_due_after(START_MS + 1) == (0, 3)
    assert tape.find_due_after(START_MS + 2) == (1, 0)
    assert tape.find_due_after(START_MS + 5) == (1, 2)
    assert tape.find_due_after(START_MS + 7) == (2, 0)


def test_an_old_since_is_refused_with_the_oldest_that_works() -> None:
    tape = Tape([entry(ms) for ms in range(100)], ChunkEncoder())
    while tape.grow():
        pass
    tape.trim(START_MS + 99, keep_ms=50, keep_bytes=2**30)
    with pytest.raises(TapeDropped) as refused:
        tape.find(START_MS)
    oldest_ms = refused.value.oldest_since_ms
    assert START_MS + 40 < oldest_ms <= START_MS + 49
    with pytest.raises(TapeDropped):
        tape.find(oldest_ms - 1)
    found = tape.find(oldest_ms)
    assert found is not None
    assert json.loads(read(tape, *found)[0])["event_ts"] == oldest_ms / 1000
    with pytest.raises(TapeDropped):
        tape.chunk(0)


def test_a_tape_keeps_no_more_bytes_than_allowed_of_what_is_past() -> None:
    tape = Tape((entry(ms) for ms in range(4000)), ChunkEncoder())
    for _ in range(1000):
        tape.grow()
        tape.trim(START_MS + 3000, keep_ms=10**9, keep_bytes=5000)
    assert json.loads(read(tape, *tape.find_due_after(START_MS + 3000))[0])["seq"] == 3001
    assert len(read(tape, *tape.find_due_after(START_MS + 3000))) == 999, (
        "what is not yet due is never dropped"
    )


def test_a_source_that_fails_is_never_taken_for_the_end() -> None:
    def failing() -> Iterator[Entry]:
        yield entry(0)
        raise TapelineError("WDC.txt: damaged")

    tape = Tape(failing(), ChunkEncoder())
    for _ in range(2):
        with pytest.raises(TapelineError, match="damaged"):
            tape.chunk(0)
    assert not tape.has_ended


def test_huge_raw_lines_make_small_chunks() -> None:
    lines: list[SourceLine] = [RawLine(b"x" * 2**21) for _ in range(3)]
    tape = Tape([(START_MS, 0, line) for line in lines], ChunkEncoder())
    assert [len(chunk) for number in range(3) if (chunk := tape.chunk(number))] == [1, 1, 1]
