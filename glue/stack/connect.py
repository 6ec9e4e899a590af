"""The embedded Kafka Connect: a distributed worker with the Snowflake connector as an isolated plugin."""

import zipfile
from pathlib import Path
from urllib.parse import urlsplit

from glue.stack.java import class_path, java, log_to_stdout, write_properties
from glue.stack.keys import private_key
from glue.stack.part import LOOPBACK, Launch, Part, Place, answers
from glue.stack.snowflake import CONNECT_USER

HEAP_MB = 512
GROUP = "tapeline-connect"
SECRETS = "secrets"
"""Folder, in the part's own, that connectors may read by ${file:…} and ${directory:…}."""
PROVIDED = "(SNOW|SCHEMA_REGISTRY)_[A-Z_]+"
"""Variables that connectors may read by ${env:…}."""
PROVIDER = "org.apache.kafka.common.config.provider"

SERVICES = {
    "org.apache.kafka.connect.sink.SinkConnector": "com.snowflake.kafka.connector.SnowflakeSinkConnector",
    "org.apache.kafka.connect.storage.Converter": "io.confluent.connect.avro.AvroConverter",
}
"""What the plugin has for connectors, by the interface."""

LOGGERS = """\
# A line for each request of whoever looks at the worker.
logger.rest.name=org.apache.kafka.connect.runtime.rest.RestServer
logger.rest.level=warn
# The driver and the ingest SDK tell every step of every flush.
logger.sdk.name=net.snowflake.ingest
logger.sdk.level=warn
logger.buffer.name=com.snowflake.kafka.connector
logger.buffer.level=warn
"""


class Connect(Part):
    """A worker that keeps connectors, offsets and states in topics, so that a kill loses none of them."""

    name = "connect"
    files = (
        "com.snowflake:snowflake-kafka-connector:2.5.0",  # with all it needs, the Avro converter among it
        "org.bouncycastle:bcpkix-fips:1.0.3",  # by which it reads a private key that has a passphrase
        "org.bouncycastle:bc-fips:1.0.2.5",
    )
    roots = (
        "org.apache.kafka:connect-runtime:4.1.1",
        "org.apache.logging.log4j:log4j-slf4j-impl:2.24.3",  # Kafka's own log binding, not in its POM
    )

    uses = ("KAFKA_BROKERS", "SCHEMA_REGISTRY_URL", "SNOW_ACCOUNT")

    @property
    def is_wanted(self) -> bool:
        """Whether STACK_CONNECT is set: a stack without a worker starts sooner."""
        return self.settings.stack_connect

    def wanted_ports(self) -> dict[str, int]:
        """Return the port of the REST API."""
        return {"rest": self.settings.stack_connect_port}

    def launch(self, place: Place) -> Launch:
        """Write the configuration, lay out the plugin and return the worker's command."""
        home, count = place.home, len(self.files)
        (home / SECRETS).mkdir(mode=0o700, exist_ok=True)
        _lay_out(place.files[:count], home / "plugins" / "snowflake")
        write_properties(home / "worker.properties", self.properties(place))
        command = java(
            "--add-opens=java.base/java.nio=ALL-UNNAMED",  # Snowflake's driver reads Arrow
            "-Duser.language=en",  # some have a calendar or digits of their own for TimestampConverter
            *log_to_stdout(home, LOGGERS),
            "-cp",
            class_path(place.files[count:]),
            "org.apache.kafka.connect.cli.ConnectDistributed",
            "worker.properties",
            heap_mb=HEAP_MB,
            temp=place.temp,
        )
        return Launch(command, self.environment(place))

    def environment(self, place: Place) -> dict[str, str]:
        """Return what connectors find by ${env:…}: as on an estate, but for the values."""
        account = urlsplit(place.endpoints["SNOW_ACCOUNT"])
        return {
            "SCHEMA_REGISTRY_URL": place.endpoints["SCHEMA_REGISTRY_URL"],
            "SNOW_URL": f"http://{LOOPBACK}:{account.port}",
            "SNOW_USER": CONNECT_USER,
            "SNOW_PRIVATE_KEY": private_key(place.keys),
            "SNOW_PRIVATE_KEY_PASSPHRASE": "",
            "SNOW_ROLE": self.settings.snow_role,
            "SNOW_DATABASE": self.settings.snow_database,
        }

    def is_ready(self, ports: dict[str, int]) -> bool:
        """Ask whether the worker has read its topics and joined its group."""
        return answers(ports["rest"], "/health")

    def endpoints(self, ports: dict[str, int]) -> dict[str, str]:
        """Return CONNECT_URL."""
        return {"CONNECT_URL": f"http://{LOOPBACK}:{ports['rest']}"}

    def properties(self, place: Place) -> dict[str, str | int]:
        """Return worker.properties: REST on loopback, state in compacted topics of one replica."""
        return {
            "bootstrap.servers": place.endpoints["KAFKA_BROKERS"],
            "group.id": GROUP,
            "listeners": f"http://{LOOPBACK}:{place.ports['rest']}",
            "rest.advertised.host.name": LOOPBACK,
            "rest.advertised.port": place.ports["rest"],
            "config.storage.topic": "tapeline.connect.configs",
            "config.storage.replication.factor": 1,
            "offset.storage.topic": "tapeline.connect.offsets",
            "offset.storage.replication.factor": 1,
            "offset.storage.partitions": 1,
            "status.storage.topic": "tapeline.connect.status",
            "status.storage.replication.factor": 1,
            "status.storage.partitions": 1,
            # Connectors name their own converters.
            "key.converter": "org.apache.kafka.connect.storage.StringConverter",
            "value.converter": "org.apache.kafka.connect.json.JsonConverter",
            "plugin.path": "plugins",  # relative to the part's folder, so that any path will do
            "plugin.discovery": "service_load",  # the others look into all 160 MB of the plugin at each start
            "connector.client.config.override.policy": "All",
            "config.providers": "env,file,directory",
            "config.providers.env.class": f"{PROVIDER}.EnvVarConfigProvider",
            "config.providers.env.param.allowlist.pattern": PROVIDED,
            "config.providers.file.class": f"{PROVIDER}.FileConfigProvider",
            "config.providers.file.param.allowed.paths": str(place.home / SECRETS),
            "config.providers.directory.class": f"{PROVIDER}.DirectoryConfigProvider",
            "config.providers.directory.param.allowed.paths": str(place.home / SECRETS),
            # What is committed to the warehouse is told to Kafka so often: what lag is measured by.
            "offset.flush.interval.ms": 5_000,
            # There is one worker: after a kill nobody else may come back for its tasks.
            "scheduled.rebalance.max.delay.ms": 0,
            "session.timeout.ms": 6_000,
            "heartbeat.interval.ms": 2_000,
        }


def _lay_out(files: list[Path], folder: Path) -> None:
    """Make the folder of a plugin: links to its jars, and a jar that names what is in them.

    The connector's jar has no service manifest, which Kafka's `connect-plugin-path sync-manifests` would add.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.iterdir():
        left.unlink()
    for file in files:
        (folder / file.name).symlink_to(file)
    with zipfile.ZipFile(folder / "manifests.jar", "w") as jar:
        for kind, name in SERVICES.items():
            jar.writestr(f"META-INF/services/{kind}", f"{name}\n")
