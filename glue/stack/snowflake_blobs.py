"""Blobs of Snowpipe Streaming (BDEC version 3): encrypted Parquet files that clients put into a folder.

A chunk is AES-256-CTR by SHA-256(key + path of the blob), the counter beginning at the chunk's block in the
file. The digests of file and chunk come with the registration, whose sender is known by its key pair.
"""

import base64
import hashlib
import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import NamedTemporaryFile
from threading import Lock

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR

BDEC_VERSION = 3
BLOCK_BYTES = 16
KEY_BYTES = 32
PARQUET = b"PAR1"
UNCLAIMED_AFTER_S = 3600.0
"""A blob that was not registered so long after it was written never will be: its client is gone."""
PRUNED_EVERY_S = 60.0

NO_PATH, WRONG_LENGTH, NO_MD5, WRONG_NAME, WRONG_FORMAT, WRONG_VERSION = 14, 30, 39, 34, 38, 42
"""Status codes of a registration, as in Snowflake."""


class BlobRefused(Exception):
    """A blob that is not what its registration says; `code` is the status for its channels."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class Blobs:
    """The folder of the blobs, and the key that clients encrypt them by; it survives a restart."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "blobs"
        self.folder.mkdir(mode=0o700, exist_ok=True)
        self.key = _key(folder / "blobs.key")
        self.key_id = int.from_bytes(hashlib.sha256(self.key).digest()[:6], "big")
        self._pruning = Lock()
        self._prune_at = time.monotonic()
        self.prune()

    @property
    def key_text(self) -> str:
        """The key as clients get it."""
        return base64.b64encode(self.key).decode()

    @contextmanager
    def parquet(
        self, path: str, md5: str, version: int, start: int, length: int, chunk_md5: str
    ) -> Iterator[Path]:
        """Yield a file with the plain Parquet of a chunk; it is gone after the block.

        Args:
            path: the blob's path below the folder.
            md5: digest of the whole file.
            version: version of the format.
            start: first byte of the chunk in the file.
            length: bytes of the chunk, without the padding after it.
            chunk_md5: digest of these bytes.

        Raises:
            BlobRefused: it is not there, not what the digests say, or no Parquet by this key.
        """
        if version != BDEC_VERSION:
            raise BlobRefused(WRONG_VERSION, f"BDEC version {version}, expected {BDEC_VERSION}")
        content = self._read(path)
        if not md5 or not chunk_md5:
            raise BlobRefused(NO_MD5, f"{path}: no MD5")
        if hashlib.md5(content, usedforsecurity=False).hexdigest() != md5:
            raise BlobRefused(WRONG_FORMAT, f"{path} is not the file that was registered: its MD5 is another")
        chunk = content[start : start + length]
        if start < 0 or start % BLOCK_BYTES or length <= 0 or len(chunk) != length:
            raise BlobRefused(WRONG_LENGTH, f"{path} has no chunk of {length} bytes at {start}")
        if hashlib.md5(chunk, usedforsecurity=False).hexdigest() != chunk_md5:
            raise BlobRefused(WRONG_FORMAT, f"{path}: the chunk at {start} has another MD5")
        plain = self._decrypted(chunk, path, start)
        if plain[:4] != PARQUET or plain[-4:] != PARQUET:
            raise BlobRefused(
                WRONG_FORMAT, f"{path}: the chunk at {start} is no Parquet by the key of its channel"
            )
        with NamedTemporaryFile(suffix=".parquet") as file:
            file.write(plain)
            file.flush()
            yield Path(file.name)

    def remove(self, path: str) -> None:
        """Delete a blob that was registered. Its folders stay: another client may be about to write there."""
        self._file(path).unlink(missing_ok=True)

    def prune(self) -> None:
        """Delete blobs that nobody came to register, and folders that have been empty for as long.

        Once a minute at most; what goes meanwhile is passed over.
        """
        with self._pruning:
            if time.monotonic() < self._prune_at:
                return
            self._prune_at = time.monotonic() + PRUNED_EVERY_S
        for folder, _, names in os.walk(self.folder, topdown=False):  # files before their folders
            for name in names:
                _delete_old(Path(folder, name).unlink, Path(folder, name))
            if folder != str(self.folder):
                _delete_old(Path(folder).rmdir, Path(folder))

    def _file(self, path: str) -> Path:
        if not path:
            raise BlobRefused(NO_PATH, "no path of a blob")
        file = self.folder / path
        if not path.endswith(".bdec") or not file.resolve().is_relative_to(self.folder.resolve()):
            raise BlobRefused(WRONG_NAME, f"{path} is no path of a blob")
        return file

    def _read(self, path: str) -> bytes:
        try:
            return self._file(path).read_bytes()
        except OSError as error:
            raise BlobRefused(WRONG_NAME, f"{path}: {error.strerror}") from None

    def _decrypted(self, chunk: bytes, path: str, start: int) -> bytes:
        key = hashlib.sha256(self.key + path.encode()).digest()
        counter = (start // BLOCK_BYTES).to_bytes(BLOCK_BYTES, "big")
        decryptor = Cipher(AES(key), CTR(counter)).decryptor()
        return decryptor.update(chunk) + decryptor.finalize()


def _delete_old(delete: Callable[[], None], path: Path) -> None:
    """Delete a file or folder that is old, unless it is gone already or a folder that is not empty."""
    with suppress(OSError):
        if time.time() - path.stat().st_mtime > UNCLAIMED_AFTER_S:
            delete()


def _key(file: Path) -> bytes:
    """Read the key, or make it where there is none; nobody else may read it."""
    if not file.exists():
        fresh = file.with_suffix(".new")
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out:
            out.write(secrets.token_bytes(KEY_BYTES))
        fresh.replace(file)
    return file.read_bytes()
