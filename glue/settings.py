"""The one settings class: environment, then .env, then the running embedded stack, then defaults.

Every name is the environment variable in lower case. `.env.example` lists them all.
"""

from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from glue.core.partition import Shard
from glue.errors import SettingsError

STATE_DIR = Path(".tapeline")
ENDPOINTS_FILE = STATE_DIR / "stack.env"
"""Written by `glue.stack up` with the ports it chose, removed by `glue.stack down`."""


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
    log_dir: Path = Field(Path("logs"), description="JSONL output and the dead-letter file")
    log_format: Literal["auto", "console", "json"] = Field("auto", description="auto = console on a terminal")
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    # Topics
    kafka_topic_raw: str = "ticks.raw"
    kafka_topic_dlt: str = "ticks.dlt"
    kafka_topic_state: str = "ticks.replay.state"
    agg_output_topic: str = "ticks.agg.1s"
    kafka_partitions: int = Field(6, ge=1, le=1000, description="partitions of ticks.raw at creation")
    kafka_agg_partitions: int = Field(1, ge=1, le=1000, description="partitions of ticks.agg.1s at creation")
    kafka_retention_ms: int = Field(3_600_000, ge=60_000, description="retention of ticks.raw, ticks.agg.1s")
    kafka_dlt_retention_ms: int = Field(604_800_000, ge=60_000, description="retention of ticks.dlt")

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

    # Embedded stack (glue.stack)
    stack_kafka_port: int = Field(9092, ge=0, le=65535, description="broker; another if taken, 0 = any free")
    stack_registry_port: int = Field(8081, ge=0, le=65535, description="registry; likewise")
    stack_broker_properties: str = Field("", description="more server.properties, name=value,…")
    stack_start_timeout_ms: int = Field(120_000, ge=1_000, description="a part must be ready after so long")
    stack_maven_url: str = Field("", description="Maven repository to fetch jars from, empty = Maven Central")
    tapeline_cache_dir: Path | None = Field(
        None, description="downloaded jars; default $XDG_CACHE_HOME/tapeline or ~/.cache/tapeline"
    )

    # Service levels (glue.status)
    sla_publish_ms: int = Field(20, ge=1, description="bin closed -> appended to ticks.raw, p95")
    sla_bar_ms: int = Field(750, ge=1, description="bar end -> appended to ticks.agg.1s, p95")

    @model_validator(mode="after")
    def _check_bins(self) -> Self:
        if 1000 % self.replay_bin_ms or self.replay_max_late_ms % self.replay_bin_ms:
            raise ValueError("REPLAY_BIN_MS must divide 1000 and REPLAY_MAX_LATE_MS")
        if self.replay_symbol_skew_ms > self.replay_max_late_ms:
            raise ValueError("REPLAY_SYMBOL_SKEW_MS must be at most REPLAY_MAX_LATE_MS")
        if not self.shard.index < self.shard.count:
            raise ValueError(f"REPLAY_SHARD is {self.replay_shard}: of n workers the last is n-1/n")
        return self

    @property
    def shard(self) -> Shard:
        """REPLAY_SHARD as numbers."""
        index, _, count = self.replay_shard.partition("/")
        return Shard(int(index), int(count))

    @field_validator("mock_api_url", "schema_registry_url")
    @classmethod
    def _check_url(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("expected a URL that begins with http:// or https://")
        return url

    @classmethod
    def load(cls, **overrides: Any) -> Self:
        """Read the settings; command-line values in `overrides` win (None = not given).

        Raises:
            SettingsError: a value cannot work; the text names the variable.
        """
        try:
            return cls(**{k: v for k, v in overrides.items() if v is not None})
        except ValidationError as error:
            problems = [
                f"{'.'.join(map(str, e['loc'])).upper()}: {e['msg']}" if e["loc"] else e["msg"]
                for e in error.errors()
            ]
            raise SettingsError("; ".join(p.replace("Value error, ", "") for p in problems)) from None
