"""scripts/validate_aggregates.py as a command: options, exit codes, messages, the report for people."""

import subprocess
import sys
from pathlib import Path

import pytest
from validate_cases import Outcome, Validator, a_bar, a_bin, mark

SCRIPT = Path(__file__).parents[2] / "scripts" / "validate_aggregates.py"
BINS = [a_bin(1000, 1520, (10.0, 1.0)), mark(2500)]


@pytest.fixture
def validator(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Validator:
    return Validator(tmp_path, capsys)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--bins", "x"), "--bars"),
        (("--bins", "x", "--bars", "y", "--ticks", "t"), "--dlt"),
        (("--bins", "x", "--bars", "y", "--dlt", "t"), "--ticks"),
        (("--bins", "x", "--bars", "y", "--bin-ms", "7"), "--bin-ms"),
        (("--bins", "x", "--bars", "y", "--max-late-ms", "505"), "--max-late-ms"),
        (("--bins", "x", "--bars", "y", "--skew-ms", "501"), "--skew-ms"),
        (("--bins", "x", "--bars", "y", "--tolerance", "-1"), "--tolerance"),
        (("--bins", "x", "--bars", "y", "--tolerance", "nan"), "--tolerance"),
        (("--bins", "x", "--bars", "y", "--examples", "0"), "--examples"),
        (("--bins", "x", "--bars", "y", "--mode", "past"), "--mode"),
        (("--bins", "x", "--bars", "y", "--symbol", "A", "--symbol", "B"), "--symbol"),
    ],
)
def test_wrong_usage_exits_2_and_names_the_option(
    validator: Validator, options: tuple[str, ...], named: str
) -> None:
    code, out, err = validator.run(*options)
    assert (code, out) == (2, "")
    assert named in err.splitlines()[-1]


@pytest.mark.parametrize("which", ["bins.jsonl", "bars.jsonl", "dlt.jsonl", "ticks.jsonl"])
def test_a_file_that_is_not_there_exits_1_and_is_named(validator: Validator, which: str) -> None:
    options = Outcome(feed=[b"{}"], bins=BINS).write(validator.folder)
    (validator.folder / which).unlink()
    code, out, err = validator.run(*options)
    assert (code, out) == (1, "")
    assert err.startswith("error: cannot read ")
    assert which in err


@pytest.mark.parametrize(
    "text", ['{"bin_id": "A-1000"', '{"start_ts_ms": "soon"}', "\x00\x01", '{"bin_id": "\xff"}'],
    ids=["half a line", "wrong type", "binary", "no UTF-8"],
)  # fmt: skip
def test_a_file_that_is_no_jsonl_exits_1_and_is_named(validator: Validator, text: str) -> None:
    options = Outcome(bins=BINS).write(validator.folder)
    (validator.folder / "bins.jsonl").write_bytes(text.encode("latin-1"))
    code, _, err = validator.run(*options)
    assert code == 1
    assert err.startswith("error: ")
    assert "bins.jsonl" in err
    assert len(err.splitlines()) == 1


def test_a_market_file_without_a_symbol_in_its_name_says_the_way_out(validator: Validator) -> None:
    options = Outcome(bins=BINS).write(validator.folder)
    (validator.folder / "2010.csv").write_text("1,2,3,4\n")
    (validator.folder / "dlt.jsonl").touch()
    code, _, err = validator.run(*options, "--ticks", "2010.csv", "--dlt", "dlt.jsonl")
    assert code == 1
    assert "--symbol" in err


def test_the_report_for_people_ends_with_the_verdict(validator: Validator) -> None:
    code, out, _ = validator.run(*Outcome(bins=BINS).write(validator.folder))
    assert code == 0
    assert out.splitlines()[-1] == "PASS: no difference in 1 bars, 1 bins"
    assert "\x1b" not in out
    assert "n/a (historical feed)" in out


def test_a_failed_report_shows_examples(validator: Validator) -> None:
    bars = [a_bar(1000, "A", BINS[:1], close=10.5, high=10.5)]
    code, out, _ = validator.run(*Outcome(bins=BINS, bars=bars).write(validator.folder))
    assert code == 1
    assert out.splitlines()[-1] == "FAIL: 2 differences in 1 bars, 1 bins: bar_fields 2"
    assert all(text in out for text in ("A-1000", "close", "10.5"))


def test_a_short_list_of_examples_says_so(validator: Validator) -> None:
    bins = [a_bin(1000 * n, 1000 * n + 520, (10.0, 1.0)) for n in range(1, 9)]
    _, out, _ = validator.run(
        *Outcome(bins=[*bins, mark(9500)], bars=[]).write(validator.folder), "--examples", "3"
    )
    assert "missing_bars: bars missing (3 of 8)" in out


def test_settings_of_the_worker_are_the_defaults(
    validator: Validator, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = Outcome(bins=[BINS[0], mark(2100)]).write(validator.folder)
    assert validator.run(*options)[0] == 1  # L = 500: the second has not closed
    (validator.folder / ".env").write_text("REPLAY_MAX_LATE_MS=100\n")
    assert validator.run(*options)[0] == 0
    assert validator.run(*options, "--max-late-ms", "500")[0] == 1
    monkeypatch.setenv("REPLAY_MAX_LATE_MS", "much")
    code, _, err = validator.run(*options)
    assert code == 2
    assert "REPLAY_MAX_LATE_MS" in err


def test_it_runs_as_a_script_from_any_folder(validator: Validator) -> None:
    options = Outcome(bins=BINS).write(validator.folder)
    command = [sys.executable, str(SCRIPT), *options]
    done = subprocess.run(command, cwd=validator.folder, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1].startswith("PASS")
