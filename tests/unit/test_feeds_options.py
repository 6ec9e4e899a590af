"""The command line of the mock API: what goes together, and how a mistake is explained."""

from pathlib import Path

import pytest

from glue.errors import TapelineError
from glue.feeds.options import parser
from glue.mock_api import build_feed, main
from glue.settings import Settings

DAY = "02/17/2010,09:30:01,42.87,42.7,43.01,1161\n02/17/2010,09:30:02,42.87,42.7,43.01,5\n"


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("REPLAY_SPEED", raising=False)
    Path("WDC_day.txt").write_text(DAY)
    Path("notes.md").write_text("# notes\n")


@pytest.mark.parametrize(
    ("options", "code", "text"),
    [
        ("", 2, "--file F"),
        ("--synthetic --file WDC_day.txt", 2, "choose one source"),
        ("--file absent.txt", 1, "absent.txt: No such file"),
        ("--file notes.md", 1, "no known format"),
        ("--file WDC_day.txt --format binance", 1, "looks like kibot: use --format kibot"),
        ("--file WDC_day.txt --symbol A --symbol B", 2, "--symbol once"),
        ("--file WDC_day.txt --format ndjson --symbol A", 2, "--symbol goes with kibot"),
        ("--file WDC_day.txt --duration 5", 2, "--duration goes with --synthetic"),
        ("--file WDC_day.txt --realtime --speed 0", 2, "--realtime goes with speed 1 only"),
        ("--synthetic --speed 5", 2, "--realtime goes with speed 1 only"),
        ("--synthetic --loop", 2, "--loop go with --file"),
        ("--synthetic --historical --rebase-to 5", 2, "--rebase-to goes with --realtime"),
        ("--synthetic --port 70000", 2, "MOCK_API_PORT"),
    ],
)
def test_a_mistake_names_the_option_and_the_way_out(options: str, code: int, text: str) -> None:
    with pytest.raises(TapelineError) as mistake:
        main(options.split())
    assert mistake.value.exit_code == code
    assert text in str(mistake.value)


@pytest.mark.parametrize(
    "option",
    [
        "--late-rate 2",
        "--rate 0",
        "--rate nan",
        "--speed -1",
        "--disorder-ms -5",
        "--disorder-ms 1.5",
        "--symbols 0",
        "--symbols A,A",
        "--symbols A,,B",
        "--symbol a+b",
        "--start noon",
        "--format csv",
        "--realtime --historical",
    ],
)
def test_a_value_that_cannot_work_is_refused(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refusal:
        parser().parse_args(option.split())
    assert refusal.value.code == 2
    name = [word for word in option.split() if word.startswith("--")][-1]
    assert f"argument {name}" in capsys.readouterr().err


def mode_of(*options: str) -> str:
    return build_feed(parser().parse_args(options), Settings.load()).mode


def test_files_are_historical_and_the_synthetic_market_is_live_unless_told() -> None:
    assert mode_of("--file", "WDC_day.txt") == "historical"
    assert mode_of("--file", "WDC_day.txt", "--realtime") == "live"
    assert mode_of("--synthetic") == "live"
    assert mode_of("--synthetic", "--historical") == "historical"


def test_the_start_is_new_york_time_unless_it_says_otherwise() -> None:
    def start(text: str) -> int:
        value = parser().parse_args(["--start", text]).start
        assert isinstance(value, int)
        return value

    assert parser().parse_args([]).start == 1_709_562_600_000
    assert start("2024-07-01T09:30") == start("2024-07-01T13:30Z") == start("1719840600000")


def test_one_symbol_serves_all_files_or_each_has_its_own() -> None:
    Path("b.txt").write_text(DAY)

    def symbols(*options: str) -> list[str] | None:
        arguments = parser().parse_args(["--file", "WDC_day.txt", "--file", "b.txt", *options])
        return build_feed(arguments, Settings.load()).source.symbols

    assert symbols() == ["WDC", "b"]
    assert symbols("--symbol", "X") == ["X"]
    assert symbols("--symbol", "X", "--symbol", "Y") == ["X", "Y"]


def test_the_real_time_offset_is_fixed_once_and_rebase_to_pins_it() -> None:
    def feed_id(*options: str) -> str:
        return build_feed(parser().parse_args(["--synthetic", *options]), Settings.load()).feed_id

    assert feed_id("--rebase-to", "1700000000000") == feed_id("--rebase-to", "1700000000000")
    assert feed_id("--rebase-to", "1700000000001") != feed_id("--rebase-to", "1700000000000")
    assert feed_id("--historical") == feed_id("--historical", "--speed", "9")
    assert feed_id("--historical") != feed_id("--historical", "--seed", "2")
