"""Blobs of the local Snowflake: they go once registered, or after an hour; no client disturbs another."""

import os
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from glue.stack import snowflake_blobs
from glue.stack.snowflake_blobs import UNCLAIMED_AFTER_S, Blobs

TIMES = 300


@pytest.fixture(autouse=True)
def prune_every_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snowflake_blobs, "PRUNED_EVERY_S", 0)


def at_once(*works: Callable[[], None]) -> None:
    """Run works in threads and raise what they raise."""
    with ThreadPoolExecutor(len(works)) as threads:
        for work in [threads.submit(work) for work in works]:
            work.result()


def put(folder: Path, name: str, age_s: float) -> Path:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"x")
    at_s = time.time() - age_s
    for path in (file, file.parent):
        os.utime(path, (at_s, at_s))
    return file


def test_unclaimed_blobs_and_empty_folders_are_deleted_and_newer_ones_are_kept(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path)
    old = put(blobs.folder, "1/old.bdec", UNCLAIMED_AFTER_S + 60)
    new = put(blobs.folder, "2/new.bdec", UNCLAIMED_AFTER_S - 60)
    empty = put(blobs.folder, "3/gone.bdec", 0).parent
    (empty / "gone.bdec").unlink()
    os.utime(empty, (0, 0))

    blobs.prune()

    assert [path for path in (old, new, empty) if path.exists()] == [new]


def test_a_start_deletes_what_nobody_claims(tmp_path: Path) -> None:
    old = put(Blobs(tmp_path).folder, "1/old.bdec", UNCLAIMED_AFTER_S + 60)

    Blobs(tmp_path)

    assert not old.exists()


def test_it_is_looked_for_once_a_minute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snowflake_blobs, "PRUNED_EVERY_S", 60)
    blobs = Blobs(tmp_path)
    old = put(blobs.folder, "1/old.bdec", UNCLAIMED_AFTER_S + 60)

    blobs.prune()

    assert old.exists()


def test_a_blob_that_was_registered_is_deleted_under_no_other_writer(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path)

    def client(name: str) -> None:
        for i in range(TIMES):
            put(blobs.folder, f"2026/1/{name}{i}.bdec", 0)
            blobs.remove(f"2026/1/{name}{i}.bdec")

    at_once(lambda: client("a"), lambda: client("b"))

    assert list(blobs.folder.rglob("*.bdec")) == []


def test_what_goes_while_old_blobs_are_looked_for_is_passed_over(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path)

    def client() -> None:
        for i in range(TIMES):
            put(blobs.folder, f"2026/{i % 20}/{i}/x.bdec", 0)
            shutil.rmtree(blobs.folder / f"2026/{i % 20}")

    def look() -> None:
        for _ in range(TIMES):
            blobs.prune()

    at_once(client, look, look)
