"""What the dashboard answers to programs."""

import msgspec
import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from glue.io.bar_feed import Batch, FeedBar
from glue.settings import Settings
from tests.unit.dashboard_bars import T0, bar
from webapp.api import routes
from webapp.hub import Hub


@pytest.fixture
def client():
    hub = Hub(Settings(_env_file=None), clock=lambda: T0 + 2000)
    hub.take(Batch([FeedBar(bar(i), T0, None, False) for i in range(2)], []))
    return TestClient(Starlette(routes=routes(hub)))


@pytest.mark.parametrize(("limit", "count"), [("0", 0), ("1", 1), ("9" * 18, 2)])
def test_the_newest_bars_are_given(client, limit, count):
    answer = client.get(f"/api/bars/WDC?limit={limit}")
    assert len(msgspec.json.decode(answer.content)["bars"]) == count


@pytest.mark.parametrize("number", ["", "-1", "1.5", "ten", "٣", "9" * 5000])
def test_what_is_no_number_is_told_in_a_few_words(client, number):
    answer = client.get(f"/api/bars/WDC?limit={number}")
    assert answer.status_code == 400
    (error,) = msgspec.json.decode(answer.content).values()
    assert error == f"limit: expected a whole number of 18 digits at most, not {number[:40]!r}"
