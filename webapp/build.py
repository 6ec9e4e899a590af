"""The page's build: once with Node from PyPI, kept in webapp/.build until a source of it changes.

Reflex writes beside the sources it is given, so it is given a copy of what it needs there. npm installs what
webapp/npm locks, by version and hash.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import msgspec

from glue.errors import TapelineError

HERE = Path(__file__).parent
BUILD_DIR = HERE / ".build"
WEB_DIR = BUILD_DIR / ".web"
PAGE_DIR = WEB_DIR / "build" / "client"
STAMP = BUILD_DIR / "sources.sha256"
LOG = BUILD_DIR / "build.log"
LOCK_DIR = HERE / "npm"
LOCK_NAMES = ("package.json", "package-lock.json")
BUILD_LOCK_DIR = BUILD_DIR / "reflex.lock"
SOURCES = ("*.py", "assets/*", "npm/*")
STEPS = (
    ("Compiling", "compiling the pages"),
    ("Initializing the web", "preparing"),
    ("Installing base frontend packages", "installing packages from npm"),
    ("Installing frontend", "installing packages from npm"),
    ("Creating Production Build", "building"),
)
_SOCKET_ADDRESS = re.compile(rb"""(["'`])ws://localhost:\d+/_event\1""")
_OWN_ADDRESS = b'(location.origin.replace("http","ws")+"/_event")'


def _environment() -> dict[str, str]:
    """Return what Reflex is run with: Node with npm from PyPI, no calls home, nothing outside the build."""
    env = dict(os.environ)
    env["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), env.get("PATH", "")])
    # Reflex would otherwise measure which of two registries answers faster.
    registry = subprocess.run(
        ["npm", "config", "get", "registry"],  # noqa: S607
        env=env,
        cwd=BUILD_DIR,
        capture_output=True,
        text=True,
        check=False,
    )
    return env | {
        "PYTHONPATH": str(HERE.parent),
        "NPM_CONFIG_REGISTRY": registry.stdout.strip(),
        "REFLEX_DIR": str(BUILD_DIR / "reflex"),
        "REFLEX_USE_NPM": "1",
        "REFLEX_TELEMETRY_ENABLED": "false",
        "REFLEX_CHECK_LATEST_VERSION": "false",
        "NO_COLOR": "1",
        "COLUMNS": "200",
    }


def is_current() -> bool:
    """Tell whether there is a build of the present sources."""
    return STAMP.exists() and STAMP.read_text() == fingerprint()


def fingerprint() -> str:
    """Return a hash of what the build is made from."""
    found = hashlib.sha256(version("reflex").encode())
    for path in sorted(path for pattern in SOURCES for path in HERE.glob(pattern) if path.is_file()):
        found.update(path.relative_to(HERE).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return found.hexdigest()


def lock(say: Callable[[str], None]) -> None:
    """Choose the newest packages that Reflex and the page allow, build with them, and lock them.

    Raises:
        TapelineError: the build failed.
    """
    for name in LOCK_NAMES:
        (LOCK_DIR / name).unlink(missing_ok=True)
    build(say)
    for name in LOCK_NAMES:
        content = msgspec.json.decode((BUILD_LOCK_DIR / name).read_bytes())
        for package in content.get("packages", {}).values():
            package.pop("resolved", None)  # where it came from is the registry's business, not the lock's
            package.pop("funding", None)
        (LOCK_DIR / name).write_bytes(msgspec.json.format(msgspec.json.encode(content)) + b"\n")
    STAMP.write_text(fingerprint())


def build(say: Callable[[str], None]) -> None:
    """Build the page, telling of each step.

    Raises:
        TapelineError: it failed, the text ends with what the build said last; or npm took other packages than
            are locked.
    """
    began = time.monotonic()
    BUILD_DIR.mkdir(exist_ok=True)
    STAMP.unlink(missing_ok=True)
    wanted = fingerprint()
    shutil.copy(HERE / "rxconfig.py", BUILD_DIR)
    shutil.rmtree(BUILD_DIR / "assets", ignore_errors=True)
    shutil.copytree(HERE / "assets", BUILD_DIR / "assets")
    shutil.rmtree(BUILD_LOCK_DIR, ignore_errors=True)
    if is_locked := all((LOCK_DIR / name).exists() for name in LOCK_NAMES):
        shutil.copytree(LOCK_DIR, BUILD_LOCK_DIR)
    else:
        shutil.rmtree(WEB_DIR, ignore_errors=True)
    command = ["export", "--frontend-only", "--no-zip", "--env", "prod", "--loglevel", "info"]
    lines: list[str] = []
    with subprocess.Popen(
        [sys.executable, "-m", "reflex", *command],
        cwd=BUILD_DIR,
        env=_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        assert process.stdout is not None  # noqa: S101
        said = ""
        for line in process.stdout:
            lines.append(line)
            step = next((words for begin, words in STEPS if begin in line), "")
            if step and step != said:
                said = step
                say(step)
    LOG.write_text("".join(lines))
    if process.returncode:
        tail = "".join(lines[-15:]).rstrip()
        raise TapelineError(f"the dashboard could not be built; {LOG} ends with:\n{tail}")
    if is_locked and packages_of(BUILD_LOCK_DIR) != packages_of(LOCK_DIR):
        raise TapelineError(
            "npm took other packages than webapp/npm locks; `python -m webapp lock` renews it"
        )
    _free_of_port(PAGE_DIR)
    STAMP.write_text(wanted)
    say(f"built in {time.monotonic() - began:.0f} s")


def packages_of(folder: Path) -> dict[str, tuple[str, str]]:
    """Return version and hash of each package of a lock by where npm puts it."""
    found = msgspec.json.decode((folder / "package-lock.json").read_bytes())["packages"]
    return {place: (one["version"], one["integrity"]) for place, one in found.items() if place}


def _free_of_port(folder: Path) -> None:
    """Let the page connect to where it came from: Reflex builds one port in, which a container may move."""
    count = 0
    for path in folder.rglob("*.js"):
        text, found = _SOCKET_ADDRESS.subn(_OWN_ADDRESS, path.read_bytes())
        if found:
            path.write_bytes(text)
            for packed in (path.with_name(path.name + ".gz"), path.with_name(path.name + ".br")):
                packed.unlink(missing_ok=True)
        count += found
    if not count:
        raise TapelineError("the built page has no address of its server where Reflex 0.10.1 has it")
