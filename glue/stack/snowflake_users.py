"""Who may log in to the local Snowflake: its user, by password, OAuth token or key pair."""

import base64
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import jwt

USER, PASSWORD = "TAPELINE", "tapeline"
BAD_PASSWORD = ("390100", "Incorrect username or password was specified.")
BAD_TOKEN = ("390303", "Invalid OAuth access token.")
BAD_KEY = ("390144", "JWT token is invalid.")
_SET_KEY = re.compile(
    r"\s*ALTER\s+USER\s+(\w+)\s+SET\s+RSA_PUBLIC_KEY\s*=\s*'([^']+)'\s*;?\s*", re.IGNORECASE
)


class Users:
    """The user, and a file of public keys that ALTER USER … SET RSA_PUBLIC_KEY has brought."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "public_keys.json"

    def refusal(self, login: dict[str, Any]) -> tuple[str, str] | None:
        """Return code and text of why a login is refused, None where it is fine."""
        match login.get("AUTHENTICATOR"):
            case "SNOWFLAKE_JWT":
                return None if self.is_signed(str(login.get("TOKEN"))) else BAD_KEY
            case "OAUTH":
                return None if login.get("TOKEN") == PASSWORD else BAD_TOKEN
            case _:
                given = (str(login.get("LOGIN_NAME")).upper(), login.get("PASSWORD"))
                return None if given == (USER, PASSWORD) else BAD_PASSWORD

    def take_key(self, sql: str) -> bool:
        """Register a public key where this is the statement for it, and tell whether it was."""
        found = _SET_KEY.fullmatch(sql)
        if found:
            self.register(found[1].upper(), "".join(found[2].split()))
        return found is not None

    def register(self, user: str, key: str) -> None:
        """Let a user log in by the private key of this public one, base64 of its DER form."""
        keys = self._keys() | {user: key}
        fresh = self._file.with_suffix(".new")
        fresh.write_text(json.dumps(keys))
        fresh.replace(self._file)

    def _keys(self) -> dict[str, str]:
        keys: dict[str, str] = json.loads(self._file.read_text()) if self._file.exists() else {}
        return keys

    def is_signed(self, token: str) -> bool:
        """Tell whether a token is signed by the key of the user that it names."""
        try:
            issuer = str(jwt.decode(token, options={"verify_signature": False})["iss"])
            _, user, fingerprint = issuer.split(".", 2)
            key = self._keys()[user]
            jwt.decode(token, f"-----BEGIN PUBLIC KEY-----\n{key}\n-----END PUBLIC KEY-----\n", ["RS256"])
        except (ValueError, KeyError, TypeError, OverflowError, jwt.PyJWTError):  # a claim may be anything
            return False
        digest = hashlib.sha256(base64.b64decode(key)).digest()
        return bool(fingerprint == "SHA256:" + base64.b64encode(digest).decode())
