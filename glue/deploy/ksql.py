"""The ksql step: scripts to streams, tables and running queries, statement by statement.

Safe to run again: what is there by the same text is left, what is missing is made, so a deployment that broke
off goes on. What is there by another text is drift, and is made anew only on request.
"""

import time

from glue.core.watermarks import BAR_MS
from glue.deploy.report import Report
from glue.deploy.scripts import Script, Statement, grace_ms
from glue.errors import TapelineError, TransientError
from glue.io.kafka import cluster_id
from glue.io.kafka_read import topic_ends
from glue.io.ksqldb import ERROR, RUNNING, KsqlDb, Source
from glue.io.rest import Refused
from glue.io.state_topic import Deployed, publish_state
from glue.io.topics import recreate_topics
from glue.settings import Settings

STEP = "ksql"
POLL_S = 0.25


def check_times(scripts: list[Script], settings: Settings) -> None:
    """Refuse windows whose literals are not the settings': the engine would drop bins or wait too long.

    Raises:
        TapelineError: there is no window, the size of one is not that of a bar, its grace is not
            REPLAY_MAX_LATE_MS, or the bin size of the head comment is not REPLAY_BIN_MS.
    """
    if not any(script.has_window for script in scripts):
        raise TapelineError("ksql/: no script has a WINDOW that makes bars")
    for script in scripts:
        if not script.has_window:
            continue
        for what, literal, name, wanted in (
            ("SIZE", script.size_ms, "a bar", BAR_MS),
            ("GRACE PERIOD", script.grace_ms, "REPLAY_MAX_LATE_MS", settings.replay_max_late_ms),
            ("Bin size", script.bin_ms, "REPLAY_BIN_MS", settings.replay_bin_ms),
        ):
            if literal != wanted:
                found = "missing" if literal is None else f"{literal} ms"
                raise TapelineError(
                    f"ksql/{script.name}: {what} is {found}, but {name} is {wanted}: set both alike"
                )


def check_cluster(server: KsqlDb, settings: Settings) -> dict[str, str]:
    """Return what the server says of itself, when it is on the cluster of KAFKA_BROKERS.

    Raises:
        TapelineError: it is on another: it would read nothing of what the worker writes.
    """
    info = server.info()
    here = cluster_id(settings)
    if info.get("kafkaClusterId") != here:
        raise TapelineError(
            f"{server.where} is attached to the Kafka cluster {info.get('kafkaClusterId')}, but "
            f"KAFKA_BROKERS={settings.kafka_brokers} is {here}"
        )
    return info


class KsqlStep:
    """One run of the step against one server; `known` is what it was given before."""

    def __init__(self, server: KsqlDb, settings: Settings, report: Report, known: Deployed) -> None:
        self._server = server
        self._settings = settings
        self._report = report
        self._known = known

    def create(self, statements: list[Statement], *, replace: bool, is_dropped: bool = False) -> None:
        """Create what is missing, in order; with `replace` also what differs, and all that comes after it.

        `is_dropped` says, in a dry run, that nothing would be there by now.

        Raises:
            TapelineError: the server refuses a statement, or a query does not run; names file and line.
        """
        found = {s.name: None if is_dropped else self._server.source(s.name) for s in statements}
        states = self._server.query_states()
        failed = {query for query, state in states.items() if state == ERROR} if replace else set()
        differing = {
            s.name: text
            for s in statements
            if (text := self._difference(s, found[s.name], failed, strict=replace))
        }
        if differing and replace:
            first = next(i for i, s in enumerate(statements) if s.name in differing)
            self.drop(statements[first:])
            found |= dict.fromkeys(s.name for s in statements[first:])
            differing.clear()
        for statement in statements:
            if statement.name in differing:
                self._report.drift(
                    STEP, statement.name, f"{differing[statement.name]}; --replace makes it anew"
                )
            elif found[statement.name] is None:
                used = {source.topic for source in found.values() if source is not None}
                self._create(statement, is_topic_used=statement.topic in used)
            else:
                told = [self._await_running(statement)]
                if not self._is_known(statement):
                    told.append("made by hand, its text is not compared; --replace makes it anew")
                self._report.exists(STEP, statement.name, "; ".join(filter(None, told)))

    def drop(self, statements: list[Statement]) -> None:
        """Drop streams and tables, the newest first; their queries end, their topics stay.

        Raises:
            TapelineError: one is not this deployment's, or something else reads it.
        """
        found = [(s, source) for s in statements if (source := self._server.source(s.name)) is not None]
        for statement, source in found:
            if source.topic != statement.topic and not self._is_known(statement):
                raise TapelineError(
                    f"{source.kind} {statement.name} on {self._server.where} is not of this deployment: it "
                    f"is on topic {source.topic}, not {statement.topic}"
                )
        writers = {query for _, source in found for query in source.writers}
        for statement, source in found:
            if others := [query for query in source.readers if query not in writers]:
                raise TapelineError(
                    f"{statement.name} on {self._server.where} is read by {', '.join(others)}, which this "
                    "would leave without input, so nothing was done; --operators takes the queries of "
                    "ksql/operators/ along, others must be ended first"
                )
        for statement, source in reversed(found):
            if not self._report.is_dry_run:
                for query in source.writers:
                    self._run(statement, f"TERMINATE {query};")
                self._run(statement, f"DROP {source.kind} IF EXISTS `{statement.name}`;")
                self._remember({n: h for n, h in self._known.statements.items() if n != statement.name})
            self._report.change(STEP, statement.name, "dropped", f"topic {source.topic} stays")

    def _create(self, statement: Statement, *, is_topic_used: bool) -> None:
        if self._report.is_dry_run:
            self._report.change(STEP, statement.name, "created", f"by {statement.place}")
            return
        if statement.is_query and not is_topic_used:
            self._empty(statement.topic)
        # Known before it is made: a deployment that breaks off here finds it made by this text.
        self._remember(self._known.statements | {statement.name: statement.hash})
        self._run(statement, statement.text, statement.properties)
        self._report.change(STEP, statement.name, "created", self._await_running(statement))

    def _empty(self, topic: str) -> None:
        """Empty a topic between two queries: an earlier script may have written it by another form."""
        settings = self._settings
        if topic not in settings.ksqldb_topics_between:
            return
        if any(topic_ends(settings, topic)):
            self._report.say(f"emptying {topic}, which an earlier query wrote")
            recreate_topics(settings, [topic])

    def _difference(
        self, statement: Statement, source: Source | None, failed: set[str], *, strict: bool
    ) -> str:
        """Say what of a source is not as its statement makes it; empty where all is.

        With `strict` what was made by hand, by a text that nobody knows, differs. So does what a query in
        `failed` writes.
        """
        if source is None:
            return ""
        if source.topic != statement.topic:
            return f"on topic {source.topic}, expected {statement.topic}"
        if grace_ms(source.statement) != grace_ms(statement.text):
            return f"its grace is {grace_ms(source.statement)} ms, expected {grace_ms(statement.text)}"
        if statement.is_query and not source.writers:
            return "its query was ended"
        if failed.intersection(source.writers):
            return "its query has failed"
        if self._is_known(statement) and self._known.statements[statement.name] != statement.hash:
            return f"made by another text than {statement.place}"
        return "made by hand" if strict and not self._is_known(statement) else ""

    def _remember(self, statements: dict[str, str]) -> None:
        self._known = Deployed(service_id=self._known.service_id, statements=statements)
        publish_state(self._settings, self._known.key, self._known)

    def _is_known(self, statement: Statement) -> bool:
        return statement.name in self._known.statements

    def _run(self, statement: Statement, text: str, properties: dict[str, str] | None = None) -> None:
        try:
            self._server.run(text, properties)
        except Refused as error:
            raise TapelineError(
                f"ksql/{statement.place}: {self._server.where} refuses the statement: {error.message}\n"
                f"  {' '.join(text.split())[:200]}"
            ) from None
        except TransientError as error:
            raise TransientError(f"ksql/{statement.place}: {error}; run the command again to go on") from None

    def _await_running(self, statement: Statement) -> str:
        """Wait until a statement's query runs; return what to tell of it."""
        if not statement.is_query or self._report.is_dry_run:
            return ""
        deadline = time.monotonic() + self._settings.rest_timeout_ms / 1000
        while True:
            source = self._server.source(statement.name)
            states = self._server.query_states()
            found = {query: states.get(query, "not there") for query in (source.writers if source else [])}
            if found and set(found.values()) == {RUNNING}:
                return f"{', '.join(found)} runs"
            if ERROR in found.values() or time.monotonic() > deadline:
                raise TapelineError(
                    f"ksql/{statement.place}: the query of {statement.name} does not run "
                    f"({', '.join(f'{q}: {s}' for q, s in found.items()) or 'there is none'}); "
                    "the server's log tells why, and --replace makes it anew"
                )
            time.sleep(POLL_S)
