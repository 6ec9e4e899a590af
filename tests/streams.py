"""A writer of Snowpipe Streaming in tests: what the ingest SDK is to the server, without the connector."""

import base64
import hashlib
import io
import json
import urllib.request
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import jwt
import pyarrow as pa
import pyarrow.parquet as pq
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR

numbers = count(1)


def md5(content):
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def new_key():
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def der(key):
    return key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def token(key, user, **claims):
    """Return a token of a user; a claim that is None is left out."""
    fingerprint = "SHA256:" + base64.b64encode(hashlib.sha256(der(key)).digest()).decode()
    known = {"iss": f"127.{user}.{fingerprint}", "sub": f"127.{user}"}
    expires = {"exp": datetime.now(UTC) + timedelta(minutes=5)}
    told = known | expires | claims
    return jwt.encode({name: claim for name, claim in told.items() if claim is not None}, key, "RS256")


def raw_token(key, **claims):
    """Return a signed token whose claims are of any type."""
    return jwt.PyJWS().encode(json.dumps(claims).encode(), key, "RS256")


@dataclass
class Writer:
    """What the ingest SDK is to the server."""

    url: str
    database: str
    schema: str
    table: str
    token: str

    def post(self, path: str, body: Any) -> dict[str, Any]:
        return self.post_bytes(path, json.dumps(body).encode())

    def post_bytes(self, path: str, body: bytes) -> dict[str, Any]:
        request = urllib.request.Request(
            f"{self.url}/v1/streaming/{path}/?requestId=1",
            body,
            {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read())

    @property
    def place(self) -> dict[str, str]:
        return {"database": self.database, "schema": self.schema, "table": self.table}

    def open(self, channel: str = "c", **more: Any) -> dict[str, Any]:
        return self.post("channels/open", self.place | {"channel": channel, "role": "R"} | more)

    def status(self, channel: str = "c") -> dict[str, Any]:
        asked = {"channels": [self.place | {"channel_name": channel}]}
        return self.post("channels/status", asked)["channels"][0]

    @property
    def committed(self) -> str | None:
        """The offset token of the channel `c`."""
        return self.status()["persisted_offset_token"]

    def blob(
        self, opened: dict[str, Any], rows: list[dict[str, Any]], schema: pa.Schema | None = None
    ) -> dict:
        """Put a blob of one chunk into the stage and return what its registration says of it."""
        stage = self.post("client/configure", {"role": "R"})
        path = f"2026/{stage['prefix']}_{stage['deployment_id']}_{next(numbers)}.bdec"
        plain = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(rows, schema or SCHEMA), plain)
        padded = plain.getvalue() + bytes(16 - plain.tell() % 16)
        key = hashlib.sha256(base64.b64decode(opened["encryption_key"]) + path.encode()).digest()
        content = Cipher(AES(key), CTR(bytes(16))).encryptor().update(padded)
        file = Path(stage["stage_location"]["location"]) / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        chunk = {
            "chunk_start_offset": 0,
            "chunk_length": plain.tell(),
            "chunk_md5": md5(content[: plain.tell()]),
            "encryption_key_id": opened["encryption_key_id"],
            "eps": {"rows": len(rows)},
        }
        return {"path": path, "md5": md5(content), "bdec_version": 3, "chunk": chunk, "file": file}

    def register(self, blob: dict[str, Any], *channels: dict[str, Any]) -> list[int]:
        """Register a blob and return the status of each channel."""
        chunk = self.place | blob["chunk"] | {"channels": list(channels)}
        told = {key: blob[key] for key in ("path", "md5", "bdec_version")} | {"chunks": [chunk]}
        answer = self.post("channels/write/blobs", {"role": "R", "blobs": [told]})
        return [c["status_code"] for c in answer["blobs"][0]["chunks"][0]["channels"]]


SCHEMA = pa.schema(
    [
        ("ID", pa.decimal128(38, 0)),
        ("PX", pa.decimal128(28, 8)),
        ("NAME", pa.string()),
        ("SEEN", pa.decimal128(18, 6)),
        ("META", pa.string()),
        ("HASH", pa.binary()),
    ]
)
