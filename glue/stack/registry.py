"""The embedded schema registry: Apicurio Registry behind its Confluent-compatible API."""

from glue.stack.java import java
from glue.stack.part import LOOPBACK, Launch, Part, Place, answers

HEAP_MB = 256
API = "/apis/ccompat/v7"


class Registry(Part):
    """Apicurio Registry with its schemas in an H2 file, so that ids survive a restart."""

    name = "registry"
    files = ("io.apicurio:apicurio-registry-app:3.3.3:all:tar.gz",)

    def wanted_ports(self) -> dict[str, int]:
        """Return the port of the API and that of Quarkus' management interface."""
        port = self.settings.stack_registry_port
        return {"http": port, "management": 9000 if port else 0}

    def launch(self, place: Place) -> Launch:
        """Return the command; the database file appears in the part's folder."""
        return Launch(
            java("-jar", str(place.files[0] / "quarkus-run.jar"), heap_mb=HEAP_MB, temp=place.temp),
            {
                "QUARKUS_HTTP_HOST": LOOPBACK,
                "QUARKUS_HTTP_PORT": str(place.ports["http"]),
                "QUARKUS_MANAGEMENT_HOST": LOOPBACK,
                "QUARKUS_MANAGEMENT_PORT": str(place.ports["management"]),
                "QUARKUS_HTTP_ACCESS_LOG_ENABLED": "false",
                "QUARKUS_LOG_CONSOLE_FORMAT": "%d{yyyy-MM-dd'T'HH:mm:ss,SSS} %p %m (%c{1})%n",
                "APICURIO_STORAGE_KIND": "sql",
                "APICURIO_STORAGE_SQL_KIND": "h2",
                # WRITE_DELAY=0: an id that was handed out is on disk, also when the process is killed next.
                "APICURIO_DATASOURCE_URL": "jdbc:h2:file:./schemas;DB_CLOSE_ON_EXIT=FALSE;WRITE_DELAY=0",
                "APICURIO_DATASOURCE_JDBC_INITIAL_SIZE": "2",
                "APICURIO_DATASOURCE_JDBC_MIN_SIZE": "2",
                "APICURIO_DATASOURCE_JDBC_MAX_SIZE": "10",
            },
        )

    def is_ready(self, ports: dict[str, int]) -> bool:
        """List the subjects, which needs the database too."""
        return answers(ports["http"], f"{API}/subjects")

    def endpoints(self, ports: dict[str, int]) -> dict[str, str]:
        """Return SCHEMA_REGISTRY_URL."""
        return {"SCHEMA_REGISTRY_URL": f"http://{LOOPBACK}:{ports['http']}{API}"}
