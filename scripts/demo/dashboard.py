"""The dashboard in the demo: built the first time, on a port that is free."""

from collections.abc import Callable

from glue.errors import TapelineError
from glue.settings import Settings
from glue.stack.ports import choose
from scripts.demo.child import Child
from webapp.build import build, is_current


def is_built(say: Callable[[str], None]) -> bool:
    """Build the page unless it is there; without it the demo goes on."""
    if is_current():
        return True
    try:
        say("building the dashboard (only this once)")
        build(lambda step: say(f"dashboard: {step}"))
    except TapelineError as error:
        say(f"the demo goes on without the dashboard: {error}")
        return False
    return True


def start(settings: Settings, start_child: Callable[..., Child], env: dict[str, str]) -> str:
    """Start it on loopback; return its URL."""
    port = choose([settings.dashboard_port], [])
    child = start_child("webapp", "--host", "127.0.0.1", "--port", str(port), env=env)
    return child.wait_for("serving ").split()[-1]
