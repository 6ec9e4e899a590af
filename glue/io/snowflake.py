"""The warehouse: one way to connect to Snowflake, real or local, and the messages of what goes wrong."""

import base64
import binascii
import logging
import threading
from typing import Any
from urllib.parse import unquote, urlsplit

import snowflake.connector
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from snowflake.connector import SnowflakeConnection
from snowflake.connector.errors import Error

from glue.errors import SettingsError, TapelineError, TransientError
from glue.settings import Settings, shown

APPLICATION = "Tapeline"
LOCAL_ACCOUNT = "local"
"""Account name of a server that SNOW_ACCOUNT gives as a URL: the driver wants one."""
NO_ANSWER = (250001, 250003, 251001, 261001)
"""Error numbers of the driver: nothing answers, or what answers is no Snowflake."""
NO_TLS = ("wrong version number", "record layer failure")
"""What OpenSSL says, by its version, of an answer that is no TLS."""
ROLE_REFUSED, KEY_REFUSED, PASSWORD_REFUSED, TOKENS_REFUSED = 390189, 390144, 390100, (390303, 390318)

logging.getLogger("snowflake.connector").setLevel(logging.CRITICAL)  # it logs what it raises, trace included


_show_thread_error = threading.excepthook


def _pass_over_driver(args: threading.ExceptHookArgs) -> None:
    """Show what broke a thread, but for the driver's own: while no server answers, it fails at a cancel."""
    if not issubclass(args.exc_type, Error):
        _show_thread_error(args)


threading.excepthook = _pass_over_driver


def connect(settings: Settings, job: str, *, role: str | None = None) -> SnowflakeConnection:
    """Open a session for a job: query tag `tapeline-<job>`, UTC, bounded waits, `?` as placeholder.

    Args:
        settings: SNOW_*.
        job: what the session is for, e.g. `rollup`.
        role: a role in place of SNOW_ROLE; "" = the user's default role, without database and warehouse, as
            for a deployment that has yet to make them.

    Raises:
        SettingsError: a setting is missing or unusable, e.g. the private key; the text names it.
        TapelineError: the server refuses the login, or has no such database or warehouse for this role.
        TransientError: no server answers.
    """
    place: dict[str, Any] = {"role": settings.snow_role if role is None else role}
    if role != "":
        place |= {
            "warehouse": settings.snow_warehouse,
            "database": settings.snow_database,
            "schema": settings.snow_schema,
        }
    arguments = _server(settings) | _credentials(settings) | {k: v for k, v in place.items() if v}
    timeout_s = settings.snow_login_timeout_ms // 1000
    try:
        connection = snowflake.connector.connect(
            **arguments,
            application=APPLICATION,
            session_parameters={
                "QUERY_TAG": f"tapeline-{job}",
                "TIMEZONE": "UTC",
                "LOCK_TIMEOUT": settings.snow_lock_timeout_ms // 1000,
                "STATEMENT_TIMEOUT_IN_SECONDS": settings.snow_statement_timeout_ms // 1000,
                # What a killed client left running ends by itself, and its transaction with it.
                "ABORT_DETACHED_QUERY": True,
                "TRANSACTION_ABORT_ON_ERROR": True,
            },
            paramstyle="qmark",
            login_timeout=timeout_s,
            network_timeout=timeout_s,
            client_session_keep_alive=True,
            platform_detection_timeout_seconds=0.0,  # else each login asks the metadata services of clouds
        )
    except Error as error:
        raise _login_error(settings, error) from None
    except OSError as error:
        raise TransientError(f"{where(settings)} does not answer: {error}") from None
    if role != "":
        _check_place(settings, connection)
    return connection


def _check_place(settings: Settings, connection: SnowflakeConnection) -> None:
    """Refuse a session that Snowflake has opened without the database or warehouse that it was to have."""
    for setting, found in (("snow_database", connection.database), ("snow_warehouse", connection.warehouse)):
        if not found:
            connection.close(retry=False)
            name, default = getattr(settings, setting), Settings.model_fields[setting].default
            what = f"{setting.upper()}={name} is not there, or not for SNOW_ROLE={settings.snow_role}"
            raise TapelineError(
                f"{where(settings)}: {what if name else f'{setting.upper()} is not set ({default})'}; "
                "`python -m glue.deploy snowflake` makes it and grants it"
            )


def where(settings: Settings) -> str:
    """Name the setting and the account, for messages."""
    return f"SNOW_ACCOUNT={shown(settings.snow_account) if _is_url(settings) else settings.snow_account}"


def message(error: Error) -> str:
    """Return the server's own words, on one line, without the driver's query id."""
    text = str(error.msg or error.raw_msg or error)
    return " ".join(text.split())


def _is_url(settings: Settings) -> bool:
    return "://" in settings.snow_account


def _server(settings: Settings) -> dict[str, Any]:
    if not settings.snow_account:
        raise SettingsError(
            "SNOW_ACCOUNT is not set: it is the account identifier of Snowflake; "
            "`python -m glue.stack up` sets it to a local one"
        )
    if not _is_url(settings):
        return {"account": settings.snow_account}
    url = urlsplit(settings.snow_account)
    port = url.port or (443 if url.scheme == "https" else 80)
    return {"account": LOCAL_ACCOUNT, "host": url.hostname, "port": port, "protocol": url.scheme}


def _credentials(settings: Settings) -> dict[str, Any]:
    """Return who logs in and how; what is in the URL wins: it is one setting, whole."""
    if _is_url(settings) and (url := urlsplit(settings.snow_account)).username:
        return {"user": unquote(url.username or ""), "password": unquote(url.password or "")}
    ways = {
        "SNOW_PASSWORD": bool(settings.snow_password.get_secret_value()),
        "SNOW_PRIVATE_KEY_PATH": settings.snow_private_key_path is not None,
        "SNOW_PRIVATE_KEY": bool(settings.snow_private_key.get_secret_value()),
        "SNOW_OAUTH_TOKEN": bool(settings.snow_oauth_token.get_secret_value()),
    }
    given = [name for name, is_given in ways.items() if is_given]
    if len(given) != 1:
        found = f"{' and '.join(given)} are set" if given else "none is set"
        raise SettingsError(f"one of {', '.join(ways)} says how to log in to Snowflake; {found}")
    if given == ["SNOW_OAUTH_TOKEN"]:
        token = settings.snow_oauth_token.get_secret_value()
        return {"authenticator": "oauth", "token": token} | (
            {"user": settings.snow_user} if settings.snow_user else {}
        )
    if not settings.snow_user:
        raise SettingsError(f"SNOW_USER is not set, which goes with {given[0]}")
    if given == ["SNOW_PASSWORD"]:
        return {"user": settings.snow_user, "password": settings.snow_password.get_secret_value()}
    return {
        "user": settings.snow_user,
        "authenticator": "SNOWFLAKE_JWT",
        "private_key": _private_key(settings),
    }


def _private_key(settings: Settings) -> bytes:
    """Return the private key as the driver takes it, DER without a passphrase."""
    passphrase = settings.snow_private_key_passphrase.get_secret_value().encode() or None
    if settings.snow_private_key_path is not None:
        name, load = "SNOW_PRIVATE_KEY_PATH", serialization.load_pem_private_key
        path = settings.snow_private_key_path.expanduser()
        try:
            content = path.read_bytes()
        except OSError as error:
            raise SettingsError(f"{name}={path}: {error.strerror}") from None
    else:
        name, load = "SNOW_PRIVATE_KEY", serialization.load_der_private_key
        try:
            text = "".join(settings.snow_private_key.get_secret_value().split())
            content = base64.b64decode(text, validate=True)
        except binascii.Error:
            raise SettingsError(
                f"{name} is not base64: expected the lines between BEGIN and END of the key's PEM file"
            ) from None
    try:
        key = load(content, passphrase)
    except TypeError:  # a passphrase without need, or none where one is needed
        need = "is not encrypted, but" if passphrase else "is encrypted:"
        verb = "is set" if passphrase else "is not set"
        raise SettingsError(f"the key of {name} {need} SNOW_PRIVATE_KEY_PASSPHRASE {verb}") from None
    except (ValueError, UnsupportedAlgorithm):
        hint = "; or SNOW_PRIVATE_KEY_PASSPHRASE is not that of the key" if passphrase else ""
        raise SettingsError(f"{name} holds no private key in PKCS #8{hint}") from None
    return key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _login_error(settings: Settings, error: Error) -> TapelineError:
    at, number, text = where(settings), error.errno, message(error)
    if number in TOKENS_REFUSED:
        return TapelineError(f"{at} refuses SNOW_OAUTH_TOKEN: {text}")
    if f"{KEY_REFUSED}" in text or number == KEY_REFUSED or "JWT" in text:
        return TapelineError(f"{at} refuses the private key of SNOW_USER={settings.snow_user}: {text}")
    if number == ROLE_REFUSED or "Role '" in text:
        return TapelineError(
            f"{at} refuses SNOW_ROLE={settings.snow_role}: {text} `python -m glue.deploy snowflake` makes "
            "the role, GRANT ROLE … TO USER … gives it"
        )
    if number == PASSWORD_REFUSED or "Incorrect username or password" in text:
        return TapelineError(f"{at} refuses SNOW_USER or SNOW_PASSWORD: {text}")
    if number in NO_ANSWER and any(words in text for words in NO_TLS):
        return TapelineError(f"{at} answers, but does not speak TLS: http:// in place of https://?")
    if number in NO_ANSWER:
        return TransientError(
            f"{at} does not answer (for {settings.snow_login_timeout_ms / 1000:g} s, SNOW_LOGIN_TIMEOUT_MS): "
            f"{text}"
        )
    return TapelineError(f"{at} refuses the login: {text}")
