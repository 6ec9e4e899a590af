"""Files of lines that are appended to."""

import pytest

from glue.errors import TapelineError
from glue.io.jsonl import CHUNK_BYTES, append_lines

LONG = b"x" * (CHUNK_BYTES + 7)


@pytest.mark.parametrize(
    ("before", "kept"),
    [
        (b"", b""),
        (b"a\nb\n", b"a\nb\n"),
        (b"a\nb", b"a\n"),
        (b"half", b""),
        (b"a\n" + LONG, b"a\n"),
        (LONG + b"\n" + LONG, LONG + b"\n"),
    ],
)
def test_half_a_line_is_cut_off_before_more_is_appended(tmp_path, before, kept):
    path = tmp_path / "logs" / "letters.jsonl"
    path.parent.mkdir()
    path.write_bytes(before)
    with append_lines(path) as file:
        file.write(b"c\n")
    assert path.read_bytes() == kept + b"c\n"


def test_a_file_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(TapelineError, match=str(tmp_path)):
        append_lines(tmp_path)
