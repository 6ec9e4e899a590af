"""The state folder of one embedded stack: its files, what runs, and the lock between commands."""

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from glue.errors import TapelineError
from glue.files import write_whole
from glue.settings import ENDPOINTS_FILE
from glue.stack.processes import Process

LOG_KEEP_BYTES = 20 << 20


class Running(msgspec.Struct, frozen=True):
    """A part that was started and not stopped; it may have died since."""

    process: Process
    ports: dict[str, int]
    endpoints: dict[str, str] = msgspec.field(default_factory=dict)
    """Where it was told that the parts are which it uses."""


class Record(msgspec.Struct):
    """What stack.json holds. Ports stay after a stop, so that clients find the parts again."""

    parts: dict[str, Running] = msgspec.field(default_factory=dict)
    ports: dict[str, dict[str, int]] = msgspec.field(default_factory=dict)


class StateDir:
    """The folder. Everything in it is named here."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.endpoints_file = self.path / ENDPOINTS_FILE.name
        self._record_file = self.path / "stack.json"
        self._logs = self.path / "logs"
        self._temp = self.path / "tmp"

    def home(self, part: str) -> Path:
        """Return the folder a part runs in and keeps its data in."""
        return _made(self.path / part)

    def temp(self, part: str) -> Path:
        """Return an empty folder for a part's temporary files."""
        shutil.rmtree(self._temp / part, ignore_errors=True)
        return _made(self._temp / part)

    @property
    def keys(self) -> Path:
        """The folder of the keys by which the parts know each other; nobody else may read it."""
        folder = _made(self.path / "keys")
        folder.chmod(0o700)
        return folder

    def log(self, part: str) -> Path:
        """Return the log file of a part."""
        return self._logs / f"{part}.log"

    def log_tail(self, part: str, lines: int) -> str:
        """Return the last lines of a part's log."""
        try:
            text = self.log(part).read_text(errors="replace")
        except FileNotFoundError:
            return "(no log)"
        return "\n".join(text.splitlines()[-lines:])

    def start_log(self, part: str) -> Path:
        """Return the log file of a part that is about to start; one that grew large is set aside."""
        log = _made(self._logs) / f"{part}.log"
        if log.exists() and log.stat().st_size > LOG_KEEP_BYTES:
            log.replace(log.with_suffix(".log.1"))
        with log.open("a") as content:
            content.write(f"--- start of {part} at {datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}\n")
        return log

    def load(self) -> Record:
        """Read what runs; nothing when there is no file."""
        try:
            return msgspec.json.decode(self._record_file.read_bytes(), type=Record)
        except FileNotFoundError:
            return Record()
        except msgspec.MsgspecError as error:
            raise TapelineError(
                f"{self._record_file} is damaged ({error}); end the java processes of this stack "
                "and delete the file"
            ) from None

    def save(self, record: Record) -> None:
        """Write what runs, whole or not at all."""
        write_whole(self._record_file, msgspec.json.format(msgspec.json.encode(record)) + b"\n")

    def write_endpoints(self, endpoints: dict[str, str]) -> None:
        """Write where the parts answer; every command's settings read this file."""
        write_whole(self.endpoints_file, "".join(f"{k}={v}\n" for k, v in endpoints.items()).encode())

    def forget_endpoints(self) -> None:
        """Remove the endpoints file."""
        self.endpoints_file.unlink(missing_ok=True)

    def remove_temp(self) -> None:
        """Remove what parts left in their folders for temporary files."""
        shutil.rmtree(self._temp, ignore_errors=True)

    def purge(self, parts: list[str]) -> None:
        """Delete data, logs and record; the folder too, unless somebody else keeps files in it."""
        for folder in (*(self.path / name for name in (*parts, "keys")), self._logs, self._temp):
            shutil.rmtree(folder, ignore_errors=True)
        self._record_file.unlink(missing_ok=True)
        if self.path.exists() and not any(self.path.iterdir()):
            self.path.rmdir()

    @contextmanager
    def lock(self, on_wait: Callable[[], None]) -> Iterator[None]:
        """Hold the folder against other commands; `on_wait` is called when one has to be waited for."""
        with folder_lock(_made(self.path), on_wait):
            yield


@contextmanager
def folder_lock(folder: Path, on_wait: Callable[[], None]) -> Iterator[None]:
    """Lock an existing folder against other processes; the lock ends with its holder and leaves no file."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            on_wait()
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
