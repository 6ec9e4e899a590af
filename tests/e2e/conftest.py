"""The dashboard as a process of its own, and Chromium."""

import fcntl
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.conftest import RunningStack
from tests.e2e.dashboard import REFRESH_MS, Dashboard, picture, tabs
from tests.processes import Command, env_of, running
from tests.warehouse import BarTopic
from webapp.build import is_current

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run")
FLAGS += ("--disable-background-networking", "--renderer-process-limit=4")


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Build the page, unless another process of the session has just done so."""
    with (tmp_path_factory.getbasetemp().parent / "webapp-build.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not is_current():
            command = Command("-m", "webapp", "build", cwd=tmp_path_factory.mktemp("build"))
            assert command.wait(400) == 0, command.output


@pytest.fixture(scope="module")
def dashboard(
    stack: RunningStack, built: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Dashboard]:
    settings = stack.settings(dashboard_refresh_ms=REFRESH_MS, dashboard_port=0)
    # Nothing to build with: what was built is served.
    env = env_of(settings) | {"PATH": "/nonexistent"}
    with running("-m", "webapp", cwd=tmp_path_factory.mktemp("dashboard"), env=env) as command:
        url = command.wait_for("serving ").split()[-1]
        yield Dashboard(url, settings, BarTopic(settings), command)
        assert "Traceback" not in command.output, command.output


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if not CHROMIUM.exists():
        pytest.skip(f"there is no {CHROMIUM} (apt-get install chromium)")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=str(CHROMIUM), args=list(FLAGS))
        yield started
        started.close()


@pytest.fixture
def page(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A tab as others are; it leaves a picture."""
    with tabs(browser, 1) as (tab,):
        yield tab
        picture(tab, re.sub(r"\W+", "_", request.node.name))
