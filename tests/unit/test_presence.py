"""The list of running workers, looked at while they come and go."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from glue import presence
from glue.presence import present, running

TIMES = 1_000


def test_workers_that_come_and_go_while_one_looks_are_there_or_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presence, "RUN_DIR", tmp_path)

    def come_and_go() -> None:
        for _ in range(TIMES):
            with present("replay", "http://a"):
                pass

    def look() -> set[tuple[str, int]]:
        return {(found.name, found.pid) for _ in range(TIMES) for found in running(tmp_path)}

    with ThreadPoolExecutor(2) as threads:
        worker, seen = threads.submit(come_and_go), threads.submit(look)
        worker.result()
        assert seen.result() <= {("replay", os.getpid())}
    assert list(tmp_path.iterdir()) == []


def test_one_that_ends_between_list_and_look_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presence, "RUN_DIR", tmp_path)
    (tmp_path / "aggregate-1.json").symlink_to(tmp_path / "gone")
    with present("replay", "http://a"):
        assert [found.pid for found in running(tmp_path)] == [os.getpid()]
