"""The settings: every name documented, every wrong value refused with its name."""

import re
from pathlib import Path

import pytest

from glue.errors import SettingsError
from glue.settings import Settings, shown

URLS = ("MOCK_API_URL", "SCHEMA_REGISTRY_URL", "KSQLDB_URL", "CONNECT_URL", "SNOW_ACCOUNT", "STACK_MAVEN_URL")
WRONG_PORTS = (
    "http://host:abc",
    "https://u:p@host:99999/x",
    "http://[::1]:0",
    "http://host:-1",
    "http://u:p4ss/x@h",
)
PORT = "expected a port from 1 to 65535 after the host"
EXAMPLE = Path(__file__).parents[2] / ".env.example"


@pytest.fixture(autouse=True)
def _no_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


def test_env_example_lists_every_setting_with_its_default() -> None:
    listed = dict(re.findall(r"^# ?([A-Z0-9_]+)=(.*)$", EXAMPLE.read_text(), re.MULTILINE))
    expected = {}
    for name, field in Settings.model_fields.items():
        default = field.default
        if hasattr(default, "get_secret_value"):
            default = default.get_secret_value()
        if isinstance(default, bool):
            default = str(default).lower()
        expected[name.upper()] = "" if default is None else str(default)
    assert listed == expected


def test_the_environment_wins_over_the_env_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("REPLAY_BIN_MS=20\nKAFKA_BROKERS=from-file:1\n")
    monkeypatch.setenv("REPLAY_BIN_MS", "50")
    settings = Settings.load()
    assert (settings.replay_bin_ms, settings.kafka_brokers) == (50, "from-file:1")


def test_the_env_file_wins_over_the_running_stack(tmp_path: Path) -> None:
    (tmp_path / ".tapeline").mkdir()
    (tmp_path / ".tapeline" / "stack.env").write_text(
        "KAFKA_BROKERS=stack:1\nSCHEMA_REGISTRY_URL=http://stack:2\n"
    )
    (tmp_path / ".env").write_text("KAFKA_BROKERS=mine:1\n")
    settings = Settings.load()
    assert (settings.kafka_brokers, settings.schema_registry_url) == ("mine:1", "http://stack:2")


def test_the_command_line_wins_over_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOCK_API_URL", "http://env/ticks")
    assert Settings.load(mock_api_url="http://option/ticks").mock_api_url == "http://option/ticks"
    assert Settings.load(mock_api_url=None).mock_api_url == "http://env/ticks"


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("REPLAY_BIN_MS", "ten", "REPLAY_BIN_MS"),
        ("REPLAY_BIN_MS", "5", "REPLAY_BIN_MS"),
        ("REPLAY_BIN_MS", "30", "REPLAY_BIN_MS must divide 1000"),
        ("REPLAY_MAX_LATE_MS", "505", "must divide 1000 and REPLAY_MAX_LATE_MS"),
        ("REPLAY_SYMBOL_SKEW_MS", "600", "REPLAY_SYMBOL_SKEW_MS must be at most REPLAY_MAX_LATE_MS"),
        ("REPLAY_SPEED", "nan", "REPLAY_SPEED"),
        ("LOG_LEVEL", "loud", "LOG_LEVEL"),
        ("MOCK_API_URL", "nonsense", "MOCK_API_URL: expected a URL"),
        ("DASHBOARD_HOST", " ", "DASHBOARD_HOST: expected an address to listen on"),
        *((name, url, f"^{name}: {PORT}$") for name in URLS for url in WRONG_PORTS),
        ("SNOW_ACCOUNT", "abc:443", "SNOW_ACCOUNT: expected an account identifier or a URL"),
    ],
)
def test_a_wrong_value_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, says: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=says):
        Settings.load()


def test_an_empty_option_is_not_every_address() -> None:
    for name in ("mock_api_host", "metrics_host", "dashboard_host"):
        with pytest.raises(SettingsError, match=name.upper()):
            Settings.load(**{name: ""})


def test_files_of_settings_are_not_committed() -> None:
    ignored = (EXAMPLE.parent / ".gitignore").read_text().splitlines()
    assert {".env", ".env.*", "!.env.example"} <= set(ignored)


def test_a_secret_is_in_no_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_PROPERTIES", "sasl.password=hunter2")
    assert "hunter2" not in repr(Settings.load())


def test_a_url_is_shown_without_its_password() -> None:
    assert shown("http://bob:s3cret@registry:8081/apis/v7") == "http://registry:8081/apis/v7"
    assert shown("http://registry:8081") == "http://registry:8081"
