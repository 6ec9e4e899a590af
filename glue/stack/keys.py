"""The key pair by which the embedded Kafka Connect logs in to the local Snowflake, made once a stack."""

import base64
import os
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

FILE = "connect.p8"
BITS = 2048


def private_key(folder: Path) -> str:
    """Return the private key as connectors take it: PKCS #8, base64 without its first and last line."""
    der = _key(folder).private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return base64.b64encode(der).decode()


def public_key(folder: Path) -> str:
    """Return the public key as ALTER USER … SET RSA_PUBLIC_KEY takes it."""
    der = (
        _key(folder)
        .public_key()
        .public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    return base64.b64encode(der).decode()


def _key(folder: Path) -> rsa.RSAPrivateKey:
    """Read the key, or make it where there is none; nobody else may read it."""
    file = folder / FILE
    if file.exists():
        key = serialization.load_pem_private_key(file.read_bytes(), None)
        assert isinstance(key, rsa.RSAPrivateKey)  # noqa: S101 - for the type checker
        return key
    key = rsa.generate_private_key(public_exponent=65537, key_size=BITS)
    content = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    fresh = folder / f".{FILE}.{os.getpid()}"
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out:
        out.write(content)
    fresh.replace(file)
    return key
