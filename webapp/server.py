"""Serving the built page and its live connection: one process, one port, no Node."""

import asyncio
import ipaddress
import os
import signal
import socket
import sys

import uvicorn

from glue.errors import SettingsError
from glue.settings import STATE_DIR, Settings
from webapp.build import HERE, WEB_DIR
from webapp.guard import App, Guard

STOP_S = 1  # then open pages are cut off


def serve(settings: Settings, port: int) -> None:
    """Serve until SIGINT or SIGTERM."""
    asyncio.run(_serve(settings, port))


def url(host: str, port: int) -> str:
    """Return the address of the page on this machine."""
    shown = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  # not bound, only compared
    return f"http://{f'[{shown}]' if ':' in shown else shown}:{port}/"


def asgi(settings: Settings) -> App:
    """Return the app: that of Reflex, with the built page, behind the guard."""
    os.environ |= {
        "REFLEX_ENV_MODE": "prod",
        "REFLEX_WEB_WORKDIR": str(WEB_DIR),
        "REFLEX_STATES_WORKDIR": str(STATE_DIR / "webapp"),
        "REFLEX_TELEMETRY_ENABLED": "false",
        "REFLEX_CHECK_LATEST_VERSION": "false",
        # Of Reflex's own names, hence the pinned version: the page is there, and served beside the rest.
        "__REFLEX_SKIP_COMPILE": "true",
        "__REFLEX_MOUNT_FRONTEND_COMPILED_APP": "true",
        "REFLEX_BACKEND_ONLY": "true",
    }
    sys.path.insert(0, str(HERE))  # rxconfig
    from webapp.app import app

    return Guard(app(), settings.dashboard_user, settings.dashboard_password.get_secret_value())


async def _serve(settings: Settings, port: int) -> None:
    host = settings.dashboard_host
    server = uvicorn.Server(
        uvicorn.Config(
            asgi(settings),
            host=host,
            port=port,
            ws="wsproto",
            lifespan="on",
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=STOP_S,
        )
    )
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        # The server raises the signal that ended it once more: here it ends no process.
        loop.add_signal_handler(number, _end, server)
    announcing = asyncio.create_task(_announce(server, url(host, port)))
    await server.serve()
    announcing.cancel()


def _end(server: uvicorn.Server) -> None:
    server.should_exit = True


async def _announce(server: uvicorn.Server, address: str) -> None:
    """Say where the page is once it answers."""
    while not server.started:
        await asyncio.sleep(0.02)
    sys.stdout.write(f"serving {address}\n")
    sys.stdout.flush()


def is_loopback(host: str) -> bool:
    """Tell whether an address is reached from this machine only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def free_port(host: str, port: int) -> int:
    """Return the port to listen on, having tried it.

    Raises:
        SettingsError: it is taken, or the host is no address of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((host, port))
        except OSError as error:
            raise SettingsError(
                f"the dashboard cannot listen at DASHBOARD_HOST={host}, DASHBOARD_PORT={port}: "
                f"{error.strerror or error}"
            ) from None
        return int(trial.getsockname()[1])
