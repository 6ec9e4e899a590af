"""One locked file from Maven Central, or a mirror, into the cache: fetched by jgo, verified, put in place."""

import hashlib
import shutil
import tarfile
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from glue.errors import TapelineError
from glue.stack.locked import LockedFile

ATTEMPTS = 3
RETRY_AFTER_S = 2.0
READ_TIMEOUT_S = 30

Follow = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]
"""jgo's progress callback: name and size of a file to a function that takes each number of bytes."""


class Downloader:
    """Brings files into a cache folder; `get` may be called from several threads."""

    def __init__(self, root: Path, maven_url: str, advance: Callable[[int], None]) -> None:
        self._root = root
        self._partial = root / "partial"
        self._maven_url = maven_url.rstrip("/")
        self._advance = advance
        self._cancelled = threading.Event()

    def cancel(self) -> None:
        """Let running downloads end at their next block and later ones not begin."""
        self._cancelled.set()

    def remove_partial(self) -> None:
        """Remove what unfinished downloads left, also those of a process that is gone."""
        shutil.rmtree(self._partial, ignore_errors=True)

    def get(self, file: LockedFile) -> None:
        """Download a file, retrying twice; it appears in the cache whole and verified.

        Raises:
            TapelineError: it cannot be had, or is not the one that was locked.
        """
        for attempt in range(1, ATTEMPTS + 1):
            folder = self._partial / uuid.uuid4().hex
            received = _Received(self._advance, self._cancelled)
            try:
                fetched = fetch(file.coordinates, folder, self._maven_url, received.follow)
                _verify(file, fetched)
                self._keep(file, fetched)
            except _CancelledError:
                return
            except Exception as error:
                received.take_back()
                if attempt == ATTEMPTS or self._cancelled.wait(RETRY_AFTER_S * attempt):
                    raise TapelineError(
                        f"cannot download {file.coordinates} to {self._root}: {error}; check the network, "
                        "set STACK_MAVEN_URL to a mirror, or copy a filled cache and set TAPELINE_CACHE_DIR"
                    ) from None
            else:
                return
            finally:
                shutil.rmtree(folder, ignore_errors=True)

    def _keep(self, file: LockedFile, fetched: Path) -> None:
        target = self._root / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        if file.is_archive:
            unpacked = fetched.with_name("unpacked")
            with tarfile.open(fetched) as archive:
                if hasattr(tarfile, "data_filter"):  # from Python 3.11.4 on
                    archive.extractall(unpacked, filter="data")
                else:
                    archive.extractall(unpacked)  # noqa: S202  # verified by its hash
            fetched = unpacked
        fetched.replace(target)


def fetch(coordinates: str, folder: Path, maven_url: str = "", follow: Follow | None = None) -> Path:
    """Download one file into an empty folder and return its path; nothing is verified yet."""
    from jgo.maven import MavenContext, PythonResolver  # slow to import, and rarely needed

    file = LockedFile(coordinates)
    context = MavenContext(
        repo_cache=folder,
        remote_repos={"mirror": maven_url} if maven_url else None,
        resolver=PythonResolver(progress_callback=follow),
        timeout=READ_TIMEOUT_S,
    )
    component = context.project(file.group, file.artifact).at_version(file.version)
    return Path(component.artifact(file.classifier, file.packaging).resolve())


class _CancelledError(Exception):
    """The download is not wanted any more."""


class _Received:
    """Counts the bytes of one attempt, and ends it when Ctrl-C or another file's failure made it useless."""

    def __init__(self, advance: Callable[[int], None], cancelled: threading.Event) -> None:
        self._advance = advance
        self._cancelled = cancelled
        self._bytes = 0

    @contextmanager
    def follow(self, name: str, size: int) -> Iterator[Callable[[int], None]]:
        yield self._add

    def take_back(self) -> None:
        self._advance(-self._bytes)

    def _add(self, received: int) -> None:
        if self._cancelled.is_set():
            raise _CancelledError
        self._bytes += received
        self._advance(received)


def _verify(file: LockedFile, fetched: Path) -> None:
    found = sha256_of(fetched)
    if found != file.sha256:
        raise TapelineError(f"its SHA-256 is {found}, jars.lock says {file.sha256}")


def sha256_of(path: Path) -> str:
    """Return a file's hash as hexadecimal digits."""
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
