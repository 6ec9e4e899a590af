"""The file of what the warehouse was used for."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from glue import usage
from glue.core.usage import Use


def test_uses_survive_half_a_line_and_are_trimmed_after_a_day(tmp_path: Path) -> None:
    path = tmp_path / "state" / "warehouse.jsonl"
    assert usage.since(0, path) == []
    old, new = Use("rollup", 1_000, 0.5), Use("rollup", usage.KEPT_MS + 2_000, 0.25, lag_ms=900)
    usage.note(old, path)
    usage.note(new, path)
    with path.open("ab") as file:
        file.write(b'{"job":"rol')
    assert usage.since(0, path) == [old, new]
    assert usage.since(2_000, path) == [new]
    usage.trim(usage.KEPT_MS + 3_000, path)
    assert usage.since(0, path) == [new]


def test_jobs_that_note_and_trim_at_once_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "warehouse.jsonl"

    def work(job: int) -> None:
        for i in range(50):
            usage.note(Use(f"{job}-{i}", 1_000, 0.5), path)
            usage.trim(1_000, path)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert len({use.job for use in usage.since(0, path)}) == 200
