"""Where the ksqlDB rows are played: the user's broker, registry and server, with names of their own."""

import os
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from confluent_kafka.admin import NewTopic  # type: ignore[attr-defined]  # documented, but not marked as exported

from bench.rounds import Say
from bench.stage import Scene
from bench.topic import decode
from glue.deploy.scripts import KSQL_DIR, Statement, read_scripts
from glue.errors import SettingsError, TapelineError
from glue.io.kafka import admin_client
from glue.io.ksqldb import KsqlDb
from glue.io.registry import HEADER, Registry
from glue.io.rest import Refused
from glue.io.topics import WINDOW_RETENTION_MS
from glue.settings import Settings

RUN_DEADLINE_S = 60.0
POLL_S = 0.1
DROP_TRIES = 20


class Place(Scene):
    """A broker, a registry and a ksqlDB server that run already; what is made there is removed again."""

    def __init__(self, folder: Path, say: Say) -> None:
        super().__init__(folder, say)
        self.base = Settings.load()
        if not self.base.ksqldb_url:
            raise SettingsError(
                "KSQLDB_URL is not set: the address of a ksqlDB server on the broker of KAFKA_BROKERS and "
                "the registry of SCHEMA_REGISTRY_URL"
            )
        self.server = KsqlDb(self.base)
        self.registry = Registry(self.base)
        self._schemas: dict[int, Any] = {}
        info = self.server.info()
        self.version, self.service_id = info["version"], info["ksqlServiceId"]

    def close(self) -> None:
        """Let go of server and registry."""
        self.server.__exit__()
        self.registry.close()

    @contextmanager
    def topics(self, **overrides: Any) -> Iterator[Settings]:
        """Yield settings with topics of their own, registered, for as long as the block lasts."""
        settings = self.own_settings(f"bench-{os.getpid()}-{next(self._numbers)}", **overrides)
        self.registry.register(f"{settings.kafka_topic_raw}-value", "tick_bin.avsc")
        admin = admin_client(settings)
        plain = NewTopic(
            plain_topic(settings),
            num_partitions=settings.kafka_partitions,
            config={
                "message.timestamp.type": "LogAppendTime",  # or old bars would be gone at once
                "retention.ms": str(WINDOW_RETENTION_MS),
            },
        )
        for future in admin.create_topics([plain]).values():
            future.result()
        try:
            yield settings
        finally:
            present = admin.list_topics(timeout=10).topics
            prefix = settings.kafka_topic_raw.removesuffix("ticks.raw")
            doomed = [name for name in present if name.startswith(prefix)]
            for future in admin.delete_topics(doomed).values():
                future.result()

    @contextmanager
    def queries(
        self, settings: Settings, statements: Sequence[Statement], properties: dict[str, str]
    ) -> Iterator[None]:
        """Run statements under names of their own, with more stream properties, while the block lasts."""
        made: list[Statement] = []
        try:
            for statement in _renamed(statements, settings):
                made.append(statement)
                self.server.run(statement.text, statement.properties | properties)
            self._await_running(made)
            yield
        finally:
            for statement in reversed(made):
                self._drop(statement)

    def decode(self, value: bytes | None) -> dict[str, Any]:
        """Return the fields of a record by the schema it was written with."""
        assert value is not None
        schema_id = HEADER.unpack_from(value)[1]
        if schema_id not in self._schemas:
            self._schemas[schema_id] = self.registry.schema(schema_id)
        return decode(self._schemas[schema_id], value)

    def _await_running(self, made: Sequence[Statement]) -> None:
        deadline = time.monotonic() + RUN_DEADLINE_S
        names = [statement.name for statement in made if statement.is_query]
        while True:
            states = self.server.query_states()
            writers = [query for name in names for query in self._writers(name)]
            if len(writers) == len(names) and all(states.get(query) == "RUNNING" for query in writers):
                return
            if time.monotonic() > deadline:
                raise TapelineError(f"the queries of {', '.join(names)} do not run: {states}")
            time.sleep(POLL_S)

    def _writers(self, name: str) -> list[str]:
        source = self.server.source(name)
        return source.writers if source else []

    def _drop(self, statement: Statement) -> None:
        for query in self._writers(statement.name):
            self.server.run(f"TERMINATE {query};")
        more = "DELETE TOPIC" if statement.is_query else ""
        for left in reversed(range(DROP_TRIES)):  # what a query was reading may be refused for a moment
            try:
                self.server.run(f"DROP {statement.kind} IF EXISTS `{statement.name}` {more};")
            except Refused:
                if not left:
                    raise
                time.sleep(POLL_S * 5)
            else:
                return


def bar_scripts(settings: Settings) -> list[Statement]:
    """Return the statements of ksql/ on the topics of the settings."""
    return [statement for script in read_scripts(KSQL_DIR, settings) for statement in script.statements]


def plain_scripts(settings: Settings, file: str) -> list[Statement]:
    """Return the statements of a file of plain/ with the stream that it reads."""
    scripts = {script.name: script for script in read_scripts(Path(__file__).parent / "plain", settings)}
    return [bar_scripts(settings)[0], *scripts[file].statements]


def plain_topic(settings: Settings) -> str:
    """Return the topic that the queries of plain/ write to."""
    return f"{settings.agg_output_topic}.plain"


def _renamed(statements: Sequence[Statement], settings: Settings) -> list[Statement]:
    """Give streams and tables names that nobody else uses."""
    own = re.sub(r"\W", "_", settings.kafka_topic_raw.removesuffix("ticks.raw")).upper()
    names = "|".join(sorted({statement.name for statement in statements}, key=len, reverse=True))
    return [
        replace(s, name=own + s.name, text=re.sub(rf"\b({names})\b", rf"{own}\1", s.text)) for s in statements
    ]
