"""What every embedded part states about itself. A new part is a subclass and a line in glue.stack.stack."""

import http.client
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from pydantic import SecretStr

from glue.settings import Settings

LOOPBACK = "127.0.0.1"
PROBE_TIMEOUT_S = 2.0


def embedded(settings: Settings, endpoints: Mapping[str, str]) -> Settings:
    """Return settings that lead clients to the embedded parts, whatever the environment names."""
    found = {name.lower(): value for name, value in endpoints.items()}
    return settings.model_copy(update={**found, "kafka_properties": SecretStr("")})


def answers(port: int, path: str) -> bool:
    """Tell whether a GET to a port of this machine is answered with 200 within 2 s."""
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=PROBE_TIMEOUT_S)
    try:
        connection.request("GET", path)
        with connection.getresponse() as answer:  # else it keeps the socket open
            return answer.status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


@dataclass(frozen=True, slots=True)
class Launch:
    """How a part is started; it runs in its own folder."""

    command: list[str]
    env: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Place:
    """What a part is given to start with."""

    home: Path
    """Where the part runs and keeps its data."""
    temp: Path
    """An empty folder for what need not outlive the process."""
    ports: dict[str, int]
    """The chosen port for each purpose."""
    files: list[Path]
    """The locked files of the part, those of `Part.files` first; an archive is an unpacked folder."""
    endpoints: Mapping[str, str]
    """The settings that the part uses."""
    keys: Path
    """A folder for keys by which the parts know each other."""


class Part(ABC):
    """One embedded process. Everything it listens on is bound to LOOPBACK."""

    name: ClassVar[str]
    files: ClassVar[tuple[str, ...]] = ()
    """Maven coordinates of files that need nothing more."""
    roots: ClassVar[tuple[str, ...]] = ()
    """Maven coordinates of jars; `python -m glue.stack.lock` adds what they depend on."""

    uses: ClassVar[tuple[str, ...]] = ()
    """Settings by which it finds other parts, which come before it; when one moves it starts again."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @property
    def is_wanted(self) -> bool:
        """Whether the settings ask for this part."""
        return True

    @abstractmethod
    def wanted_ports(self) -> dict[str, int]:
        """Return the port wanted for each purpose, the one clients use first; 0 = any free one."""

    @abstractmethod
    def launch(self, place: Place) -> Launch:
        """Prepare the part's folder and return how to start it. Safe to run again."""

    @abstractmethod
    def is_ready(self, ports: dict[str, int]) -> bool:
        """Ask the running part whether it serves; answers within about 2 s."""

    @abstractmethod
    def endpoints(self, ports: dict[str, int]) -> dict[str, str]:
        """Return the settings (environment names) by which clients find the part."""
