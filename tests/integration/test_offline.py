"""The three offline commands: files that a second opinion confirms, the same ones at every run."""

import json
import urllib.request
from pathlib import Path

import pytest

from tests.processes import BTCUSDT, WDC, Command, feed, run_offline

needs_shared = pytest.mark.skipif(
    not WDC.exists(), reason="the recorded ticks of ../shared/data are not here"
)
DISTURBED = ["--disorder-ms", "800", "--late-rate", "0.01"]
SYNTHETIC = ["--synthetic", "--historical", "--duration", "120", "--rate", "200"]
SOURCES = [
    pytest.param(["--file", str(WDC), "--format", "kibot"], marks=needs_shared, id="wdc"),
    pytest.param(["--file", str(BTCUSDT), "--format", "binance"], marks=needs_shared, id="btcusdt"),
    pytest.param(SYNTHETIC, id="synthetic"),
]
FILES = ("--bins", "logs/replay.jsonl", "--bars", "logs/aggregate.jsonl")
TICKS = ("--ticks", "ticks.jsonl", "--dlt", "logs/replay_dlt.jsonl")


def validate(cwd: Path, *more: str) -> tuple[int, dict[str, object]]:
    script = str(Path(__file__).parents[2] / "scripts" / "validate_aggregates.py")
    command = Command(script, *FILES, *more, "--json", cwd=cwd)
    code = command.wait()
    return code, json.loads(command.output)


def capture(url: str, path: Path) -> None:
    with urllib.request.urlopen(url, timeout=60) as answer:
        path.write_bytes(answer.read())


@pytest.mark.parametrize("source", SOURCES)
def test_the_validator_agrees_tick_by_tick_and_a_second_run_gives_the_same_files(
    source: list[str], tmp_path: Path
) -> None:
    with feed(*source, *DISTURBED, "--speed", "0", cwd=tmp_path) as url:
        capture(url, tmp_path / "ticks.jsonl")
        run_offline(tmp_path, url)
        first = {p.name: p.read_bytes() for p in (tmp_path / "logs").iterdir()}
        code, report = validate(tmp_path, *TICKS)
        assert code == 0, report
        run_offline(tmp_path, url)
    assert {p.name: p.read_bytes() for p in (tmp_path / "logs").iterdir()} == first
    assert set(first) == {"replay.jsonl", "replay_dlt.jsonl", "aggregate.jsonl"}
    assert first["replay_dlt.jsonl"]


def test_the_validator_finds_a_wrong_bar_a_missing_one_and_a_lost_dead_letter(tmp_path: Path) -> None:
    with feed(*SYNTHETIC, *DISTURBED, "--speed", "0", cwd=tmp_path) as url:
        capture(url, tmp_path / "ticks.jsonl")
        run_offline(tmp_path, url)
    bars, letters = tmp_path / "logs" / "aggregate.jsonl", tmp_path / "logs" / "replay_dlt.jsonl"
    good_bars, good_letters = bars.read_bytes(), letters.read_bytes()

    lines = good_bars.splitlines(keepends=True)
    wrong = json.loads(lines[7]) | {"close": 1.0}
    bars.write_bytes(b"".join([*lines[:7], json.dumps(wrong).encode() + b"\n", *lines[8:]]))
    code, report = validate(tmp_path)
    assert code == 1
    assert wrong["bar_id"] in json.dumps(report)

    bars.write_bytes(b"".join(lines[:7] + lines[8:]))
    code, report = validate(tmp_path)
    assert code == 1
    assert wrong["bar_id"] in json.dumps(report)

    bars.write_bytes(good_bars)
    letters.write_bytes(b"".join(good_letters.splitlines(keepends=True)[1:]))
    assert validate(tmp_path)[0] == 0
    assert validate(tmp_path, *TICKS)[0] == 1


def test_a_run_that_fails_leaves_the_files_of_the_last_one(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    bins = tmp_path / "logs" / "replay.jsonl"
    bars = tmp_path / "logs" / "aggregate.jsonl"
    bins.write_text('{"bin_id": 1}\n')
    bars.write_text("what was there\n")
    engine = Command("-m", "glue.aggregate", "--source", "jsonl", cwd=tmp_path)
    assert engine.wait() == 1
    assert "logs/replay.jsonl:1: " in engine.output
    assert "Traceback" not in engine.output
    assert bars.read_text() == "what was there\n"
    assert sorted(p.name for p in (tmp_path / "logs").iterdir()) == ["aggregate.jsonl", "replay.jsonl"]
