"""What the jobs on this machine had the warehouse do: a line each under .tapeline, for glue.status."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from glue.core.usage import Use
from glue.files import write_whole
from glue.settings import STATE_DIR

USAGE_FILE = STATE_DIR / "warehouse.jsonl"
KEPT_MS = 86_400_000


def note(use: Use, path: Path = USAGE_FILE) -> None:
    """Add a piece of work."""
    with _locked(path), path.open("ab") as file:
        file.write(msgspec.json.encode(use) + b"\n")


def since(at_ms: int, path: Path = USAGE_FILE) -> list[Use]:
    """Return the work that ended at `at_ms` or later; half a line of a killed job is left out."""
    if not path.exists():
        return []
    uses = []
    for line in path.read_bytes().splitlines():
        try:
            use = msgspec.json.decode(line, type=Use)
        except msgspec.DecodeError:
            continue
        if use.at_ms >= at_ms:
            uses.append(use)
    return uses


def trim(now_ms: int, path: Path = USAGE_FILE) -> None:
    """Forget what is older than a day."""
    with _locked(path):
        kept = since(now_ms - KEPT_MS, path)
        if kept:
            write_whole(path, b"".join(msgspec.json.encode(use) + b"\n" for use in kept))


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Be the only job that writes; the lock goes with its holder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
