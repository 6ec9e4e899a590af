"""Schemas on the real registry: registered once, BACKWARD compatible, readable by any version's reader."""

import json
from pathlib import Path

import pytest

from glue.core.bins import watermark_record
from glue.errors import TapelineError
from glue.io import registry as registry_module
from glue.io.registry import SCHEMA_DIR, AvroReader, AvroWriter, BadRecord, Registry
from glue.settings import Settings
from tests.conftest import RunningStack

pytestmark = pytest.mark.stack
FILES = ["tick_bin.avsc", "bar_1s.avsc", "dead_letter.avsc"]


@pytest.fixture
def changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Point the adapter to a copy of schemas/ that a test may change."""
    for file in FILES:
        (tmp_path / file).write_text((SCHEMA_DIR / file).read_text())
    monkeypatch.setattr(registry_module, "SCHEMA_DIR", tmp_path)
    return tmp_path


def with_field(path: Path, field: dict[str, object]) -> None:
    schema = json.loads(path.read_text())
    schema["fields"].append(field)
    path.write_text(json.dumps(schema))


@pytest.mark.parametrize("file", FILES)
def test_registering_again_gives_the_same_id(file: str, stack: RunningStack) -> None:
    with Registry(stack.settings()) as registry:
        assert registry.register(f"again-{file}", file) == registry.register(f"again-{file}", file)


@pytest.mark.parametrize("file", FILES)
def test_a_new_nullable_field_is_backward_compatible(file: str, stack: RunningStack, changed: Path) -> None:
    with Registry(stack.settings()) as registry:
        first = registry.register(f"grows-{file}", file)
        with_field(changed / file, {"name": "venue", "type": ["null", "string"], "default": None})
        assert registry.register(f"grows-{file}", file) != first


@pytest.mark.parametrize("file", FILES)
def test_a_new_field_without_a_default_is_refused(file: str, stack: RunningStack, changed: Path) -> None:
    with Registry(stack.settings()) as registry:
        registry.register(f"breaks-{file}", file)
        with_field(changed / file, {"name": "venue", "type": "string"})
        with pytest.raises(TapelineError, match=f"refused schemas/{file}"):
            registry.register(f"breaks-{file}", file)


def test_a_reader_of_the_next_version_reads_records_of_this_one(stack: RunningStack, changed: Path) -> None:
    record = watermark_record("~wm0", 1_000, 10, None)
    with Registry(stack.settings()) as registry:
        value = AvroWriter("tick_bin.avsc", registry.register("evolves", "tick_bin.avsc")).encode(record)
        with_field(changed / "tick_bin.avsc", {"name": "venue", "type": "string", "default": "XNAS"})
        assert AvroReader("tick_bin.avsc", registry).decode(value)["venue"] == "XNAS"


@pytest.mark.parametrize(
    "value", [None, b"", b"\x00\x00", b"\x01\x00\x00\x00\x01x", b"\x00\x7f\xff\xff\xffx", b'{"json": 1}']
)
def test_bytes_that_are_no_record_of_a_schema_are_a_bad_record(
    value: bytes | None, stack: RunningStack
) -> None:
    with Registry(stack.settings()) as registry, pytest.raises(BadRecord):
        AvroReader("tick_bin.avsc", registry).decode(value)


def test_a_registry_that_is_not_there_is_named_with_the_way_out() -> None:
    says = r"SCHEMA_REGISTRY_URL=http://127\.0\.0\.1:9 .*glue\.stack up"
    with (
        Registry(Settings.load(schema_registry_url="http://127.0.0.1:9")) as registry,
        pytest.raises(TapelineError, match=says),
    ):
        registry.register("nowhere", "tick_bin.avsc")
