"""The contracts in schemas/: documented, complete, and readable by those who have the version before."""

import json
from pathlib import Path

import fastavro
import msgspec
import pytest
from fastavro.schema import load_schema

from glue.core.bars import Bar
from glue.core.bins import TickBin
from glue.core.dead_letters import DeadLetter

SCHEMAS = Path(__file__).parents[2] / "schemas"
CONTRACTS = [("tick_bin.avsc", TickBin), ("bar_1s.avsc", Bar), ("dead_letter.avsc", DeadLetter)]
NO_UNIT = {"bin_id", "bar_id", "dlt_id", "symbol", "source", "reason", "detail", "seq", "line", "line_sha256"}


@pytest.mark.parametrize(("file", "struct"), CONTRACTS)
def test_every_field_has_a_doc_and_a_unit(file: str, struct: type) -> None:
    for field in json.loads((SCHEMAS / file).read_text())["fields"]:
        assert field["doc"].endswith("."), field["name"]
        assert field["name"] in NO_UNIT or "Unit: " in field["doc"], field["name"]


@pytest.mark.parametrize(("file", "struct"), CONTRACTS)
def test_the_struct_has_the_fields_of_the_schema_in_its_order(
    file: str, struct: type[msgspec.Struct]
) -> None:
    fields = [field["name"] for field in json.loads((SCHEMAS / file).read_text())["fields"]]
    assert list(struct.__struct_fields__) == fields


@pytest.mark.parametrize(("file", "struct"), CONTRACTS)
def test_the_schema_is_valid_avro(file: str, struct: type) -> None:
    fastavro.parse_schema(load_schema(SCHEMAS / file))
