"""How the connectors of connect/ do: states by the worker's word, lag by Kafka's, offsets by Snowflake's."""

import time

import msgspec

from glue.deploy.connect import CONNECT_DIR, read_connectors
from glue.errors import TapelineError
from glue.io.connect import Connect
from glue.io.topic_stats import Lag, consumer_lag, oldest_unread_ms
from glue.settings import Settings

ANSWERS_WITHIN_MS = 3_000
MISSING = "not deployed"
LONGEST_PROBLEM = 300
"""Characters of the cause of a failure."""


class Channel(msgspec.Struct, frozen=True):
    """A channel of Snowpipe Streaming; `offset` is that of the last record whose row is committed."""

    name: str
    offset: str | None


class Connector(msgspec.Struct, frozen=True):
    """A connector: its state, those of its tasks, and what it has still to read of its topics."""

    name: str
    state: str
    tasks: list[str]
    problem: str
    """The first cause of the failure of what failed, by its trace."""
    lag: list[Lag]
    channels: list[Channel] | None
    """None where Snowflake was not asked, or did not answer."""
    waiting_s: float = 0.0
    """For how long the oldest record that is not committed has been in its topic."""

    @property
    def is_running(self) -> bool:
        """Whether it and all its tasks run."""
        return {self.state, *self.tasks} == {"RUNNING"} and bool(self.tasks)


def look(settings: Settings, *, with_channels: bool) -> list[Connector]:
    """Ask the worker of CONNECT_URL, and with `with_channels` the account of SNOW_ACCOUNT too.

    Raises:
        TapelineError: the worker does not answer.
    """
    quick = settings.model_copy(update={"rest_timeout_ms": ANSWERS_WITHIN_MS})
    found = []
    with Connect(quick) as worker:
        for name, config in read_connectors(CONNECT_DIR, settings).items():
            state = worker.state(name)
            if state is None:
                found.append(Connector(name, MISSING, [], "", [], None))
                continue
            group, topics = f"connect-{name}", config["topics"].split(",")
            connector = Connector(
                name=name,
                state=state.states[0],
                tasks=state.states[1:],
                problem=next(reversed(state.causes), "")[:LONGEST_PROBLEM],
                lag=[row for topic in topics for row in consumer_lag(settings, group, topic)],
                channels=_channels(settings, config) if with_channels and settings.snow_account else None,
                waiting_s=max(_waiting_s(settings, group, topic) for topic in topics),
            )
            found.append(connector)
    return found


def _waiting_s(settings: Settings, group: str, topic: str) -> float:
    since_ms = oldest_unread_ms(settings, group, topic)
    return 0.0 if since_ms is None else max(0.0, time.time() - since_ms / 1000)


def _channels(settings: Settings, config: dict[str, str]) -> list[Channel] | None:
    from snowflake.connector.errors import Error  # here: there may be no driver where nobody asks

    from glue.io.snowflake import connect

    tables = {pair.partition(":")[2] for pair in config.get("snowflake.topic2table.map", "").split(",")}
    place = f"{settings.snow_database}.{config.get('snowflake.schema.name')}"
    found = []
    try:
        with connect(settings, "status") as connection, connection.cursor() as cursor:
            for table in sorted(tables):
                cursor.execute(f"SHOW CHANNELS IN TABLE {place}.{table}")
                columns = [column.name for column in cursor.description]
                rows = [dict(zip(columns, row, strict=True)) for row in cursor.fetchall()]
                found += [Channel(str(row["name"]), row["offset_token"]) for row in rows]
    except (TapelineError, Error):
        return None
    return found
