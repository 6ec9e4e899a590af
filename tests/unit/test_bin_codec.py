"""The fast Avro of bins: the library's bytes, and whatever the library reads."""

import io
import json
from typing import Any

import fastavro
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from glue.core.bins import TickBin, watermark_record
from glue.io.bin_codec import LAYOUT, SCHEMA_FILE, BinReader, BinWriter, integer, number
from glue.io.registry import HEADER, SCHEMA_DIR, AvroWriter, BadRecord

SCHEMA = json.loads((SCHEMA_DIR / SCHEMA_FILE).read_text())
LONGS = st.integers(-(2**63), 2**63 - 1)
TEXTS = st.text(max_size=80)
DOUBLES = st.floats(allow_nan=False)
NULLABLE_LONGS = st.none() | LONGS
BINS = st.builds(
    TickBin,
    bin_id=TEXTS,
    symbol=TEXTS,
    start_ts_ms=LONGS,
    end_ts_ms=LONGS,
    window_ms=st.integers(-(2**31), 2**31 - 1),
    open=DOUBLES,
    high=DOUBLES,
    low=DOUBLES,
    close=DOUBLES,
    volume=DOUBLES,
    notional=DOUBLES,
    trade_count=LONGS,
    max_lateness_ms=LONGS,
    watermark_ms=LONGS,
    api_send_ts_ms=NULLABLE_LONGS,
    source_event_ts_ms=NULLABLE_LONGS,
    ingest_ts_ms=NULLABLE_LONGS,
    source=TEXTS,
)
WATERMARK = watermark_record("~wm7", 1_600_000_000_123, 10, None)


class Schemas:
    """A registry that knows these versions of the schema."""

    def __init__(self, **versions: Any) -> None:
        self._versions = {int(name.removeprefix("v")): schema for name, schema in versions.items()}

    def schema(self, schema_id: int) -> Any:
        if schema_id not in self._versions:
            raise BadRecord(f"schema id {schema_id} is not in the registry")
        return fastavro.parse_schema(self._versions[schema_id])


def reader(**versions: Any) -> BinReader:
    """Return a reader that has seen a record of the present version, 1."""
    found = BinReader(Schemas(v1=SCHEMA, **versions))  # type: ignore[arg-type]
    found.decode(BinWriter(1).encode(WATERMARK))
    return found


def test_the_layout_is_that_of_the_schema():
    assert [(field["name"], field["type"]) for field in SCHEMA["fields"]] == LAYOUT
    assert [name for name, _ in LAYOUT] == list(TickBin.__struct_fields__)


@given(BINS)
@example(WATERMARK)
@settings(max_examples=400, derandomize=True, database=None)
def test_bins_are_written_as_the_library_writes_them_and_read_back(tick_bin):
    value = BinWriter(1).encode(tick_bin)
    assert value == AvroWriter(SCHEMA_FILE, 1).encode(tick_bin)
    assert reader().decode(value) == tick_bin


@given(LONGS)
@example(0)
@example(-(2**63))
@settings(derandomize=True, database=None)
def test_numbers_survive(value):
    assert integer(number(value)) == value


@given(BINS, st.data())
@settings(max_examples=300, derandomize=True, database=None)
def test_cut_or_changed_bytes_are_read_as_the_library_reads_them_or_refused(tick_bin, data):
    value = bytearray(BinWriter(1).encode(tick_bin))
    at = data.draw(st.integers(HEADER.size, len(value) - 1))
    if data.draw(st.booleans()):
        del value[at:]
    else:
        value[at] = data.draw(st.integers(0, 255))
    fast, plain = reader(), BinReader(Schemas(v1=SCHEMA))  # type: ignore[arg-type]
    assert outcome(fast, bytes(value)) == outcome(plain, bytes(value))


def outcome(bins: BinReader, value: bytes) -> str:
    try:
        return repr(bins.decode(value))
    except BadRecord:
        return "refused"


def test_records_of_an_older_version_are_read():
    older = SCHEMA | {"fields": [f for f in SCHEMA["fields"] if f["name"] != "ingest_ts_ms"]}
    out = io.BytesIO()
    out.write(HEADER.pack(0, 2))
    wanted = TickBin("A-10", "A", 10, 20, 10, 1.0, 2.0, 0.5, 1.5, 3.0, 4.0, 2, 0, 520, None, 7, None)
    fields = {f["name"]: getattr(wanted, f["name"]) for f in older["fields"]}
    fastavro.schemaless_writer(out, fastavro.parse_schema(older), fields)
    bins = reader(v2=older)
    assert bins.decode(out.getvalue()) == wanted
    newer = BinWriter(1).encode(wanted)
    assert bins.decode(newer) == wanted


@pytest.mark.parametrize(
    "value", [None, b"", b"\x00\x00", b"\x01\x00\x00\x00\x01x", HEADER.pack(0, 9) + b"x"]
)
def test_what_is_no_record_is_refused(value):
    with pytest.raises(BadRecord):
        reader().decode(value)
