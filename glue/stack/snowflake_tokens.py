"""Sessions that outlive the process: who was logged in goes on after a restart, as with Snowflake."""

import threading
import time
from pathlib import Path
from typing import Any

import msgspec

IDLE_AFTER_S = 4 * 3600.0
"""Snowflake ends a session that was not used for so long."""
NOTED_EVERY_S = 60.0
"""How exact the time of the last use is kept."""


class Saved(msgspec.Struct):
    """What is needed to open a session again; `seen_s` is the wall time of its last use."""

    database: str | None
    schema: str | None
    user: str
    role: str
    autocommit: bool
    parameters: dict[str, Any]
    seen_s: float
    warehouse: str = ""


class Tokens:
    """A file of sessions by their tokens.

    A session with an open transaction is not in it: what it had written is gone with the process, so its
    client must not go on as if it were there.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / "sessions.json"
        self._lock = threading.Lock()
        self._saved: dict[str, Saved] = {}
        if self._file.exists():
            self._saved = msgspec.json.decode(self._file.read_bytes(), type=dict[str, Saved])
        self._forget_idle()

    @property
    def saved(self) -> dict[str, Saved]:
        """The sessions to open again."""
        return dict(self._saved)

    def save(self, token: str, session: Saved) -> None:
        """Note how a session is; nothing is written where that is known."""
        with self._lock:
            last = self._saved.get(token)
            is_as_known = last is not None and msgspec.structs.replace(session, seen_s=last.seen_s) == last
            if is_as_known and last is not None and session.seen_s - last.seen_s < NOTED_EVERY_S:
                return
            self._saved[token] = session
            self._forget_idle()
            self._write()

    def forget(self, token: str) -> None:
        """Forget a session."""
        with self._lock:
            if self._saved.pop(token, None):
                self._write()

    def _forget_idle(self) -> None:
        oldest_s = time.time() - IDLE_AFTER_S
        self._saved = {token: saved for token, saved in self._saved.items() if saved.seen_s > oldest_s}

    def _write(self) -> None:
        fresh = self._file.with_suffix(".new")
        fresh.touch(mode=0o600)
        fresh.write_bytes(msgspec.json.encode(self._saved))
        fresh.replace(self._file)
