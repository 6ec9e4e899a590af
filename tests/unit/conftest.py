"""What unit tests go by is the defaults, also where the contract suite is given a ksqlDB server."""

import pytest


@pytest.fixture(autouse=True)
def _no_ksqldb(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KSQLDB_URL", raising=False)
