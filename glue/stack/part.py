"""What every embedded part states about itself. A new part is a subclass and a line in glue.stack.stack."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from pydantic import SecretStr

from glue.settings import Settings

LOOPBACK = "127.0.0.1"


def embedded(settings: Settings, endpoints: Mapping[str, str]) -> Settings:
    """Return settings that lead clients to the embedded parts, whatever the environment names."""
    found = {name.lower(): value for name, value in endpoints.items()}
    return settings.model_copy(update={**found, "kafka_properties": SecretStr("")})


@dataclass(frozen=True, slots=True)
class Launch:
    """How a part is started; it runs in its own folder."""

    command: list[str]
    env: dict[str, str] = field(default_factory=dict)


class Part(ABC):
    """One embedded process. Everything it listens on is bound to LOOPBACK."""

    name: ClassVar[str]
    roots: ClassVar[tuple[str, ...]]
    """Maven coordinates that the part needs; `python -m glue.stack.lock` adds what they depend on."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @abstractmethod
    def wanted_ports(self) -> dict[str, int]:
        """Return the port wanted for each purpose, the one clients use first; 0 = any free one."""

    @abstractmethod
    def launch(self, home: Path, temp: Path, ports: dict[str, int], files: list[Path]) -> Launch:
        """Prepare the part's folder `home` and return how to start it. Safe to run again.

        Args:
            home: where the part runs and keeps its data.
            temp: an empty folder for what need not outlive the process.
            ports: the chosen port for each purpose.
            files: the locked files of the part, in the order of the lock; an archive is an unpacked folder.
        """

    @abstractmethod
    def is_ready(self, ports: dict[str, int]) -> bool:
        """Ask the running part whether it serves; answers within about 2 s."""

    @abstractmethod
    def endpoints(self, ports: dict[str, int]) -> dict[str, str]:
        """Return the settings (environment names) by which clients find the part."""
