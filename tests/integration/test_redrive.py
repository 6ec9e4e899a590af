"""`glue.redrive` on the real broker: what was refused goes back to its place, each record once."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer
from structlog.testing import capture_logs

from glue import redrive as redrive_module
from glue.core.connect_letters import REDRIVEN
from glue.errors import TapelineError
from glue.intake import now_ms
from glue.io import connect_letters
from glue.io.connect_letters import Redrive, Unsent, unsent_since
from glue.io.kafka import client_config
from glue.io.kafka_read import read_to_end
from glue.io.topics import Topic, ensure_topics, recreate_topics
from glue.redrive import main
from glue.settings import Settings
from tests.conftest import RunningStack
from tests.processes import Command, NeverStopped, env_of, until

pytestmark = pytest.mark.stack
Place = tuple[str, int, int]


@pytest.fixture
def settings(stack: RunningStack, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Settings]:
    """Lead the command to topics of its own, and let it leave signals and logs of this process alone."""
    settings = stack.settings(kafka_agg_partitions=2)
    monkeypatch.chdir(tmp_path)
    for name, value in env_of(settings).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(redrive_module, "StopSignal", NeverStopped)
    monkeypatch.setattr(redrive_module.logs, "configure", lambda settings: None)
    with capture_logs():
        yield settings


def refuse(settings: Settings, *places: Place | None, reason: str = "no registry") -> None:
    """Leave a letter for each record, as a Connect worker does; None: without its headers."""
    producer = Producer(client_config(settings))
    for place in places:
        headers: list[tuple[str, bytes]] = [("trace", b"\xff")]
        if place is not None:
            says = dict(zip(("topic", "partition", "offset"), map(str, place), strict=True))
            says["exception.message"] = reason
            headers += [(f"__connect.errors.{name}", text.encode()) for name, text in says.items()]
        key, value = f"k{place}", f"v{place}".encode()
        producer.produce(settings.kafka_topic_connect_dlt, value, key, 0, headers=headers)
    assert producer.flush(30) == 0


def found(settings: Settings, topic: str) -> list[tuple[Any, ...]]:
    return [(m.partition(), m.key(), m.value(), m.headers()) for m in read_to_end(settings, topic)]


def as_it_was(place: Place) -> tuple[Any, ...]:
    headers = [("trace", b"\xff"), (REDRIVEN, f"{place[1]}:{place[2]}".encode())]
    return (place[1], f"k{place}".encode(), f"v{place}".encode(), headers)


def redrive(capsys: pytest.CaptureFixture[str], *options: str) -> tuple[int, dict[str, Any]]:
    capsys.readouterr()
    code = main(["--json", *options])
    return code, json.loads(capsys.readouterr().out)


def unsent(settings: Settings) -> Unsent:
    return unsent_since(settings, now_ms() - 3_600_000)


def test_each_record_goes_back_once_as_it_was(settings, capsys, monkeypatch):
    monkeypatch.setattr(connect_letters, "CHUNK", 3)
    bars = settings.agg_output_topic
    places = [(bars, n % 2, n) for n in range(8)]
    assert unsent(settings) == Unsent(0)
    refuse(settings, *places, *places[:2])
    assert unsent(settings) == Unsent(10, "no registry")

    code, told = redrive(capsys, "--dry-run")
    assert (code, told["sent"], found(settings, bars)) == (0, 8, [])
    assert unsent(settings).count == 10

    code, told = redrive(capsys)
    assert (code, told["sent"], told["stay"]) == (0, 8, 0)
    assert [(r["fate"], r["records"], r["offsets"]) for r in told["records"]] == [
        ("sent again", 8, "0-7"),
        ("passed over: it stands there twice", 2, "8-9"),
    ]
    assert sorted(found(settings, bars)) == sorted(map(as_it_was, places))
    assert unsent(settings) == Unsent(0)

    refuse(settings, places[0], (bars, 0, 8), reason="does not fit")  # of the first there was a letter
    assert unsent(settings) == Unsent(2, "does not fit")
    assert redrive(capsys)[1]["sent"] == 1
    assert redrive(capsys) == (0, told | {"sent": 0, "records": []})
    assert len(found(settings, bars)) == 9


def test_what_cannot_be_sent_stays_and_goes_once_its_topic_is_there(settings, capsys):
    bars, gone = settings.agg_output_topic, f"{settings.agg_output_topic}.gone"
    places = [(bars, 0, 1), (gone, 0, 1), None, (bars, 5, 1), (bars, 0, 2)]
    refuse(settings, *places)

    code, told = redrive(capsys)
    assert (code, told["sent"], told["stay"]) == (1, 2, 3)
    fates = {(r["topic"], r["offsets"]): r["fate"] for r in told["records"] if r["fate"].startswith("stays")}
    no_place = "stays: no such topic or partition"
    assert fates == {
        (gone, "1"): no_place,
        (bars, "3"): no_place,
        (None, "2"): "stays: its headers do not say where it is from",
    }
    assert unsent(settings) == Unsent(3, "no registry")
    assert redrive(capsys)[1]["sent"] == 0
    assert gone not in {topic for topic, _ in ensure_topics(settings)}

    ensure_topics(settings, [Topic(gone, 1, {})])
    code, told = redrive(capsys)
    assert (code, told["sent"], told["stay"]) == (1, 1, 2)
    assert found(settings, gone) == [as_it_was(places[1])]
    assert main([]) == 1
    text = capsys.readouterr().out
    assert f"records: 5 on {settings.kafka_topic_connect_dlt}, 0 sent again, 2 stay" in text
    assert unsent(settings).count == 2


def test_a_run_that_is_killed_or_replaced_sends_nothing_twice(settings, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(connect_letters, "CHUNK", 100)
    places = [(settings.agg_output_topic, 0, n) for n in range(5_000)]
    refuse(settings, *places)
    older = Redrive(settings, NeverStopped().__bool__, is_dry_run=False)
    chunks = older.chunks()
    older.commit(next(chunks))
    assert unsent(settings).count == 4_900

    command = Command("-m", "glue.redrive", cwd=tmp_path)
    until(lambda: unsent(settings).count < 4_900, "a run in its midst")
    command.stop(signal.SIGKILL)
    assert redrive(capsys)[1]["stay"] == 0
    with pytest.raises(TapelineError, match=r"glue\.redrive was started once more; this one stops"):
        older.commit(next(chunks))
    older.close()

    assert [key for _, key, _, _ in found(settings, places[0][0])] == [f"k{p}".encode() for p in places]
    assert unsent(settings) == Unsent(0)


def test_after_a_fresh_start_letters_are_new(settings, capsys):
    refuse(settings, *[(settings.agg_output_topic, 0, n) for n in range(3)])
    assert redrive(capsys)[1]["sent"] == 3
    recreate_topics(settings)  # what --fresh does
    refuse(settings, (settings.agg_output_topic, 0, 5))
    assert unsent(settings).count == 1
    assert redrive(capsys)[1]["sent"] == 1


def test_what_the_broker_may_have_forgotten_to_be_sent_is_passed_over(settings, capsys, monkeypatch):
    monkeypatch.setattr(connect_letters, "OFFSETS_KEPT_MS", -60_000)
    refuse(settings, (settings.agg_output_topic, 0, 1))
    code, told = redrive(capsys)
    assert (code, told["sent"], told["stay"]) == (0, 0, 0)
    assert "so old" in told["records"][0]["fate"]


def test_an_interrupted_run_ends_between_two_transactions(settings, capsys, monkeypatch):
    refuse(settings, (settings.agg_output_topic, 0, 1))
    monkeypatch.setattr(redrive_module, "StopSignal", Stopped)
    assert main([]) == 130
    assert "run the command again to go on" in capsys.readouterr().err
    assert unsent(settings).count == 1


class Stopped:
    def __bool__(self) -> bool:
        return True


def test_without_a_topic_the_message_says_so(settings, monkeypatch):
    monkeypatch.setenv("KAFKA_TOPIC_CONNECT_DLT", "not.there")
    with pytest.raises(TapelineError, match=r"topic not\.there does not exist"):
        main([])
