"""Which workers run here, looked at while they come and go."""

import os
from pathlib import Path

import msgspec
import psutil
import pytest

from glue import presence
from glue.presence import Presence, present, running

ME = psutil.Process()


def put(folder: Path, name: str, create_time: float) -> None:
    told = Presence(name, ME.pid, create_time, "http://127.0.0.1:1/metrics")
    (folder / f"{name}.json").write_bytes(msgspec.json.encode(told))


def test_a_worker_that_ends_while_the_others_are_read_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, "aggregate", ME.create_time())
    put(tmp_path, "replay", ME.create_time())
    read_bytes = Path.read_bytes

    def ends_meanwhile(path: Path) -> bytes:
        (tmp_path / "replay.json").unlink(missing_ok=True)
        return read_bytes(path)

    monkeypatch.setattr(Path, "read_bytes", ends_meanwhile)
    assert [found.name for found in running(tmp_path)] == ["aggregate"]


def test_a_worker_is_known_when_the_clock_was_corrected_and_another_process_is_not(tmp_path: Path) -> None:
    put(tmp_path, "corrected", ME.create_time() + 1)
    put(tmp_path, "another", ME.create_time() - 3600)
    assert [found.name for found in running(tmp_path)] == ["corrected"]
    assert not (tmp_path / "another.json").exists()


def test_a_worker_that_begins_is_told_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presence, "RUN_DIR", tmp_path)
    write_bytes, seen = Path.write_bytes, []

    def looked_at(path: Path, content: bytes) -> int:
        write_bytes(path, content[:5])
        seen.append(running(tmp_path))
        return write_bytes(path, content)

    monkeypatch.setattr(Path, "write_bytes", looked_at)
    with present("replay", "http://127.0.0.1:1/metrics"):
        assert seen == [[]]
        assert [found.pid for found in running(tmp_path)] == [os.getpid()]
    assert list(tmp_path.iterdir()) == []
