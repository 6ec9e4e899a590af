"""docker/compose.yml as fixtures: free ports, a project name of its own, gone with the session.

All tests here are skipped, with the reason, where no Docker engine answers.
"""

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from pytest_docker.plugin import Services, execute

from glue.settings import Settings

ROOT = Path(__file__).parents[2]
ENGINE_TIMEOUT_S = 20
FEED = (
    "--synthetic --historical --duration 60 --rate 300 --seed 7 --disorder-ms 800 --late-rate 0.01 --speed 0"
)
PORTS = ("KAFKA", "REGISTRY", "KSQLDB", "CONNECT", "FEED", "WORKER_METRICS", "WEBAPP")


@dataclass(frozen=True)
class Containers:
    """The running containers, as the host sees them."""

    settings: Settings
    services: Services
    command: str
    """`docker compose` with the files and the project of this session."""

    def compose(self, subcommand: str) -> str:
        """Run a subcommand of docker compose and return what it printed."""
        return bytes(execute(f"{self.command} {subcommand}", ignore_stderr=True)).decode()


def _problem() -> str | None:
    """Say why nothing can run here, or None."""
    if shutil.which("docker") is None:
        return "there is no docker client"
    for command, what in (
        (["docker", "compose", "version"], "the docker client has no compose plugin"),
        (["docker", "info"], "no Docker engine answers"),
    ):
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=ENGINE_TIMEOUT_S, check=False
            )
        except subprocess.TimeoutExpired:
            return f"`{' '.join(command)}` does not answer within {ENGINE_TIMEOUT_S} s"
        if done.returncode:
            return f"{what}: {(done.stderr.strip().splitlines() or ['no reason given'])[-1]}"
    return None


@pytest.fixture(scope="session")
def engine() -> None:
    """Skip where there is no Docker engine."""
    problem = _problem()
    if problem:
        pytest.skip(problem)


@pytest.fixture(scope="session")
def ports() -> dict[str, int]:
    """Return a free port for each published one."""
    sockets = {name: socket.create_server(("127.0.0.1", 0)) for name in PORTS}
    found = {name: int(one.getsockname()[1]) for name, one in sockets.items()}
    for one in sockets.values():
        one.close()
    return found


@pytest.fixture(scope="session")
def docker_compose_file() -> list[str]:
    return [str(ROOT / "docker" / "compose.yml"), str(Path(__file__).with_name("compose.override.yml"))]


@pytest.fixture(scope="session")
def docker_compose_project_name() -> str:
    return f"tapeline-test-{os.getpid()}"


@pytest.fixture(scope="session")
def docker_compose_command() -> str:
    return f'docker compose --env-file "{ROOT / "docker" / "versions.env"}"'


@pytest.fixture(scope="session")
def command(
    docker_compose_command: str, docker_compose_file: list[str], docker_compose_project_name: str
) -> str:
    files = " ".join(f'-f "{file}"' for file in docker_compose_file)
    return f'{docker_compose_command} {files} -p "{docker_compose_project_name}"'


@pytest.fixture(scope="session")
def docker_setup(
    engine: None, ports: dict[str, int], command: str, request: pytest.FixtureRequest
) -> Iterator[list[str]]:
    """Set the variables, and remove all containers in the end: also those of a start that failed."""
    with pytest.MonkeyPatch.context() as patch:
        for name, port in ports.items():
            patch.setenv(f"TAPELINE_{name}_PORT", str(port))
        patch.setenv("TAPELINE_FEED", FEED)
        patch.setenv("TAPELINE_WORKER_RESTART", "on-failure")
        for name in list(os.environ):  # no account of a developer's
            if name in ("TAPELINE_FEED_URL", "COMPOSE_PROFILES") or name.startswith(("SNOW_", "DASHBOARD_")):
                patch.delenv(name)
        try:
            yield ["up --build --detach"]
        finally:
            if request.session.testsfailed:
                sys.stderr.write(bytes(execute(f"{command} logs --tail 60", ignore_stderr=True)).decode())
            execute(f"{command} down --volumes --remove-orphans")


@pytest.fixture(scope="session")
def docker_cleanup() -> list[str]:
    return []  # docker_setup cleans up


@pytest.fixture(scope="session")
def containers(docker_services: Services, ports: dict[str, int], command: str) -> Containers:
    """Start all containers; the feed is a finite one."""
    settings = Settings(
        _env_file=None,
        kafka_brokers=f"127.0.0.1:{ports['KAFKA']}",
        schema_registry_url=f"http://127.0.0.1:{ports['REGISTRY']}",
        ksqldb_url=f"http://127.0.0.1:{ports['KSQLDB']}",
        connect_url=f"http://127.0.0.1:{ports['CONNECT']}",
        mock_api_url=f"http://127.0.0.1:{ports['FEED']}/ticks",
    )
    return Containers(settings, docker_services, command)
