"""The demo fails where the connector writes none of its bars."""

import pytest

from glue.errors import TapelineError
from glue.settings import Settings
from scripts.demo import warehouse

SETTINGS = Settings(_env_file=None)


def test_bars_that_do_not_come_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warehouse, "WRITTEN_WITHIN_S", 0)
    monkeypatch.setattr(warehouse, "count_of_seconds", lambda _settings: 5)
    with pytest.raises(TapelineError, match=r"bars were made, but none is in CORE\.FACT_TICKS_1S after 0 s"):
        warehouse.await_seconds(SETTINGS, before=5)


def test_bars_that_come_late_are_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = iter([5, 5, 6])
    monkeypatch.setattr(warehouse, "POLL_S", 0)
    monkeypatch.setattr(warehouse, "count_of_seconds", lambda _settings: next(counts))
    warehouse.await_seconds(SETTINGS, before=5)
    assert list(counts) == []
