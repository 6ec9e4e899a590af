"""The scripts of ksql/ on a server for as long as one run lasts, on topics of the suite's own.

Names of streams are fixed by the scripts, so a server can have them once: one that has somebody else's is
refused and left as it is.
"""

import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from glue.deploy import steps
from glue.deploy.report import Report
from glue.io.kafka import admin_client
from glue.io.ksqldb import KsqlDb
from glue.io.topics import topics
from glue.settings import Settings
from tests.processes import own_names

REQUEST_TIMEOUT_MS = 180_000
"""A DROP soon after its CREATE can take the server most of a minute."""
FINE = {"RUNNING", "REBALANCING"}


def own_settings(partitions: int) -> Settings:
    """Return settings for the server of KSQLDB_URL and the broker and registry it is attached to."""
    return Settings.load(
        **own_names("contract"),
        kafka_partitions=partitions,
        kafka_agg_partitions=1,
        rest_timeout_ms=REQUEST_TIMEOUT_MS,
    )


@contextmanager
def deployed(settings: Settings) -> Iterator[Callable[[], None]]:
    """Deploy to empty topics; yield what raises when a query no longer runs.

    Afterwards streams, tables, topics and schemas are gone again. What an earlier run has left goes first.
    """
    report = Report(on_stderr=True)
    steps.start_over(settings, report)
    try:
        with KsqlDb(settings) as server:
            yield lambda: require_running(server)
    finally:
        steps.drop_ksql(steps.Order(settings, report))
        delete_topics(settings)


def require_running(server: KsqlDb) -> None:
    """Raise when a query does not run any more."""
    states = server.query_states()
    assert set(states.values()) <= FINE, f"{server.where}: {states}"


def delete_topics(settings: Settings) -> None:
    """Delete the topics of a run and the schemas registered for them."""
    names = [topic.name for topic in topics(settings)]
    client = admin_client(settings)  # must live as long as its futures
    for deleted in client.delete_topics(names).values():
        deleted.result()
    for name in names:
        subject = f"{settings.schema_registry_url}/subjects/{name}-value"
        for which in ("", "?permanent=true"):
            request = urllib.request.Request(subject + which, method="DELETE")
            try:
                urllib.request.urlopen(request, timeout=30).close()
            except urllib.error.HTTPError as error:
                error.close()
                if error.code != 404:
                    raise
