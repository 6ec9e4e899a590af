"""The one settings class: environment, then .env, then the running embedded stack, then defaults.

Every name is the environment variable in lower case. `.env.example` lists them all.
"""

from contextlib import suppress
from datetime import time
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from glue.core.partition import Shard
from glue.errors import SettingsError

ALWAYS = "always"
STATE_DIR = Path(".tapeline")
ENDPOINTS_FILE = STATE_DIR / "stack.env"
"""Written by `glue.stack up` with the ports it chose, removed by `glue.stack down`."""


def shown(url: str) -> str:
    """Return a URL without the user and password in it, for messages."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


class Settings(BaseSettings):
    """All settings, read once at start and passed down. Times are in milliseconds, as the names say."""

    model_config = SettingsConfigDict(
        env_file=(str(ENDPOINTS_FILE), ".env"),  # the later file wins
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
    )

    # Where things are
    mock_api_url: str = Field("http://127.0.0.1:8000/ticks", description="feed that glue.replay reads")
    mock_api_host: str = Field("127.0.0.1", description="address glue.mock_api listens on")
    mock_api_port: int = Field(8000, ge=0, le=65535, description="port of glue.mock_api, 0 = any free one")
    kafka_brokers: str = Field("127.0.0.1:9092", description="bootstrap servers, comma separated")
    kafka_give_up_ms: int = Field(300_000, ge=0, description="stop after so long without the broker")
    kafka_properties: SecretStr = Field(
        SecretStr(""), description="more librdkafka properties, name=value,…; e.g. SASL and TLS"
    )
    schema_registry_url: str = Field(
        "http://127.0.0.1:8081", description="Confluent-compatible registry, credentials in the URL if any"
    )
    ksqldb_url: str = Field("", description="ksqlDB makes the 1 s bars; empty = glue.aggregate does")
    ksqldb_user: str = Field("", description="basic auth, with KSQLDB_PASSWORD")
    ksqldb_password: SecretStr = SecretStr("")
    connect_url: str = Field("", description="REST API of Kafka Connect; empty = there is none")
    connect_user: str = Field("", description="basic auth, with CONNECT_PASSWORD")
    connect_password: SecretStr = SecretStr("")
    rest_ca_file: Path | None = Field(
        None,
        description="PEM file of the authority behind the certificates of registry, ksqlDB, Connect",
    )
    rest_timeout_ms: int = Field(
        120_000,
        ge=100,
        description="how long ksqlDB and Connect may take; a cold server takes a minute",
    )
    metrics_host: str = Field(
        "127.0.0.1", description="address that /metrics of worker and engine listens on"
    )
    log_dir: Path = Field(
        Path("logs"), description="JSONL output, the dead-letter file, raw bins before they load"
    )
    log_format: Literal["auto", "console", "json"] = Field("auto", description="auto = console on a terminal")
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    # Topics
    kafka_topic_raw: str = "ticks.raw"
    kafka_topic_dlt: str = "ticks.dlt"
    kafka_topic_connect_dlt: str = Field(
        "ticks.connect.dlt", description="records that connectors could not write, with the reason in headers"
    )
    kafka_topic_state: str = "ticks.replay.state"
    agg_output_topic: str = "ticks.agg.1s"
    kafka_partitions: int = Field(6, ge=1, le=1000, description="partitions of ticks.raw at creation")
    kafka_agg_partitions: int = Field(1, ge=1, le=1000, description="partitions of ticks.agg.1s at creation")
    kafka_retention_ms: int = Field(3_600_000, ge=60_000, description="retention of ticks.raw, ticks.agg.1s")
    kafka_dlt_retention_ms: int = Field(
        604_800_000, ge=60_000, description="retention of ticks.dlt, ticks.connect.dlt"
    )

    # Worker (glue.replay)
    replay_bin_ms: int = Field(10, ge=10, description="bin size; divides 1000 and REPLAY_MAX_LATE_MS")
    replay_max_late_ms: int = Field(500, ge=10, le=60_000, description="L: lateness a tick may have")
    replay_symbol_skew_ms: int = Field(20, ge=0, description="S: how far symbols may lag the newest one")
    replay_max_future_ms: int = Field(5_000, ge=0, description="live: a clock further ahead is a dead letter")
    replay_max_jump_ms: int = Field(
        21_600_000, ge=60_000, description="historical: a larger jump needs two more ticks to be believed"
    )
    replay_idle_close_ms: int = Field(5_000, ge=100, description="silence that closes open bins and bars")
    replay_commit_ms: int = Field(25, ge=1, le=10_000, description="one Kafka transaction every so often")
    replay_read_timeout_ms: int = Field(30_000, ge=100, description="no byte for so long = reconnect")
    replay_give_up_ms: int = Field(600_000, ge=0, description="stop after so long without a connection")
    replay_symbol: str = Field("", description="only this symbol (comma separated for more), empty = all")
    replay_shard: str = Field(
        "0/1",
        pattern=r"^\d{1,4}/\d{1,4}$",
        description="i/n: of n workers the one for partitions p mod n = i",
    )
    replay_metrics_port: int = Field(9108, ge=0, le=65535, description="/metrics of the worker, 0 = any")

    # Feed (glue.mock_api)
    replay_speed: float = Field(
        1.0, ge=0, allow_inf_nan=False, description="1 = as it happened, 0 = as fast as it goes"
    )
    feed_keep_minutes: int = Field(60, ge=1, description="live feeds: how far back since_ms can go")
    feed_keep_mb: int = Field(
        512, ge=1, description="lines a feed keeps for all clients; older ones go first"
    )

    # Engine (glue.aggregate)
    agg_group: str = Field("tapeline-aggregate", description="consumer group of the local engine")
    agg_metrics_port: int = Field(9109, ge=0, le=65535, description="/metrics of the engine, 0 = any")

    # Warehouse (Snowflake)
    snow_account: str = Field(
        "", description="account identifier, or the URL of a server, with its user and password if any"
    )
    snow_user: str = Field("", description="not needed where SNOW_ACCOUNT is a URL with a user in it")
    snow_password: SecretStr = SecretStr("")
    snow_private_key_path: Path | None = Field(
        None, description="PEM file of the key pair's private key (PKCS #8)"
    )
    snow_private_key: SecretStr = Field(
        SecretStr(""), description="the key itself, base64 without its first and last line"
    )
    snow_private_key_passphrase: SecretStr = Field(
        SecretStr(""), description="of an encrypted private key, in the file or in base64"
    )
    snow_oauth_token: SecretStr = Field(SecretStr(""), description="OAuth access token")
    snow_role: str = "ROLE_STREAMING_PIPELINE"
    snow_warehouse: str = "WH_STREAMING_XS"
    snow_database: str = "STOCK_STREAMING"
    snow_schema: str = "CORE"
    snow_login_timeout_ms: int = Field(
        20_000, ge=1_000, description="an account that does not answer to a login for so long is not there"
    )
    snow_lock_timeout_ms: int = Field(
        25_000, ge=1_000, description="a statement waits for another's transaction for so long at most"
    )
    snow_statement_timeout_ms: int = Field(
        300_000, ge=1_000, description="the server ends a statement that takes longer"
    )

    # Minute rollup (glue.rollup)
    snowflake_flush_minutes: int = Field(5, ge=1, le=60, description="facts are written so often")
    snowflake_loader_group: str = Field("snowflake-minute-loader", description="consumer group of the rollup")
    snowflake_keep_1s_hours: int = Field(24, ge=1, description="FACT_TICKS_1S is purged after so long")
    rollup_shard: str = Field(
        "0/1",
        pattern=r"^\d{1,4}/\d{1,4}$",
        description="i/n: of n loaders the one of every n-th symbol",
    )
    rollup_metrics_port: int = Field(9110, ge=0, le=65535, description="/metrics of the rollup, 0 = any")

    # Raw bins (glue.stage_raw)
    snowflake_raw_minutes: int = Field(60, ge=1, le=1440, description="files of bins end and load so often")
    snowflake_raw_file_mb: int = Field(256, ge=1, le=4096, description="a file ends earlier at so many MiB")
    snowflake_raw_group: str = Field("snowflake-raw-loader", description="consumer group of glue.stage_raw")
    stage_raw_metrics_port: int = Field(9111, ge=0, le=65535, description="/metrics of it, 0 = any")

    # Dashboard (webapp)
    dashboard_host: str = Field("127.0.0.1", description="address the dashboard listens on")
    dashboard_port: int = Field(8050, ge=0, le=65535, description="its port, 0 = any free one")
    dashboard_user: str = Field("", description="basic auth, with DASHBOARD_PASSWORD; empty = none")
    dashboard_password: SecretStr = SecretStr("")
    dashboard_cache_bars: int = Field(600, ge=60, le=3600, description="newest bars kept of each symbol")
    dashboard_refresh_ms: int = Field(1_000, ge=100, le=60_000, description="a page moves so often at most")
    dashboard_exchange_zone: str = Field("America/New_York", description="time zone of the exchange")
    dashboard_session: str = Field(
        "09:30-16:00",
        description="its hours in that zone: Monday to Friday, in New York without the holidays of NYSE; "
        "always = never closed",
    )
    dashboard_always_open: str = Field(
        "*USDT,*USDC,*-USD",
        description="symbols that trade at all hours, by name or pattern, comma separated",
    )

    # Embedded stack (glue.stack)
    stack_kafka_port: int = Field(9092, ge=0, le=65535, description="broker; another if taken, 0 = any free")
    stack_registry_port: int = Field(8081, ge=0, le=65535, description="registry; likewise")
    stack_snowflake_port: int = Field(8085, ge=0, le=65535, description="local Snowflake; likewise")
    stack_connect_port: int = Field(8083, ge=0, le=65535, description="REST API of Kafka Connect; likewise")
    stack_connect: bool = Field(True, description="whether `up` starts Kafka Connect")
    stack_broker_properties: str = Field("", description="more server.properties, name=value,…")
    stack_start_timeout_ms: int = Field(120_000, ge=1_000, description="a part must be ready after so long")
    stack_maven_url: str = Field("", description="Maven repository to fetch jars from, empty = Maven Central")
    tapeline_cache_dir: Path | None = Field(
        None, description="downloaded jars; default $XDG_CACHE_HOME/tapeline or ~/.cache/tapeline"
    )

    # Service levels (glue.status)
    sla_publish_ms: int = Field(20, ge=1, description="bin closed -> appended to ticks.raw, p95")
    sla_bar_ms: int = Field(750, ge=1, description="bar end -> appended to ticks.agg.1s, p95")
    sla_dashboard_ms: int = Field(1_000, ge=1, description="bar end -> received by the dashboard, p95")
    sla_fresh_ms: int = Field(2_500, ge=1, description="age of the newest bar on the dashboard")
    sla_flush_ms: int = Field(30_000, ge=1, description="window end -> facts in the warehouse, most")
    sla_warehouse_s: int = Field(60, ge=1, description="execution seconds of the warehouse in an hour")

    @model_validator(mode="after")
    def _check_bins(self) -> Self:
        if 1000 % self.replay_bin_ms or self.replay_max_late_ms % self.replay_bin_ms:
            raise ValueError("REPLAY_BIN_MS must divide 1000 and REPLAY_MAX_LATE_MS")
        if self.replay_symbol_skew_ms > self.replay_max_late_ms:
            raise ValueError("REPLAY_SYMBOL_SKEW_MS must be at most REPLAY_MAX_LATE_MS")
        if bool(self.dashboard_user) != bool(self.dashboard_password.get_secret_value()):
            raise ValueError("DASHBOARD_USER and DASHBOARD_PASSWORD go together")
        for name, text in (("REPLAY_SHARD", self.replay_shard), ("ROLLUP_SHARD", self.rollup_shard)):
            shard = Shard.parse(text)
            if not shard.index < shard.count:
                raise ValueError(f"{name} is {text}: of n the last is n-1/n")
        return self

    @field_validator("mock_api_host", "metrics_host", "dashboard_host")
    @classmethod
    def _check_host(cls, host: str) -> str:
        if not host.strip():  # to a socket that is every address
            raise ValueError("expected an address to listen on, e.g. 127.0.0.1")
        return host

    @field_validator("dashboard_exchange_zone")
    @classmethod
    def _check_zone(cls, zone: str) -> str:
        try:
            ZoneInfo(zone)
        except (ZoneInfoNotFoundError, ValueError):
            raise ValueError("expected a time zone, e.g. America/New_York") from None
        return zone

    @field_validator("dashboard_session")
    @classmethod
    def _check_session(cls, hours: str) -> str:
        if hours == ALWAYS:
            return hours
        opens, _, closes = hours.partition("-")
        try:
            is_span = time.fromisoformat(opens) < time.fromisoformat(closes)
        except ValueError:
            is_span = False
        if not is_span:
            raise ValueError(f"expected hours, e.g. 09:30-16:00, or {ALWAYS}")
        return hours

    @property
    def shard(self) -> Shard:
        """REPLAY_SHARD as numbers."""
        return Shard.parse(self.replay_shard)

    @property
    def ksqldb_topic_bins(self) -> str:
        """The topic of bins as strings by their symbol, which ksqlDB collects in windows."""
        return f"{self.agg_output_topic}.bins"

    @property
    def ksqldb_topics_between(self) -> tuple[str, str]:
        """The topics between the queries of ksqlDB: what they hold is made anew with the queries."""
        return (self.ksqldb_topic_bins, self.ksqldb_topic_windowed)

    @property
    def ksqldb_topic_windowed(self) -> str:
        """The topic of closed windows, which ksqlDB folds into the bars of AGG_OUTPUT_TOPIC."""
        return f"{self.agg_output_topic}.windowed"

    @field_validator(
        "mock_api_url", "schema_registry_url", "ksqldb_url", "connect_url", "snow_account", "stack_maven_url"
    )
    @classmethod
    def _check_url(cls, url: str, info: ValidationInfo) -> str:
        is_account = info.field_name == "snow_account"
        if not url and info.field_name in ("ksqldb_url", "connect_url", "stack_maven_url"):
            return url
        if is_account and not {"/", ":"} & set(url):
            return url
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            kind = "an account identifier or a URL" if is_account else "a URL"
            raise ValueError(f"expected {kind} that begins with http:// or https://")
        with suppress(ValueError):  # its text has what stands there, which may be of a password
            if parts.port != 0:
                return url
        raise ValueError("expected a port from 1 to 65535 after the host")

    @classmethod
    def load(cls, target: str | None = None, **overrides: Any) -> Self:
        """Read the settings; command-line values in `overrides` win (None = not given).

        With a target the file `.env.<target>` stands in for .env and for the embedded stack.

        Raises:
            SettingsError: a value cannot work; the text names the variable.
        """
        given = {k: v for k, v in overrides.items() if v is not None}
        if target is not None:
            given["_env_file"] = f".env.{target}"
            if not Path(given["_env_file"]).is_file():
                raise SettingsError(f"target {target}: its settings would be in .env.{target}: no such file")
        try:
            return cls(**given)
        except ValidationError as error:
            problems = [
                f"{'.'.join(map(str, e['loc'])).upper()}: {e['msg']}" if e["loc"] else e["msg"]
                for e in error.errors()
            ]
            raise SettingsError("; ".join(p.replace("Value error, ", "") for p in problems)) from None
