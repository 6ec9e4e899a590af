"""Schema registry and Avro: records as `0, schema id (4 bytes, big endian), Avro binary`.

The wire format and the API are Confluent's; Apicurio answers them too.
"""

import io
import json
import struct
from pathlib import Path
from typing import Any, Self

import fastavro
import msgspec
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient, SchemaRegistryError
from fastavro.types import AvroMessage

from glue.errors import TapelineError, TransientError
from glue.settings import Settings

SCHEMA_DIR = Path(__file__).parents[2] / "schemas"
HEADER = struct.Struct(">bI")
"""Magic byte 0 and the schema id."""
NOT_FOUND, CONFLICT = 404, 409


class BadRecord(ValueError):
    """A record that is no Avro of a registered schema."""


class Registry:
    """The registry of SCHEMA_REGISTRY_URL."""

    def __init__(self, settings: Settings) -> None:
        self._url = settings.schema_registry_url
        self._client = SchemaRegistryClient({"url": self._url, "timeout": 10, "max.retries": 2})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connections."""
        self._client.close()

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
            raise TapelineError(
                f"the registry refused schemas/{schema_file} as {subject}: {error.error_message}"
            ) from None
        except Exception as error:  # the client raises whatever its HTTP library raises
            raise TapelineError(
                f"no schema registry answers at SCHEMA_REGISTRY_URL={self._url} ({type(error).__name__}); "
                "start the embedded one with `python -m glue.stack up`, or set SCHEMA_REGISTRY_URL"
            ) from None

    def _require_backward(self, subject: str) -> None:
        """Make the registry refuse what is not, unless somebody chose another rule for the subject."""
        try:
            self._client.get_compatibility(subject)
        except SchemaRegistryError as error:
            if error.http_status_code != NOT_FOUND:
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
            if error.http_status_code == NOT_FOUND:
                raise BadRecord(f"schema id {schema_id} is not in the registry") from None
            raise TransientError(f"registry: {error.error_message}") from None
        except Exception as error:
            raise TransientError(f"registry at {self._url}: {error}") from None
        return fastavro.parse_schema(json.loads(text or ""))


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
