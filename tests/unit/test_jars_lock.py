import re
from pathlib import Path

import pytest

from glue.errors import SettingsError
from glue.settings import Settings
from glue.stack.broker import Kafka
from glue.stack.connect import Connect
from glue.stack.locked import LOCK_FILE, LockedFile, read_lock, write_lock
from glue.stack.stack import PARTS


def test_the_lock_has_every_file_and_root_of_every_part():
    lock = read_lock(LOCK_FILE.read_text())

    for part in PARTS:
        locked = [file.coordinates for file in lock[part.name]]
        assert locked[: len(part.files)] == list(part.files), "python -m glue.stack.lock"
        assert set(part.roots) <= set(locked), "python -m glue.stack.lock"


def test_the_embedded_worker_has_the_plugin_of_the_containers():
    image = (Path(__file__).parents[2] / "docker" / "connect" / "jars.lock").read_text().splitlines()

    locked = read_lock(LOCK_FILE.read_text())["connect"][: len(Connect.files)]

    assert {f"{file.coordinates} {file.sha256}" for file in locked} == set(image)


def test_the_lock_pins_every_file_by_hash_and_size():
    for files in read_lock(LOCK_FILE.read_text()).values():
        for file in files:
            assert re.fullmatch("[0-9a-f]{64}", file.sha256), file
            assert file.size > 0, file


def test_the_lock_names_no_server():
    assert "://" not in LOCK_FILE.read_text()


def test_a_jar_is_cached_where_maven_would_put_it():
    file = LockedFile("org.apache.kafka:kafka-clients:4.1.1", "ab" * 32, 1)

    assert file.path == Path("maven/org/apache/kafka/kafka-clients/4.1.1/kafka-clients-4.1.1.jar")


def test_an_archive_is_cached_as_a_folder_that_its_hash_names():
    file = LockedFile("io.apicurio:apicurio-registry-app:3.3.3:all:tar.gz", "ab" * 32, 1)

    assert file.is_archive
    assert file.path == Path("unpacked/apicurio-registry-app-3.3.3-all-abababababababab")


def test_what_is_written_is_read():
    parts = {
        "one": [LockedFile("g:a:1", "00", 1)],
        "two": [LockedFile("g:b:2:all:tar.gz", "11", 2), LockedFile("g:a:1", "00", 1)],
    }

    assert read_lock(write_lock(parts, "two lines\nof comment")) == parts


def test_broker_properties_may_hold_commas():
    settings = Settings(_env_file=None, stack_broker_properties="a.b=1, c.d=x,y , e=")

    properties = Kafka(settings).properties({"broker": 1, "controller": 2})

    assert {name: properties[name] for name in ("a.b", "c.d", "e")} == {"a.b": "1", "c.d": "x,y", "e": ""}


def test_broker_properties_without_a_name_are_refused():
    settings = Settings(_env_file=None, stack_broker_properties="nonsense")

    with pytest.raises(SettingsError, match="STACK_BROKER_PROPERTIES"):
        Kafka(settings).properties({"broker": 1, "controller": 2})
