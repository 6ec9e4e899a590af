"""Who may log in to the local Snowflake: its user, by password, OAuth token or key pair."""

import base64
import hashlib
import json
import re
import threading
import time
from pathlib import Path
from typing import Any

import jwt
import msgspec

from glue.files import write_whole

USER, PASSWORD = "TAPELINE", "tapeline"
BAD_PASSWORD = ("390100", "Incorrect username or password was specified.")
BAD_TOKEN = ("390303", "Invalid OAuth access token.")
BAD_KEY = ("390144", "JWT token is invalid.")
LONGEST_TOKEN_S = 3600
"""From issue to expiry of a signed token. The ingest SDK's last 59 minutes, those of drivers one."""
_CLAIMS = ["iss", "sub", "exp"]
_NAME = r'(?P<user>\w+|"[^"]+")'
_CREATE = (
    rf"create\s+(?P<replace>or\s+replace\s+)?user\s+(?P<lenient>if\s+not\s+exists\s+)?{_NAME}(?P<rest>\s.*)?"
)
_SET = rf"alter\s+user\s+(?:if\s+exists\s+)?{_NAME}\s+set\s+(?P<rest>.*)"
_UNSET = rf"alter\s+user\s+(?:if\s+exists\s+)?{_NAME}\s+unset\s+(?P<rest>.*)"
_DROP = rf"drop\s+user\s+(?:if\s+exists\s+)?{_NAME}(?P<rest>)"
_KNOWN = {
    kind: re.compile(rf"\s*{pattern}\s*;?\s*", re.IGNORECASE | re.DOTALL)
    for kind, pattern in (("create", _CREATE), ("set", _SET), ("unset", _UNSET), ("drop", _DROP))
}
_KEY = re.compile(r"\bRSA_PUBLIC_KEY(_2)?\b(?:\s*=\s*'([^']*)')?", re.IGNORECASE)


class UserExists(Exception):
    """CREATE USER of one who is there; the text says who."""


class LoginRefused(Exception):
    """A login that is refused with Snowflake's code and text."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


class Credentials(msgspec.Struct, frozen=True, rename="upper"):
    """What a client says to log in."""

    login_name: str | None = None
    authenticator: str | None = None
    password: str | None = None
    token: str | None = None
    session_parameters: dict[str, Any] = {}


class Users:
    """The user, and a file of public keys that CREATE USER and ALTER USER have brought, two for each name."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "public_keys.json"
        self._lock = threading.Lock()

    def user_of(self, given: Credentials) -> str:
        """Return the name of who logs in.

        Raises:
            LoginRefused: by these credentials nobody does.
        """
        name = given.login_name.upper() if given.login_name else None
        match given.authenticator:
            case "SNOWFLAKE_JWT":
                user = self.signer(given.token or "")
                if user is None or name not in (None, user):
                    raise LoginRefused(*BAD_KEY)
                return user
            case "OAUTH":
                if given.token != PASSWORD:
                    raise LoginRefused(*BAD_TOKEN)
                return name or USER
            case _:
                if (name, given.password) != (USER, PASSWORD):
                    raise LoginRefused(*BAD_PASSWORD)
                return USER

    def signer(self, token: str) -> str | None:
        """Return the user by whose key a token is signed; None where it is not one that Snowflake takes.

        Its issuer is `<account>.<user>.SHA256:<digest of the key>`, its subject the first two of them.
        """
        try:
            issuer = str(jwt.decode(token, options={"verify_signature": False})["iss"])
            subject, _, digest = issuer.rpartition(".")
            user = subject.partition(".")[2]
            keys = self._keys()
            key = next(k for k in (keys.get(name, "") for name in _slots(user)) if _digest(k) == digest)
            pem = f"-----BEGIN PUBLIC KEY-----\n{key}\n-----END PUBLIC KEY-----\n"
            claims = jwt.decode(token, pem, ["RS256"], subject=subject, options={"require": _CLAIMS})
            lifetime_s = claims["exp"] - claims.get("iat", time.time())
        # A claim may be anything.
        except (
            ValueError,
            TypeError,
            KeyError,
            StopIteration,
            OverflowError,
            RecursionError,
            jwt.PyJWTError,
        ):
            return None
        return user if lifetime_s <= LONGEST_TOKEN_S else None

    def take_keys(self, sql: str) -> bool:
        """Do what a statement says about the public keys of a user, and tell whether it was about any.

        Raises:
            UserExists: CREATE USER of one who is there.
        """
        for kind, pattern in _KNOWN.items():
            if found := pattern.fullmatch(sql):
                with self._lock:
                    return self._act(kind, found)
        return False

    def register(self, user: str, key: str) -> None:
        """Let a user log in by the private key of this public one, base64 of its DER form."""
        self._write(self._keys() | {user: key})

    def _act(self, kind: str, found: re.Match[str]) -> bool:
        name = found["user"]
        user = name[1:-1] if name.startswith('"') else name.upper()
        said = {
            user + (slot and "/2"): "".join(key.split()) for slot, key in _KEY.findall(found["rest"] or "")
        }
        keys = self._keys()
        has_keys = not keys.keys().isdisjoint(_slots(user))
        if kind == "create" and has_keys and not found["replace"]:
            if found["lenient"]:
                return True
            raise UserExists(user)
        if not said and not (has_keys and kind in ("create", "drop")):
            return False
        gone = said.keys() if kind in ("set", "unset") else _slots(user)
        kept = {slot: key for slot, key in keys.items() if slot not in gone}
        self._write(kept | {slot: key for slot, key in said.items() if key})
        return True

    def _keys(self) -> dict[str, str]:
        """Return the keys by user, the second of one as `<user>/2`."""
        keys: dict[str, str] = json.loads(self._file.read_text()) if self._file.exists() else {}
        return keys

    def _write(self, keys: dict[str, str]) -> None:
        write_whole(self._file, json.dumps(keys).encode())


def _slots(user: str) -> tuple[str, str]:
    return user, f"{user}/2"


def _digest(key: str) -> str:
    return "SHA256:" + base64.b64encode(hashlib.sha256(base64.b64decode(key)).digest()).decode()
