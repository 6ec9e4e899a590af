"""The jar cache: the files of jars.lock, downloaded once and shared by all stacks of a user."""

import os
from collections.abc import Iterable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from pathlib import Path

from glue.settings import Settings
from glue.stack.download import Downloader
from glue.stack.locked import LOCK_FILE, LockedFile, read_lock
from glue.stack.reporter import Reporter
from glue.stack.state import folder_lock

DOWNLOADS_AT_ONCE = 4


def cache_dir(settings: Settings) -> Path:
    """Return the folder of the cache: TAPELINE_CACHE_DIR, else the user's cache folder."""
    if settings.tapeline_cache_dir:
        return settings.tapeline_cache_dir.expanduser().absolute()
    base = os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()
    return Path(base).absolute() / "tapeline"


class JarCache:
    """The cache folder. A file is in it whole and verified, or not at all."""

    def __init__(self, settings: Settings, reporter: Reporter) -> None:
        self._root = cache_dir(settings)
        self._maven_url = settings.stack_maven_url
        self._reporter = reporter

    def fetch(self, parts: Iterable[str]) -> dict[str, list[Path]]:
        """Return each part's files, after downloading those that are missing.

        When none is missing no connection is opened. Two processes may call it at once, and it may be
        interrupted.

        Raises:
            TapelineError: a file cannot be had, or is not the one that was locked.
        """
        lock = read_lock(LOCK_FILE.read_text())
        wanted = {part: lock[part] for part in parts}
        files = [file for part in wanted.values() for file in part]
        if self._missing(files):
            self._root.mkdir(parents=True, exist_ok=True)
            with folder_lock(self._root, lambda: self._reporter.line("another process downloads, waiting")):
                if missing := self._missing(files):
                    self._download(missing)
        return {part: [self._root / file.path for file in files] for part, files in wanted.items()}

    def _missing(self, files: list[LockedFile]) -> list[LockedFile]:
        distinct = {file.path: file for file in files}
        return [file for path, file in distinct.items() if not _is_here(self._root / path, file)]

    def _download(self, files: list[LockedFile]) -> None:
        with (
            self._reporter.download(len(files), sum(file.size for file in files)) as advance,
            ThreadPoolExecutor(DOWNLOADS_AT_ONCE) as pool,
        ):
            downloader = Downloader(self._root, self._maven_url, advance)
            downloader.remove_partial()
            largest_first = sorted(files, key=lambda file: -file.size)
            futures = [pool.submit(downloader.get, file) for file in largest_first]
            try:
                done, _ = wait(futures, return_when=FIRST_EXCEPTION)
                for future in done:
                    future.result()
            finally:  # also on Ctrl-C
                downloader.cancel()
                pool.shutdown(cancel_futures=True)
                downloader.remove_partial()


def _is_here(path: Path, file: LockedFile) -> bool:
    return path.is_dir() if file.is_archive else path.is_file() and path.stat().st_size == file.size
