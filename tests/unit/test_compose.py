"""docker/compose.yml keeps its rules: pinned, on loopback, healthy before used, no secret, fast enough."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import REGISTRY, CollectorRegistry

from glue import metrics
from glue.settings import Settings
from glue.stack.connect import PROVIDED

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"
COMPOSE_TEXT = (DOCKER / "compose.yml").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load(COMPOSE_TEXT)
SERVICES: dict[str, Any] = COMPOSE["services"]
VERSIONS = dict(
    line.split("=", 1)
    for line in (DOCKER / "versions.env").read_text().splitlines()
    if line and not line.startswith("#")
)
DOCKERFILES = sorted(DOCKER.rglob("Dockerfile"))
ONE_SHOT = {"deploy"}
BUILT = {"connect", "deploy", "feed", "rollup", "stage-raw", "webapp", "worker"}
DEFAULTS = Settings.model_fields

every_service = pytest.mark.parametrize("name", SERVICES)


def environment(name: str) -> dict[str, str]:
    return {key: str(value) for key, value in SERVICES[name].get("environment", {}).items()}


def default_of(text: str) -> str:
    """Return what compose makes of a text when no variable is set."""
    return re.sub(r"\$\{\w+(?::-([^}]*))?\}", lambda found: found[1] or "", text)


def properties(env: dict[str, str], prefix: str) -> dict[str, str]:
    """Return the properties that a Confluent or Kafka image makes of its variables.

    `_` is a dot, `__` an underscore, `___` a dash; as in confluent.docker_utils.dub.env_to_props.
    """
    found = {}
    for name, value in env.items():
        if name.startswith(prefix):
            dotted = re.sub("(?<=[^_])_(?=[^_])", ".", name.removeprefix(prefix).lower())
            found[dotted.replace("___", "-").replace("__", "_")] = value
    return found


# What runs


def test_the_services_are_those_of_the_pipeline():
    assert set(SERVICES) == {
        "kafka", "schema-registry", "ksqldb", "connect",
        "deploy", "feed", "worker", "rollup", "stage-raw", "webapp",
        "kafka-ui", "prometheus", "grafana",
    }  # fmt: skip


def test_what_looks_at_the_pipeline_or_needs_an_account_is_in_a_profile():
    profiles = {name: service["profiles"] for name, service in SERVICES.items() if "profiles" in service}
    assert profiles == {
        "rollup": ["warehouse"],
        "stage-raw": ["warehouse"],
        "kafka-ui": ["ui", "monitoring"],
        "prometheus": ["monitoring"],
        "grafana": ["monitoring"],
    }


# Pinned


@every_service
def test_an_image_is_a_variable_of_the_file_of_versions(name):
    found = re.fullmatch(r"\$\{([A-Z_]+_IMAGE):\?[^}]+\}", SERVICES[name]["image"])
    assert found, SERVICES[name]["image"]
    assert found[1] in VERSIONS


@pytest.mark.parametrize("name", VERSIONS)
def test_a_version_is_a_full_tag(name):
    repository, _, tag = VERSIONS[name].rpartition(":")
    assert repository
    assert re.match(r"v?\d+\.\d+\.\d+", tag), tag
    assert "latest" not in tag


def test_no_version_is_left_unused():
    assert set(VERSIONS) == set(re.findall(r"\$\{([A-Z_]+_IMAGE)\b", COMPOSE_TEXT))


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.parent.name)
def test_a_dockerfile_names_no_image_of_its_own(path):
    sources = re.findall(r"^FROM (\S+)", path.read_text(), re.MULTILINE)
    stages = re.findall(r"^FROM \S+ AS (\S+)", path.read_text(), re.MULTILINE)
    assert sources
    assert {source.strip("${}") for source in sources} <= set(VERSIONS) | set(stages)


def test_every_built_image_gets_its_base_from_the_file_of_versions():
    assert {name for name, service in SERVICES.items() if "build" in service} == BUILT
    for name in BUILT:
        for argument, value in SERVICES[name]["build"]["args"].items():
            assert value.startswith(f"${{{argument}:?")


def test_jars_are_pinned_by_checksum():
    lines = (DOCKER / "connect" / "jars.lock").read_text().splitlines()
    assert all(re.fullmatch(r"[\w.-]+:[\w.-]+:\d[\d.]+ [0-9a-f]{64}", line) for line in lines), lines
    assert any(line.startswith("com.snowflake:snowflake-kafka-connector:2.5.0 ") for line in lines)
    assert not any("://" in path.read_text() for path in DOCKER.joinpath("connect").iterdir())
    assert "sha256sum --check --strict" in (DOCKER / "connect" / "Dockerfile").read_text()


@pytest.mark.parametrize("lock", ["glue/requirements.lock", "webapp/requirements.lock", "webapp/build.lock"])
def test_the_packages_of_an_image_are_those_of_the_lock(lock):
    def pins(path: Path) -> set[str]:
        # Without markers, which tell where a package is needed: there may be more reasons for it here.
        text = re.sub(r" ;.*(?= \\$)", "", path.read_text(), flags=re.MULTILINE)
        return {part for part in re.split(r"\n(?=\w)", text) if "==" in part}

    image = pins(DOCKER / lock)
    assert image
    strip = str.strip
    assert set(map(strip, image)) <= set(map(strip, pins(ROOT / "requirements.lock"))), "make lock"
    assert (
        f"--require-hashes -r /tmp/{Path(lock).name}" in (DOCKER / lock).with_name("Dockerfile").read_text()
    )


# Closed to the outside


@every_service
def test_a_port_is_published_on_loopback_and_can_be_moved(name):
    for port in SERVICES[name].get("ports", []):
        assert re.fullmatch(r"127\.0\.0\.1:\$\{TAPELINE_[A-Z_]+_PORT:-\d+\}:\d+", port), port


def test_no_two_services_want_the_same_port():
    ports = [
        default_of(port).split(":")[1] for service in SERVICES.values() for port in service.get("ports", [])
    ]
    assert len(set(ports)) == len(ports)


def test_ports_are_those_of_the_settings(monkeypatch):
    for name in Settings.model_fields:  # a user may have sourced .tapeline/stack.env
        monkeypatch.delenv(name.upper(), raising=False)
    settings = Settings(_env_file=None)
    assert ":${TAPELINE_KAFKA_PORT:-" + settings.kafka_brokers.split(":")[1] in SERVICES["kafka"]["ports"][0]
    for name, url in (
        ("schema-registry", settings.schema_registry_url),
        ("connect", f"http://127.0.0.1:{settings.stack_connect_port}"),
        ("feed", settings.mock_api_url),
        ("worker", f"http://127.0.0.1:{settings.replay_metrics_port}"),
        ("rollup", f"http://127.0.0.1:{settings.rollup_metrics_port}"),
        ("stage-raw", f"http://127.0.0.1:{settings.stage_raw_metrics_port}"),
        ("webapp", f"http://127.0.0.1:{settings.dashboard_port}"),
    ):
        assert default_of(SERVICES[name]["ports"][0]).split(":")[1] in url


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.parent.name)
def test_a_container_does_not_run_as_root(path):
    users = re.findall(r"^(?:FROM|USER) .*$", path.read_text(), re.MULTILINE)
    assert users[-1].startswith("USER "), "the last stage names no user"
    assert users[-1].split()[1].split(":")[0] not in ("root", "0")


@every_service
def test_a_service_gains_no_privileges(name):
    service = SERVICES[name]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service
    assert service.get("user", "") not in ("root", "0")


def test_no_secret_is_in_a_file():
    secret = re.compile(r"PASSWORD|PASSPHRASE|SECRET|TOKEN|PRIVATE_KEY")
    for name in SERVICES:
        for key, value in environment(name).items():
            if secret.search(key):
                assert re.fullmatch(r"\$\{[A-Z_]+:-\}", value), f"{name}: {key} is a literal"
    for path in (DOCKER / "versions.env", *DOCKERFILES, *DOCKER.rglob("*.yml")):
        assert not re.search(r"(?i)(password|passphrase|secret)\s*[:=]\s*[\"']?\w", path.read_text()), path


@pytest.mark.parametrize("name", ["deploy", "rollup", "stage-raw", "webapp"])
def test_the_login_of_the_warehouse_comes_from_the_environment(name):
    own = {setting for setting in DEFAULTS if setting.startswith("snow_") and not setting.endswith("_ms")}
    wanted = {setting.upper() for setting in own} - {"SNOW_PRIVATE_KEY_PATH"}  # a file of the host
    given = {key: value for key, value in environment(name).items() if key.startswith("SNOW_")}
    assert given == {key: f"${{{key}:-}}" for key in wanted}


def test_the_login_of_the_dashboard_comes_from_the_environment():
    for key in ("DASHBOARD_USER", "DASHBOARD_PASSWORD"):
        assert environment("webapp")[key] == f"${{{key}:-}}"


def test_no_variable_is_required_that_up_does_not_give():
    required = set(re.findall(r"\$\{([A-Z_]+):?\?", COMPOSE_TEXT))
    assert required == set(VERSIONS), "compose asks for it also where its profile is off"


def test_grafana_asks_for_its_password():
    assert '[ -n "$$GF_SECURITY_ADMIN_PASSWORD" ]' in SERVICES["grafana"]["entrypoint"][-1]


def test_secrets_reach_connectors_by_reference_only():
    connect = properties(environment("connect"), "CONNECT_")
    provider = "org.apache.kafka.common.config.provider"
    assert connect["config.providers"] == "env,file,directory"
    assert connect["config.providers.env.class"] == f"{provider}.EnvVarConfigProvider"
    assert connect["config.providers.env.param.allowlist.pattern"] == PROVIDED
    assert connect["config.providers.file.class"] == f"{provider}.FileConfigProvider"
    assert SERVICES["connect"]["volumes"][0].endswith(
        f":{connect['config.providers.file.param.allowed.paths']}:ro"
    )


@pytest.mark.parametrize(
    ("name", "ignore"),
    [("glue", ROOT / ".dockerignore"), ("webapp", DOCKER / "webapp/Dockerfile.dockerignore")],
)
def test_an_image_takes_no_more_than_it_needs(name, ignore):
    ignored = ignore.read_text().splitlines()
    assert "*" in ignored
    allowed = {line.removeprefix("!").rstrip("/") for line in ignored if line.startswith("!")}
    copied = set(
        re.findall(r"^COPY (?!--)(\S+?)/? ", (DOCKER / name / "Dockerfile").read_text(), re.MULTILINE)
    )
    assert copied == allowed


# Healthy before used


@pytest.mark.parametrize("name", sorted(set(SERVICES) - ONE_SHOT))
def test_a_service_says_whether_it_is_healthy(name):
    check = SERVICES[name]["healthcheck"]
    assert check["test"][0] in ("CMD", "CMD-SHELL")
    assert {"interval", "timeout", "retries", "start_period"} <= set(check)


def test_a_one_shot_runs_once():
    for name in ONE_SHOT:
        assert SERVICES[name]["restart"] == "no"


@every_service
def test_a_service_waits_until_what_it_needs_is_healthy(name):
    for needed, how in SERVICES[name].get("depends_on", {}).items():
        expected = "service_completed_successfully" if needed in ONE_SHOT else "service_healthy"
        assert how == {"condition": expected}, needed


def test_what_is_named_in_an_address_is_waited_for():
    hosts = re.compile(rf"\b({'|'.join(SERVICES)}):\d+")
    for name, service in SERVICES.items():
        given = environment(name) if "build" not in service or name == "connect" else {}
        named = set(hosts.findall(" ".join(given.values()))) - {name}
        assert named <= set(service.get("depends_on", {})), name


def test_the_workers_wait_for_the_deployment_and_it_for_all_it_deploys_to():
    assert set(SERVICES["deploy"]["depends_on"]) == {"kafka", "schema-registry", "ksqldb", "connect"}
    assert {"deploy", "feed"} <= set(SERVICES["worker"]["depends_on"])
    assert "deploy" in SERVICES["rollup"]["depends_on"]
    assert "deploy" in SERVICES["stage-raw"]["depends_on"]
    assert "deploy" in SERVICES["webapp"]["depends_on"]


@every_service
def test_a_service_has_a_limit_of_memory_and_of_logs(name):
    assert re.fullmatch(r"\d+[mg]", SERVICES[name]["mem_limit"])
    assert SERVICES[name]["logging"]["options"].keys() == {"max-size", "max-file"}


# Kafka


def test_the_broker_creates_no_topic_by_itself_and_keeps_60_minutes():
    broker = properties(environment("kafka"), "KAFKA_")
    assert broker["auto.create.topics.enable"] == "false"
    assert broker["log.retention.minutes"] == "60"
    assert int(broker["log.retention.minutes"]) * 60_000 == DEFAULTS["kafka_retention_ms"].default
    assert not {"log.retention.ms", "log.retention.hours"} & set(broker)


def test_append_time_is_never_set_for_all_topics():
    assert "log.message.timestamp.type" not in properties(environment("kafka"), "KAFKA_")


def test_the_broker_is_one_node_without_zookeeper():
    broker = properties(environment("kafka"), "KAFKA_")
    assert broker["process.roles"] == "broker,controller"
    assert not any("zookeeper" in name for name in broker)
    for name in (
        "offsets.topic.replication.factor",
        "transaction.state.log.replication.factor",
        "transaction.state.log.min.isr",
        "default.replication.factor",
        "min.insync.replicas",
    ):
        assert broker[name] == "1", name


def test_host_and_containers_have_a_listener_each():
    broker = properties(environment("kafka"), "KAFKA_")
    listeners = dict(item.split("://") for item in default_of(broker["advertised.listeners"]).split(","))
    assert listeners == {"INTERNAL": "kafka:19092", "HOST": "127.0.0.1:9092"}
    assert "HOST://127.0.0.1:${TAPELINE_KAFKA_PORT:-9092}" in broker["advertised.listeners"]
    assert set(broker["listener.security.protocol.map"].replace(":PLAINTEXT", "").split(",")) == {
        "CONTROLLER",
        *listeners,
    }


# ksqlDB


def ksqldb_properties() -> dict[str, str]:
    env = environment("ksqldb")
    system = dict(re.findall(r"-D(\S+?)=(\S+)", env["KSQL_OPTS"]))
    return {k: v for k, v in properties(env, "KSQL_").items() if k.startswith("ksql.")} | system


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ksql.streams.__emit.interval.ms.kstreams.windowed.aggregation__", "0"),
        ("ksql.streams.processing.guarantee", "exactly_once_v2"),
        ("ksql.streams.commit.interval.ms", "20"),
        ("ksql.streams.poll.ms", "10"),
        ("ksql.streams.producer.linger.ms", "20"),
        ("ksql.streams.consumer.session.timeout.ms", "6000"),
        ("ksql.streams.windowstore.changelog.additional.retention.ms", "3153600000000"),
    ],
)
def test_ksqldb_has_what_the_latency_and_the_exactness_of_bars_need(name, value):
    assert ksqldb_properties()[name] == value


@pytest.mark.parametrize(
    "name",
    [
        "ksql.streams.replication.factor",
        "ksql.internal.topic.replicas",
        "ksql.logging.processing.topic.replication.factor",
    ],
)
def test_ksqldb_asks_for_one_replica(name):
    assert ksqldb_properties()[name] == "1"


def test_ksqldb_agrees_with_the_scripts():
    """The scripts set the same for their queries, for servers that are not this one."""
    found = ksqldb_properties()
    for path in sorted((ROOT / "ksql").glob("*.sql")):
        for name, value in re.findall(r"^SET '([^']+)' = '([^']+)';", path.read_text(), re.MULTILINE):
            full = name if name.startswith("ksql.") else f"ksql.streams.{name}"
            assert found.get(full, value) == value, f"{path.name}: {name}"


def test_ksqldb_is_healthy_by_its_own_word():
    assert SERVICES["ksqldb"]["healthcheck"]["test"][-1].endswith("/healthcheck")


# Workers


@pytest.mark.parametrize("name", sorted(BUILT - {"connect"}))
def test_a_worker_is_led_to_the_containers_not_to_the_host(name):
    env = environment(name)
    assert env["KAFKA_BROKERS"] == "kafka:19092"
    assert env["SCHEMA_REGISTRY_URL"] == "http://schema-registry:8081"
    assert env["KSQLDB_URL"] == "http://ksqldb:8088"
    assert env["CONNECT_URL"] == "http://connect:8083"
    assert SERVICES[name]["env_file"] == [{"path": "../.env", "required": False}]


@pytest.mark.parametrize("name", sorted(BUILT - {"connect"}))
def test_a_worker_has_settings_that_can_work(name, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for key, value in environment(name).items():
        monkeypatch.setenv(key, default_of(value))
        assert key.lower() in DEFAULTS, f"{key} is no setting"
    Settings.load()


@pytest.mark.parametrize("name", sorted(BUILT - {"connect"}))
def test_a_worker_runs_a_module_of_this_project(name):
    command = SERVICES[name]["command"]
    module = (command.split() if isinstance(command, str) else command)[0]
    path = ROOT.joinpath(*module.split("."))
    assert path.with_suffix(".py").exists() or (path / "__main__.py").exists()


@pytest.mark.parametrize("name", ["worker", "stage-raw"])
def test_what_a_worker_must_not_lose_is_on_a_volume(name):
    volume, _, folder = SERVICES[name]["volumes"][0].partition(":")
    assert volume in COMPOSE["volumes"]
    assert folder == environment(name)["LOG_DIR"]
    assert f"LOG_DIR={folder}" in (DOCKER / "glue" / "Dockerfile").read_text()


# Monitoring


def test_prometheus_reads_the_metrics_of_the_workers():
    jobs = yaml.safe_load((DOCKER / "prometheus.yml").read_text())["scrape_configs"]
    targets = [target for job in jobs for config in job["static_configs"] for target in config["targets"]]
    for name, port in (
        ("worker", "REPLAY_METRICS_PORT"),
        ("rollup", "ROLLUP_METRICS_PORT"),
        ("stage-raw", "STAGE_RAW_METRICS_PORT"),
    ):
        assert f"{name}:{environment(name)[port]}" in targets
        assert environment(name)["METRICS_HOST"] == "0.0.0.0"  # noqa: S104
    assert f"webapp:{environment('webapp')['DASHBOARD_PORT']}" in targets


def test_the_page_of_the_dashboard_is_built_with_its_image():
    page = (DOCKER / "webapp" / "Dockerfile").read_text()
    assert "-m webapp build" in page
    assert "build.lock" not in page.split("FROM ")[-1], "Node is for the build alone"


def test_the_dashboard_asks_for_metrics_that_exist():
    dashboard = json.loads((DOCKER / "grafana" / "dashboards" / "tapeline.json").read_text())
    asked = {
        name
        for panel in dashboard["panels"]
        for target in panel["targets"]
        for name in re.findall(r"tapeline_\w+", target["expr"])
    }
    assert {"tapeline_ticks_total", "tapeline_dead_letters_total", "tapeline_open_bins"} <= asked
    assert asked <= _exported(metrics.WORKER)
    for other in (metrics.ENGINE, metrics.ROLLUP, metrics.STAGE_RAW, REGISTRY):  # a 0 of theirs is no 0
        assert not asked & _exported(other)


def _exported(part: CollectorRegistry) -> set[str]:
    return {sample for metric in part.collect() for sample in _sample_names(metric)}


def _sample_names(metric: Any) -> set[str]:
    suffixes = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"]}.get(metric.type, [""])
    return {metric.name + suffix for suffix in suffixes}


def test_the_dashboard_has_the_provisioned_source():
    sources = yaml.safe_load(
        (DOCKER / "grafana" / "provisioning" / "datasources" / "prometheus.yml").read_text()
    )
    uid = sources["datasources"][0]["uid"]
    dashboard = json.loads((DOCKER / "grafana" / "dashboards" / "tapeline.json").read_text())
    assert {panel["datasource"]["uid"] for panel in dashboard["panels"]} == {uid}


# The client's own check


@pytest.mark.parametrize("profiles", [[], ["--profile", "*"]], ids=["default", "all profiles"])
def test_docker_compose_config_passes(profiles):
    if shutil.which("docker") is None:
        pytest.skip("there is no docker client")
    if subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode:
        pytest.skip("the docker client has no compose plugin")
    files = ["--file", DOCKER / "compose.yml", "--env-file", DOCKER / "versions.env"]
    done = subprocess.run(
        ["docker", "compose", *files, *profiles, "config", "--quiet"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "variable is not set" not in done.stderr
