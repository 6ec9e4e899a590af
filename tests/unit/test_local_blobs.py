"""Blobs that a client of the local Snowflake wrote and never registered go after an hour."""

import os
import time
from pathlib import Path

from glue.stack.snowflake_blobs import UNCLAIMED_AFTER_S, Blobs


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


def test_a_blob_that_was_registered_takes_its_empty_folders_along(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path)
    put(blobs.folder, "2026/1/a.bdec", 0)
    kept = put(blobs.folder, "2026/b.bdec", 0)

    blobs.remove("2026/1/a.bdec")

    assert list(blobs.folder.rglob("*.bdec")) == [kept]
    assert not (blobs.folder / "2026" / "1").exists()
