"""The roles of the local Snowflake: which there are, and who may use them. Privileges are not kept."""

import json
import re
import threading
from pathlib import Path

from snowflake.connector.errors import ProgrammingError

from glue.files import write_whole
from glue.stack.snowflake_statements import DONE
from glue.stack.snowflake_users import LoginRefused

BUILT_IN: dict[str, set[str]] = {
    "PUBLIC": set(),
    "ACCOUNTADMIN": {"SYSADMIN", "SECURITYADMIN"},
    "SECURITYADMIN": {"USERADMIN"},
    "SYSADMIN": set(),
    "USERADMIN": set(),
}
"""Roles that are always there, and those that each may use besides."""
OF_ALL_USERS = {"PUBLIC", "ACCOUNTADMIN"}
_NAME = r'(?P<role>\w+|"[^"]+")'
_CREATE = rf"create\s+(?:or\s+replace\s+)?role\s+(?P<lenient>if\s+not\s+exists\s+)?{_NAME}(?:\s+comment\s.*)?"
_DROP = rf"drop\s+role\s+(?P<lenient>if\s+exists\s+)?{_NAME}"
_GRANT = rf"grant\s+role\s+{_NAME}\s+to\s+(?P<kind>role|user)\s+(?P<to>\w+|\"[^\"]+\")"
_REVOKE = rf"revoke\s+role\s+{_NAME}\s+from\s+(?P<kind>role|user)\s+(?P<to>\w+|\"[^\"]+\")"
_USE = rf"use\s+role\s+{_NAME}"
_KNOWN = {
    kind: re.compile(rf"\s*{pattern}\s*;?\s*", re.IGNORECASE | re.DOTALL)
    for kind, pattern in (
        ("create", _CREATE),
        ("drop", _DROP),
        ("grant", _GRANT),
        ("revoke", _REVOKE),
        ("use", _USE),
    )
}


def is_about_roles(sql: str) -> bool:
    """Tell whether a statement makes, drops, grants, revokes or uses a role."""
    return any(pattern.fullmatch(sql) for pattern in _KNOWN.values())


class Roles:
    """A file of the roles that CREATE ROLE has made, each with those it was granted to.

    All users have ACCOUNTADMIN, and so what is granted to SYSADMIN or SECURITYADMIN.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / "roles.json"
        self._lock = threading.Lock()
        self._granted: dict[str, list[str]] = {}
        """Role -> `ROLE <name>` and `USER <name>` of those who may use it."""
        if self._file.exists():
            self._granted = json.loads(self._file.read_text())

    def check(self, user: str, role: str) -> None:
        """Check the role of a login.

        Raises:
            LoginRefused: it is not there, or not for this user.
        """
        if not self._may_use(user, role):
            raise LoginRefused(
                "390189",
                f"Role '{role}' specified in the connect string does not exist or not authorized. Contact "
                "your local system administrator, or attempt to login with another role, e.g. PUBLIC.",
            )

    def answer(self, sql: str, user: str) -> tuple[str, str | None] | None:
        """Do what a statement about roles asks for.

        Returns the SELECT of its answer, and the role that it makes the session's; None for any other
        statement.

        Raises:
            ProgrammingError: the role is not there, or not for this user.
        """
        for kind, pattern in _KNOWN.items():
            if found := pattern.fullmatch(sql):
                with self._lock:
                    return self._act(kind, found, user)
        return None

    def _act(self, kind: str, found: re.Match[str], user: str) -> tuple[str, str | None]:
        role = _name(found["role"])
        if kind == "create":
            if role in self._all and found["lenient"]:
                return f"SELECT '{role} already exists, statement succeeded.' AS status", None
            self._granted[role] = []
            answer = f"SELECT 'Role {role} successfully created.' AS status"
        elif kind == "drop" and found["lenient"] and role not in self._all:
            return DONE, None
        elif role not in self._all:
            raise ProgrammingError(
                msg=f"Role '{role}' does not exist or not authorized.", errno=2003, sqlstate="02000"
            )
        elif kind == "use":
            if not self._may_use(user, role):
                raise ProgrammingError(
                    msg=f"Requested role '{role}' is not assigned to the executing user. Specify another "
                    "role to activate.",
                    errno=3013,
                    sqlstate="42501",
                )
            return DONE, role
        elif kind == "drop":
            self._granted.pop(role, None)
            answer = f"SELECT '{role} successfully dropped.' AS status"
        else:
            to = f"{found['kind'].upper()} {_name(found['to'])}"
            others = [other for other in self._granted.get(role, []) if other != to]
            self._granted[role] = [*others, to] if kind == "grant" else others
            answer = DONE
        self._write()
        return answer, None

    @property
    def _all(self) -> set[str]:
        return BUILT_IN.keys() | self._granted.keys()

    def _may_use(self, user: str, role: str) -> bool:
        """Tell whether a role is granted to a user, or to a role that the user may use."""
        usable: set[str] = set()
        fresh = OF_ALL_USERS | {r for r, to in self._granted.items() if f"USER {user}" in to}
        while fresh:
            usable |= fresh
            owners = {f"ROLE {name}" for name in fresh}
            fresh = {r for r, to in self._granted.items() if owners & set(to)}
            fresh |= {r for name in usable for r in BUILT_IN.get(name, ())}
            fresh -= usable
        return role in usable & self._all

    def _write(self) -> None:
        write_whole(self._file, json.dumps(self._granted).encode())


def _name(text: str) -> str:
    """Return a name as it is stored: in capitals unless it is quoted."""
    return text[1:-1] if text.startswith('"') else text.upper()
