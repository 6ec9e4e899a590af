"""What the dashboard's pages keep, and what they say, when something around them fails or is odd."""

import re

import pytest
from playwright.sync_api import Page

from glue.settings import Settings
from tests.conftest import RunningStack
from tests.e2e.dashboard import Dashboard, put_minutes, symbols

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]


def choose(page: Page, symbol: str) -> None:
    page.get_by_role("combobox", name="Symbol").fill(symbol)
    page.keyboard.press("Enter")


def test_a_warehouse_that_is_away_is_told_and_asked_again(
    page: Page, dashboard: Dashboard, stack: RunningStack, warehouse: Settings
) -> None:
    known, other = next(symbols), next(symbols)
    put_minutes(warehouse, known, 5)
    page.goto(f"{dashboard.url}?symbol={known}")
    page.get_by_role("link", name="Warehouse").click()
    minutes = page.locator("section[aria-label='Minutes']")
    minutes.locator("tbody tr").nth(4).wait_for()
    page.get_by_role("button", name="Refresh").click()
    page.get_by_text(re.compile(r"asks again from \d\d:\d\d:\d\d on")).wait_for()
    stack.stack.kill("snowflake")
    alert = page.get_by_text("The warehouse has no answer")
    try:
        choose(page, other)
        alert.wait_for()
        assert page.get_by_role("combobox", name="Symbol").input_value() == other
        assert minutes.locator("tbody tr").count() == 0
        minutes.get_by_text("not known").wait_for()
    finally:
        stack.stack.up()
    page.get_by_role("button", name="Refresh").click()
    page.get_by_text("asks again from").wait_for()
    page.wait_for_timeout(10_000)
    page.get_by_role("button", name="Refresh").click()
    alert.wait_for(state="detached")
    minutes.get_by_text("no rows").wait_for()
