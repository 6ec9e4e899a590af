"""The steps of a deployment, each from settings and files to the estate, told to the report."""

from dataclasses import dataclass, replace

from glue.core.flushes import Position
from glue.core.partition import Shard
from glue.deploy import connect as connectors
from glue.deploy.ksql import KsqlStep, check_cluster, check_times
from glue.deploy.report import Report
from glue.deploy.scripts import KSQL_DIR, OPERATORS_DIR, Script, Statement, read_scripts, sink_retention_ms
from glue.errors import TapelineError
from glue.io.connect import Connect
from glue.io.kafka import MissingTopic
from glue.io.kafka_groups import forget_group, move_group, require_stopped, shards_of
from glue.io.kafka_read import topic_ends
from glue.io.ksqldb import KsqlDb
from glue.io.registry import BACKWARD, BAR_SCHEMA_FILE, Registry, subjects
from glue.io.state_topic import Deployed, agree, read_state, refuse_running_worker, withdraw
from glue.io.topics import Topic, ensure_topics, log_topic, recreate_topics
from glue.io.topics import topics as wanted_topics
from glue.settings import Settings, shown

KSQLDB = "ksqlDB"
ENGINE, LOADER, RAW_LOADER = "glue.aggregate", "glue.rollup", "glue.stage_raw"
"""What the members of the groups run."""
OPERATORS_TABLE = "BINS_1M"
"""Made by ksql/operators/: where it is, those scripts were deployed."""


@dataclass(frozen=True, slots=True)
class Order:
    """What a deployment is to do. A dry run is told to the report."""

    settings: Settings
    report: Report
    is_replacing: bool = False
    with_operators: bool = False
    is_emptied: bool = False
    """In a dry run: topics, streams and tables that are there would be gone by now."""


def topics(order: Order) -> None:
    """Create the topics that are missing; tell what of the others is not as it should be."""
    settings, report = order.settings, order.report
    report.say(f"topics at KAFKA_BROKERS={settings.kafka_brokers}")
    more = _operators_topics(settings) if order.with_operators else []
    made_by_empty = {topic.name for topic in wanted_topics(settings)} if order.is_emptied else set()
    for name, found in ensure_topics(settings, more, is_dry_run=report.is_dry_run):
        if name in made_by_empty:
            report.change("topics", name, "created", "" if found == "created" else "without its records")
            continue
        match found:
            case "created":
                report.change("topics", name, "created")
            case "exists":
                report.exists("topics", name)
            case _:
                report.drift("topics", name, found)


def schemas(order: Order) -> None:
    """Register the schemas of the topics."""
    settings, report = order.settings, order.report
    report.say(f"schemas at SCHEMA_REGISTRY_URL={shown(settings.schema_registry_url)}")
    with Registry(settings) as registry:
        for subject, file in subjects(settings).items():
            found = registry.find(subject, file)
            if found.schema_id is None:
                detail = file
                if not report.is_dry_run:
                    detail += f", id {registry.register(subject, file)}"
                report.change("schemas", subject, "created", detail)
            elif not found.compatibility:  # registered by another way, which left the subject without a rule
                if not report.is_dry_run:
                    registry.register(subject, file)
                report.change("schemas", subject, "changed", "compatibility BACKWARD")
            elif found.compatibility not in BACKWARD:
                report.drift("schemas", subject, f"compatibility is {found.compatibility}, expected BACKWARD")
            else:
                newer = "" if found.is_newest else "; a newer version is registered"
                report.exists("schemas", subject, f"{file}, id {found.schema_id}{newer}")


def ksql(order: Order) -> None:
    """Run the scripts on the server of KSQLDB_URL."""
    settings, report = order.settings, order.report
    with KsqlDb(settings) as server:
        step = _ksql_step(order, server)
        scripts = _scripts(settings, may_lack_schema=report.is_dry_run)
        check_times(scripts, settings)
        if not report.is_dry_run:
            _require_topics(order)
        agree(settings, KSQLDB, is_dry_run=report.is_dry_run)
        if order.with_operators:
            scripts += read_scripts(OPERATORS_DIR, settings)
        step.create(_statements(scripts), replace=order.is_replacing, is_dropped=order.is_emptied)


def drop_ksql(order: Order) -> None:
    """Take back what the scripts made, those for operators too."""
    with KsqlDb(order.settings) as server:
        scripts = _scripts(order.settings, may_lack_schema=True)
        scripts += read_scripts(OPERATORS_DIR, order.settings)
        _ksql_step(order, server).drop(_statements(scripts))
    if not order.report.is_dry_run:
        withdraw(order.settings, KSQLDB)


def connect(order: Order) -> None:
    """Give the worker of CONNECT_URL the connectors of connect/.

    A connector that starts while the registry is away refuses every record.
    """
    found = _connectors(order)
    if found:
        if not order.report.is_dry_run:
            with Registry(order.settings) as registry:
                registry.check()
        with Connect(order.settings) as server:
            connectors.create(server, found, order.report, order.settings.rest_timeout_ms / 1000)


def drop_connect(order: Order) -> None:
    """Delete the connectors of connect/."""
    found = _connectors(order)
    if found:
        with Connect(order.settings) as server:
            connectors.drop(server, found, order.report)


def snowflake(order: Order) -> None:
    """Run the scripts of snowflake/ on the account of SNOW_ACCOUNT, by the user's default role.

    Their USE ROLE statements choose the role for each part.
    """
    from glue.deploy import snowflake as scripts  # here: the other steps need no driver
    from glue.io.snowflake import connect, where

    settings, report = order.settings, order.report
    statements = scripts.read_statements(settings)
    report.say(f"snowflake at {where(settings)}")
    if report.is_dry_run:
        scripts.plan(statements, report)
        return
    with connect(settings, "deploy", role="") as connection:
        scripts.run(connection, statements, report)


def empty(order: Order) -> Order:
    """Empty the topics and forget all that was made from them: queries, offsets, the worker's state.

    Returns:
        The order to go on with: the scripts for operators are made anew where they were.

    Raises:
        TapelineError: a worker, the local engine or a loader runs, or the topics have a ksqlDB that
            KSQLDB_URL does not name. Then nothing was changed.
    """
    settings, report = order.settings, order.report
    refuse_running_worker(settings)
    forgotten = {
        group: command
        for name, command in ((settings.agg_group, ENGINE), (settings.snowflake_raw_group, RAW_LOADER))
        for group in shards_of(settings, name)
    }
    loaders = dict.fromkeys(shards_of(settings, settings.snowflake_loader_group), LOADER)
    require_stopped(settings, forgotten | loaders)
    if settings.ksqldb_url:
        if any(OPERATORS_TABLE in deployed.statements for deployed in _deployed(settings).values()):
            order = replace(order, with_operators=True)
        drop_ksql(order)
    else:
        refuse_forgotten_ksqldb(settings)
    report.say("emptying the topics")
    if report.is_dry_run:
        return replace(order, is_emptied=True)
    for group, command in forgotten.items():
        forget_group(settings, group, command)
    for name, how in recreate_topics(settings):
        report.change("topics", name, "created", "emptied, its offsets go on" if how == "emptied" else "")
    if settings.snow_account:
        loaders[settings.snowflake_loader_group + Shard.parse(settings.rollup_shard).suffix] = LOADER
    bars = settings.agg_output_topic
    start = {p: (end, Position(end).metadata) for p, end in enumerate(topic_ends(settings, bars))}
    for group, command in loaders.items():
        move_group(settings, group, command, bars, start)
    return order


def start_over(settings: Settings, report: Report) -> None:
    """Empty the topics, and let ksqlDB make bars of what comes where KSQLDB_URL is set."""
    order = empty(Order(settings, report))
    if settings.ksqldb_url:
        topics(order)
        schemas(order)
        ksql(order)


def refuse_forgotten_ksqldb(settings: Settings) -> None:
    """Refuse to go on without ksqlDB where its queries read these topics.

    Raises:
        TapelineError: they do.
    """
    if any(deployed.statements for deployed in _deployed(settings).values()):
        raise TapelineError(
            f"ksqlDB makes the bars of {settings.agg_output_topic}, but KSQLDB_URL is not set: set it; with "
            "it, `python -m glue.deploy ksql --drop` takes the queries away"
        )


def _ksql_step(order: Order, server: KsqlDb) -> KsqlStep:
    settings, report = order.settings, order.report
    info = check_cluster(server, settings)
    service_id = info["ksqlServiceId"]
    report.say(f"ksql at {server.where}: ksqlDB {info['version']}, service {service_id}")
    known = _deployed(settings).get(service_id) or Deployed(service_id=service_id, statements={})
    return KsqlStep(server, settings, report, known)


def _deployed(settings: Settings) -> dict[str, Deployed]:
    try:
        return read_state(settings, is_whole=False).deployed
    except MissingTopic:
        return {}


def _scripts(settings: Settings, *, may_lack_schema: bool) -> list[Script]:
    subject, file = f"{settings.agg_output_topic}-value", BAR_SCHEMA_FILE
    with Registry(settings) as registry:
        schema_id = registry.find(subject, file).schema_id
    if schema_id is None and not may_lack_schema:
        raise TapelineError(
            f"schemas/{file} is not registered as {subject}; `python -m glue.deploy schemas` does it"
        )
    return read_scripts(KSQL_DIR, settings, schema_id)


def _require_topics(order: Order) -> None:
    """Refuse to let ksqlDB create its topics: it would by settings of its own."""
    more = _operators_topics(order.settings) if order.with_operators else []
    found = ensure_topics(order.settings, more, is_dry_run=True)
    missing = [name for name, state in found if state == "created"]
    if missing:
        raise TapelineError(
            f"{', '.join(missing)}: no such topic{'s' if len(missing) > 1 else ''}; `python -m glue.deploy "
            f"topics{' --operators' if order.with_operators else ''}` creates what is missing"
        )


def _statements(scripts: list[Script]) -> list[Statement]:
    return [statement for script in scripts for statement in script.statements]


def _operators_topics(settings: Settings) -> list[Topic]:
    statements = _statements(read_scripts(OPERATORS_DIR, settings))
    sinks = [(s.topic, sink_retention_ms(s.text)) for s in statements if s.is_query]
    return [log_topic(topic, 1, kept_ms or settings.kafka_retention_ms) for topic, kept_ms in sinks]


def _connectors(order: Order) -> dict[str, dict[str, str]]:
    found = connectors.read_connectors(connectors.CONNECT_DIR, order.settings)
    where = f"connectors at CONNECT_URL={shown(order.settings.connect_url)}"
    order.report.say(where if found else "connectors: connect/ holds none")
    return found
