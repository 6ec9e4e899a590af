"""The local Snowflake: fakesnow's server on loopback, its databases DuckDB files in the part's folder."""

import sys
from pathlib import Path

from glue.stack.keys import public_key
from glue.stack.part import LOOPBACK, Launch, Part, Place, answers
from glue.stack.snowflake_users import Users

CONNECT_USER = "TAPELINE_CONNECT"
"""The user of the embedded Kafka Connect, who logs in by key pair only."""
ROOT = Path(__file__).parents[2]


class Snowflake(Part):
    """What answers to Snowflake's drivers on this machine. Its data survives a restart and a kill."""

    name = "snowflake"

    def wanted_ports(self) -> dict[str, int]:
        """Return the port of the API."""
        return {"http": self.settings.stack_snowflake_port}

    def launch(self, place: Place) -> Launch:
        """Register Connect's key and return the command; databases and staged files appear in the folder."""
        Users(place.home).register(CONNECT_USER, public_key(place.keys))
        return Launch(
            [sys.executable, "-m", "glue.stack.snowflake_server", "--port", str(place.ports["http"])],
            {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", "TMPDIR": str(place.temp)},
        )

    def is_ready(self, ports: dict[str, int]) -> bool:
        """Ask whether the databases are open."""
        return answers(ports["http"], "/health")

    def endpoints(self, ports: dict[str, int]) -> dict[str, str]:
        """Return SNOW_ACCOUNT, which holds the whole way in."""
        return {"SNOW_ACCOUNT": f"http://TAPELINE:tapeline@{LOOPBACK}:{ports['http']}"}
