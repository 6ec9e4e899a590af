"""Schema registry and Avro: records as `0, schema id (4 bytes, big endian), Avro binary`.

The wire format and the API are Confluent's; Apicurio answers them too.
"""

import io
import json
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

import fastavro
import msgspec
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient, SchemaRegistryError
from fastavro.types import AvroMessage

from glue.errors import TapelineError, TransientError
from glue.io.rest import NO_SUCH_REQUEST
from glue.settings import Settings, shown

BAR_SCHEMA_FILE = "bar_1s.avsc"
SCHEMA_DIR = Path(__file__).parents[2] / "schemas"
HEADER = struct.Struct(">bI")
"""Magic byte 0 and the schema id."""
NOT_FOUND, CONFLICT = 404, 409
LEAST_CODE = 10_000
"""A registry's own codes have five digits, e.g. 40401; what other services answer has none of them."""
BACKWARD = {"BACKWARD", "BACKWARD_TRANSITIVE", "FULL", "FULL_TRANSITIVE"}
"""Rules by which new readers can read old records."""
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Found:
    """What the registry knows of a schema: its id (None = not registered), and the subject's rule."""

    schema_id: int | None
    is_newest: bool
    """Whether no version came after it."""
    compatibility: str
    """Empty where the subject has no rule of its own."""


def subjects(settings: Settings) -> dict[str, str]:
    """Return which schema of schemas/ belongs to which subject."""
    return {
        f"{settings.kafka_topic_raw}-value": "tick_bin.avsc",
        f"{settings.agg_output_topic}-value": BAR_SCHEMA_FILE,
        f"{settings.kafka_topic_dlt}-value": "dead_letter.avsc",
    }


class RegistryAway(TransientError):
    """The registry does not answer."""


class BadRecord(ValueError):
    """A record that is no Avro of a registered schema."""


class Registry:
    """The registry of SCHEMA_REGISTRY_URL."""

    def __init__(self, settings: Settings) -> None:
        self._url = settings.schema_registry_url
        config: dict[str, Any] = {"url": self._url, "timeout": 10, "max.retries": 2}
        if settings.rest_ca_file is not None:
            config["ssl.ca.location"] = str(settings.rest_ca_file)
        self._client = SchemaRegistryClient(config)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connections."""
        self._client.close()

    def check(self) -> None:
        """See that a registry answers.

        Raises:
            TapelineError: none does, or it refuses.
        """
        try:
            self._client.get_subjects()
        except SchemaRegistryError as error:
            raise self._refusal("the registry refuses to tell its subjects", error) from None
        except Exception as error:
            raise self._unreachable(error) from None

    def register(self, subject: str, schema_file: str) -> int:
        """Register a schema of schemas/ under a subject and return its id; safe to run again.

        Later versions of the subject must be BACKWARD compatible: new readers can read old records.

        Raises:
            TapelineError: the registry does not answer, or refuses the schema as not BACKWARD compatible.
        """
        text = (SCHEMA_DIR / schema_file).read_text()
        try:
            self._require_backward(subject)
            return int(self._client.register_schema(subject, Schema(text, "AVRO")))
        except SchemaRegistryError as error:
            raise self._refusal(f"the registry refused schemas/{schema_file} as {subject}", error) from None
        except Exception as error:  # the client raises whatever its HTTP library raises
            raise self._unreachable(error) from None

    def find(self, subject: str, schema_file: str) -> Found:
        """Return what the registry knows of a schema of schemas/ under a subject; changes nothing.

        Raises:
            TapelineError: the registry does not answer, or refuses.
        """
        text = (SCHEMA_DIR / schema_file).read_text()
        try:
            rule = self._unless_missing(lambda: self._client.get_compatibility(subject))
            versions = self._unless_missing(lambda: self._client.get_versions(subject)) or []
            known = self._unless_missing(lambda: self._client.lookup_schema(subject, Schema(text, "AVRO")))
        except SchemaRegistryError as error:
            raise self._refusal(f"the registry refuses to tell of {subject}", error) from None
        except Exception as error:
            raise self._unreachable(error) from None
        return Found(
            schema_id=known.schema_id if known is not None and versions else None,
            is_newest=known is not None and known.version == max(versions, default=None),
            compatibility=rule or "",
        )

    @staticmethod
    def _unless_missing(call: Callable[[], T]) -> T | None:
        try:
            return call()
        except SchemaRegistryError as error:
            if not _is_missing(error):
                raise
            return None

    def _refusal(self, what: str, error: SchemaRegistryError) -> TapelineError:
        where, status = f"SCHEMA_REGISTRY_URL={shown(self._url)}", error.http_status_code
        if status in NO_SUCH_REQUEST and not _is_own(error):
            return TapelineError(
                f"what answers at {where} is no schema registry: it says HTTP {status}; a registry's API may "
                "have a path, as Apicurio's /apis/ccompat/v7"
            )
        if status in (401, 403):
            return TapelineError(f"{what}: HTTP {status}; user and password are part of {where}")
        return TapelineError(f"{what}: {error.error_message}")

    def _unreachable(self, error: Exception) -> TapelineError:
        return RegistryAway(
            f"no schema registry answers at SCHEMA_REGISTRY_URL={shown(self._url)} ({type(error).__name__}); "
            "start the embedded one with `python -m glue.stack up`, or set SCHEMA_REGISTRY_URL"
        )

    def _require_backward(self, subject: str) -> None:
        """Make the registry refuse what is not, unless somebody chose another rule for the subject."""
        try:
            self._client.get_compatibility(subject)
        except SchemaRegistryError as error:
            if not _is_missing(error):
                raise
            try:
                self._client.set_compatibility(subject, "BACKWARD")
            except SchemaRegistryError as refused:
                if refused.http_status_code != CONFLICT:  # else another worker has just set it
                    raise

    def schema(self, schema_id: int) -> Any:
        """Return the parsed schema of an id.

        Raises:
            BadRecord: the registry does not know the id.
            TransientError: the registry does not answer.
        """
        try:
            text = self._client.get_schema(schema_id).schema_str
        except SchemaRegistryError as error:
            if _is_missing(error):
                raise BadRecord(f"schema id {schema_id} is not in the registry") from None
            raise RegistryAway(f"registry: {error.error_message}") from None
        except Exception as error:
            raise RegistryAway(f"registry at {shown(self._url)}: {type(error).__name__}") from None
        return fastavro.parse_schema(json.loads(text or ""))


def _is_own(error: SchemaRegistryError) -> bool:
    return isinstance(error.error_code, int) and error.error_code >= LEAST_CODE


def _is_missing(error: SchemaRegistryError) -> bool:
    return error.http_status_code == NOT_FOUND and _is_own(error)


class AvroWriter:
    """Encodes structs of one schema."""

    def __init__(self, schema_file: str, schema_id: int) -> None:
        self._schema = fastavro.parse_schema(json.loads((SCHEMA_DIR / schema_file).read_text()))
        self._header = HEADER.pack(0, schema_id)

    def encode(self, record: msgspec.Struct) -> bytes:
        """Return the record's bytes, header included."""
        buffer = io.BytesIO()
        buffer.write(self._header)
        fastavro.schemaless_writer(buffer, self._schema, msgspec.structs.asdict(record))
        return buffer.getvalue()


class AvroReader:
    """Decodes records written with any version of a schema, as dictionaries of the version in schemas/."""

    def __init__(self, schema_file: str, registry: Registry) -> None:
        self._reader_schema: Any = fastavro.parse_schema(json.loads((SCHEMA_DIR / schema_file).read_text()))
        self._registry = registry
        self._written: dict[int, Any] = {}

    def is_present_version(self, value: bytes) -> bool:
        """Tell whether a record that was decoded is of the version in schemas/."""
        return bool(self._written[HEADER.unpack_from(value)[1]]["fields"] == self._reader_schema["fields"])

    def decode(self, value: bytes | None) -> dict[str, Any]:
        """Return the record's fields.

        Raises:
            BadRecord: the bytes are no Avro of a registered, compatible schema.
            TransientError: the registry does not answer.
        """
        if value is None or len(value) < HEADER.size or value[0] != 0:
            raise BadRecord("no Avro record with a schema id")
        schema_id = HEADER.unpack_from(value)[1]
        written = self._written.get(schema_id)
        if written is None:
            written = self._written[schema_id] = self._registry.schema(schema_id)
        try:
            record: AvroMessage = fastavro.schemaless_reader(
                io.BytesIO(value[HEADER.size :]), written, self._reader_schema
            )
        except Exception as error:  # fastavro raises many kinds for broken bytes
            raise BadRecord(f"not readable as Avro: {error}") from None
        if not isinstance(record, dict):
            raise BadRecord("not an Avro record")
        return record
