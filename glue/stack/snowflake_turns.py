"""Whose turn it is to write in the local Snowflake, and when its warehouse would run."""

import math
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

from snowflake.connector.errors import ProgrammingError

DETACHED_AFTER_S = 10.0
"""A transaction whose client has been silent for so long is rolled back when another one waits for it."""
LOOKS = 4
"""So often it is found silent for so long: after the machine stood still, a client is heard in a moment."""
LOCK_POLL_S = 0.25
DEFAULT_LOCK_TIMEOUT_S = 43_200
AUTO_SUSPEND_S = 60.0
"""Of the warehouse in snowflake/00_setup.sql."""


class Writer(Protocol):
    """A session that takes turns."""

    parameters: dict[str, Any]

    @property
    def silent_s(self) -> float:
        """For how long its client has not been heard of, s."""

    def detach(self) -> None:
        """Roll back what its client left open, and tell it so when it is heard again."""


class Warehouse:
    """When the warehouse of an account would run: it resumes for work, and suspends after a while without.

    `clock` gives seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._until = -math.inf

    def work(self) -> None:
        """Note that a statement runs or has just ended."""
        self._until = self._clock() + AUTO_SUSPEND_S

    def suspend(self) -> None:
        """Suspend at once."""
        self._until = -math.inf

    @property
    def state(self) -> str:
        """As SHOW WAREHOUSES tells it."""
        return "STARTED" if self._clock() < self._until else "SUSPENDED"


class WriteLock:
    """Held by the session that writes: for a statement, or from BEGIN to the end of its transaction.

    DuckDB fails the transaction that comes second to a row; Snowflake lets it wait.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._holder: Writer | None = None

    def acquire(self, session: Writer) -> None:
        """Wait for the lock up to the session's LOCK_TIMEOUT; nothing to do where it is held already.

        Raises:
            ProgrammingError: the time is over.
        """
        deadline = time.monotonic() + float(session.parameters.get("LOCK_TIMEOUT", DEFAULT_LOCK_TIMEOUT_S))
        silent = 0
        with self._changed:
            while self._holder not in (None, session):
                holder = self._holder
                assert holder is not None  # noqa: S101 - for the type checker
                silent = silent + 1 if holder.silent_s > DETACHED_AFTER_S else 0
                if silent >= LOOKS:
                    holder.detach()
                    self._holder = None
                elif time.monotonic() > deadline:
                    tag = holder.parameters.get("QUERY_TAG", "")
                    raise ProgrammingError(
                        msg=f"a transaction of another session (query tag '{tag}') has the lock and did not "
                        "release it in time; the statement was aborted due to LOCK_TIMEOUT",
                        errno=625,
                        sqlstate="57014",
                    )
                else:
                    self._changed.wait(LOCK_POLL_S)
            self._holder = session

    def release(self, session: Writer) -> None:
        """Let the next one write; fine when the session does not hold it."""
        with self._changed:
            if self._holder is session:
                self._holder = None
                self._changed.notify_all()
