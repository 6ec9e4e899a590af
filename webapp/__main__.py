"""The dashboard: `python -m webapp` builds the page when that is due, and serves it."""

import argparse
import sys

import structlog

from glue import log as logs
from glue.cli import run
from glue.presence import present
from glue.settings import Settings
from webapp.build import build, is_current, lock


def _say(text: str) -> None:
    sys.stdout.write(f"dashboard: {text}\n")
    sys.stdout.flush()


def main(argv: list[str]) -> int:
    """Parse the command line; build and serve."""
    parser = argparse.ArgumentParser(
        prog="python -m webapp",
        description="The live dashboard. Builds its page when it is not there or its sources have changed "
        "(a minute, with Node from PyPI), then serves it on one port. `build` only builds; `lock` renews the "
        "lock of its npm packages.",
        epilog="Settings come from the environment or .env; see .env.example.",
    )
    parser.add_argument("command", nargs="?", choices=("serve", "build", "lock"), default="serve")
    parser.add_argument("--host", help="address to listen on (DASHBOARD_HOST)")
    parser.add_argument("--port", help="port, 0 = any free one (DASHBOARD_PORT)")
    options = parser.parse_args(argv)
    settings = Settings.load(dashboard_host=options.host, dashboard_port=options.port)
    logs.configure(settings)
    if options.command == "lock":
        lock(_say)
    elif options.command == "build" or not is_current():
        build(_say)
    if options.command != "serve":
        return 0
    from webapp.server import free_port, is_loopback, serve, url

    if not is_loopback(settings.dashboard_host) and not settings.dashboard_user:
        structlog.get_logger().warning(
            "the dashboard is open to all who reach this address; set DASHBOARD_USER and DASHBOARD_PASSWORD",
            host=settings.dashboard_host,
        )
    port = free_port(settings.dashboard_host, settings.dashboard_port)
    with present("webapp", url(settings.dashboard_host, port)):
        serve(settings, port)
    return 0


if __name__ == "__main__":
    run(main)
