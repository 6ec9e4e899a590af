"""Files of raw bins on disk: whole or not at all, the same bytes each time, and found again."""

import gzip
from pathlib import Path

import pytest

from glue.core.bins import TickBin
from glue.core.staged import Span, line_of
from glue.errors import TapelineError
from glue.io.spool import Spool

BIN = TickBin("WDC-10", "WDC", 10, 20, 10, 1.5, 2.25, 1.125, 2.0, 3.0, 4.5, 2, 7, 520, None, 11, 530)
ID = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    made = Spool(tmp_path / "raw", "ticks.raw", ID)
    made.open()
    return made


def ended(spool: Spool, first: int, offsets: list[int]) -> Span:
    part = spool.part(2, first)
    for offset in offsets:
        part.add(line_of(BIN, 2, offset), offset)
    return spool.finish(part)


def left_open(spool: Spool, first: int, offsets: list[int]) -> Path:
    part = spool.part(2, first)
    for offset in offsets:
        part.add(line_of(BIN, 2, offset), offset)
    part.close()
    return part.path


def names(spool: Spool) -> list[str]:
    return sorted(path.name for path in spool.folder.iterdir())


def test_an_ended_file_has_its_lines_and_is_the_same_bytes_each_time(spool: Spool, tmp_path: Path) -> None:
    span = ended(spool, 5, [6, 8])
    assert span == Span(2, 5, 8, 2)
    assert names(spool) == ["2-5-8.ndjson.gz"]
    assert gzip.decompress(spool.path(span).read_bytes()) == line_of(BIN, 2, 6) + line_of(BIN, 2, 8)
    other = Spool(tmp_path / "other", "ticks.raw", ID)
    other.open()
    assert spool.path(span).read_bytes() == other.path(ended(other, 5, [6, 8])).read_bytes()


def test_what_was_left_is_gone_on_with_in_its_order(spool: Spool) -> None:
    first, second = ended(spool, 5, [6, 8]), ended(spool, 9, [9])
    left_open(spool, 10, [10, 12])
    assert spool.left(2, 5, 0) == [first, second, Span(2, 10, 12, 2)]
    assert names(spool) == ["2-10-12.ndjson.gz", "2-5-8.ndjson.gz", "2-9-9.ndjson.gz"]


def test_half_a_line_is_cut_off(spool: Spool) -> None:
    path = left_open(spool, 0, [0, 1])
    path.write_bytes(path.read_bytes()[:-7])
    assert spool.left(2, 0, 0) == [Span(2, 0, 0, 1)]


@pytest.mark.parametrize("content", [b"", b'{"half', b"\0\0\0\n", b"{}\n"])
def test_a_file_without_a_line_is_no_file(spool: Spool, content: bytes) -> None:
    left_open(spool, 0, []).write_bytes(content)
    assert spool.left(2, 0, 0) == []
    spool.forget(2, [])
    assert names(spool) == []


def test_a_file_that_does_not_follow_on_is_forgotten_unless_the_topic_has_nothing_before_it(
    spool: Spool,
) -> None:
    span = ended(spool, 50, [60])
    assert spool.left(2, 40, 49) == []
    assert spool.left(2, 51, 0) == []
    assert spool.left(2, 40, 50) == [span]
    spool.forget(2, [])
    assert names(spool) == []


def test_only_the_files_of_a_partition_are_forgotten(spool: Spool) -> None:
    span = ended(spool, 5, [6])
    for other in ("22-5-6.ndjson.gz", "1-2-3.ndjson.gz"):
        (spool.folder / other).touch()
    ended(spool, 7, [8])
    spool.forget(2, [span])
    assert names(spool) == ["1-2-3.ndjson.gz", "2-5-6.ndjson.gz", "22-5-6.ndjson.gz"]


def test_what_a_killed_process_was_writing_is_removed(spool: Spool) -> None:
    (spool.folder / "2.4711.tmp").write_bytes(b"half")
    spool.open()
    assert names(spool) == []


def test_of_a_topic_that_is_gone_only_files_are_left(spool: Spool) -> None:
    root, span = spool.folder.parent, ended(spool, 5, [6])
    for name in ("ticks.raw-1", "ticks.raw-x-1"):
        (root / name).mkdir()
    newer = Spool(root, "ticks.raw", "2")
    newer.open()
    assert sorted(path.name for path in root.iterdir()) == [f"ticks.raw-{ID}", "ticks.raw-2", "ticks.raw-x-1"]
    assert spool.has(span)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "raw").write_text("a file")
    with pytest.raises(TapelineError, match=r"cannot write .*raw.*LOG_DIR"):
        Spool(tmp_path / "raw", "ticks.raw", ID).open()


def test_a_topic_name_begins_no_comment_in_sql(tmp_path: Path) -> None:
    assert "--" not in Spool(tmp_path, "ticks--raw", ID).folder.name
