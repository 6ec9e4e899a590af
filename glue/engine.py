"""Which engine makes the 1 s bars, how it does, and as which consumer groups it reads."""

import msgspec

from glue.errors import TapelineError
from glue.io.ksqldb import RUNNING, KsqlDb
from glue.settings import Settings, shown

MADE_BY_QUERIES = ("BINS_BY_SYMBOL", "BARS_1S_WINDOWED", "BARS_1S")
"""By ksql/02 and 03, in their order: each reads the topic of the one before, the first ticks.raw."""


class Engine(msgspec.Struct, frozen=True):
    """The engine that the settings choose; `state` is "running" or what is wrong."""

    name: str
    where: str
    state: str
    reads: list[tuple[str, str]]
    """(consumer group, topic) of each of its steps; the group is empty where a step is not there."""

    @property
    def is_running(self) -> bool:
        """Whether nothing is wrong."""
        return self.state == "running"


def local_engine(settings: Settings, state: str = "") -> Engine:
    """Return `glue.aggregate`; how it does the caller is to find out (`glue.parts`)."""
    return Engine("aggregate", "", state, [(settings.agg_group, settings.kafka_topic_raw)])


def steps(settings: Settings) -> list[tuple[str, str]]:
    """Return (consumer group, topic) of each step from bins to bars, the first one first.

    The group is empty where a step is not there, or ksqlDB does not answer.
    """
    engine = ksqldb_engine(settings) if settings.ksqldb_url else local_engine(settings)
    return engine.reads


def ksqldb_engine(settings: Settings) -> Engine:
    """Ask the server of KSQLDB_URL for its version and for its queries."""
    name = "ksqldb"
    topics = (settings.kafka_topic_raw, *settings.ksqldb_topics_between)
    try:
        with KsqlDb(settings) as server:
            info = server.info()
            name = f"ksqldb {info['version']}"
            sources = {made: server.source(made) for made in MADE_BY_QUERIES}
            states = server.query_states()
    except TapelineError as error:
        return Engine(name, shown(settings.ksqldb_url), str(error), [("", topic) for topic in topics])
    wrong, reads = [], []
    for topic, (made, source) in zip(topics, sources.items(), strict=True):
        query = source.writers[0] if source is not None and source.writers else None
        reads.append((f"_confluent-ksql-{info['ksqlServiceId']}query_{query}" if query else "", topic))
        if query is None:
            wrong.append(f"{made} is not deployed")
        elif states.get(query) != RUNNING:
            wrong.append(f"{query} is {states.get(query, 'gone')}")
    return Engine(name, shown(settings.ksqldb_url), ", ".join(wrong) or "running", reads)
