"""A served dashboard and its page in Chromium, for tests: bars in, what is seen out."""

import json
import os
import re
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

from glue.core.bars import Bar
from glue.settings import Settings
from tests.processes import DEADLINE_S, Command, until
from tests.unit.dashboard_bars import bar
from tests.warehouse import BarTopic, query

REFRESH_MS = 200
DESK = {"width": 1440, "height": 900}
NEWEST = "globalThis.tapeline?.book.value.bars.at(-1)?.start_ts_ms"
PICTURES = os.environ.get("DASHBOARD_PICTURES")
"""A folder that keeps what the pages looked like."""
symbols = (f"T{i}" for i in count(1))


@dataclass
class Dashboard:
    """A served dashboard and the topic that it shows."""

    url: str
    settings: Settings
    topic: BarTopic
    command: Command

    def bars(self, symbol: str, ages: range) -> list[Bar]:
        """Return bars that ended so many seconds ago, the oldest first."""
        now_s = int(time.time())
        made = [bar(0, symbol, open=50.0 + age, close=50.25 + age, high=51.0 + age, low=49.0) for age in ages]
        for one, age in zip(made, ages, strict=True):
            one.start_ts_ms = (now_s - age - 1) * 1000
            one.end_ts_ms = one.start_ts_ms + 1000
            one.bar_id = f"{symbol}-{one.start_ts_ms}"
            one.api_send_ts_ms, one.ingest_ts_ms = one.start_ts_ms, one.end_ts_ms + 500
        return made

    def put(self, symbol: str, ages: range) -> list[Bar]:
        """Produce such bars and wait until the dashboard has the newest."""
        made = self.bars(symbol, ages)
        self.publish(made)
        return made

    def publish(self, made: list[Bar]) -> None:
        """Produce bars of a symbol and wait until the dashboard has the newest."""
        newest = made[-1]
        self.topic.put(made)
        until(
            lambda: newest.start_ts_ms in self.cached(newest.symbol), f"bars of {newest.symbol} in the cache"
        )

    def cached(self, symbol: str) -> list[int]:
        return [b["start_ts_ms"] for b in self.get(f"api/bars/{symbol}").get("bars", [])]

    def get(self, path: str) -> dict[str, Any]:
        try:
            with urllib.request.urlopen(self.url + path, timeout=DEADLINE_S) as answer:
                return dict(json.load(answer))
        except urllib.error.HTTPError as error:
            with error:
                return dict(json.load(error))


def show(page: Page, dashboard: Dashboard, symbol: str) -> None:
    """Open the page of a symbol and wait until the server has sent what there is of it."""
    page.goto(f"{dashboard.url}?symbol={symbol}")
    page.wait_for_function(f"globalThis.tapeline?.drawing && tapeline.book.value.symbol === '{symbol}'")


def wait_for_bar(page: Page, made: Bar) -> None:
    """Wait until a bar is the newest in the store, the chart, the price and the table."""
    start = made.start_ts_ms
    page.wait_for_function(f"{NEWEST} === {start}")
    page.wait_for_function(f"globalThis.tapeline?.drawing?.candles.data().at(-1)?.time === {start // 1000}")
    page.wait_for_selector(f".last[data-start='{start}']")
    assert page.text_content(".last .price") == f"{made.close:,.2f}"
    assert page.text_content("tbody tr:first-child td:nth-child(5)") == f"{made.close:,.2f}"


def assert_usable(page: Page) -> None:
    """Check that axe finds nothing serious."""
    found = Axe().run(page).response["violations"]
    serious = [
        (v["id"], [n["html"] for n in v["nodes"]]) for v in found if v["impact"] in ("serious", "critical")
    ]
    assert serious == [], serious


def picture(page: Page, name: str) -> None:
    """Keep what the page looks like now, where pictures are wanted."""
    if PICTURES:
        page.screenshot(path=Path(PICTURES) / f"{name}.png")


def put_minutes(settings: Settings, symbol: str, count: int) -> None:
    """Write minutes from 10:00 in New York on, as glue.rollup does."""
    rows = []
    for minute in range(count):
        start = datetime(2026, 11, 24, 15, minute, tzinfo=UTC)
        ms, close = round(start.timestamp() * 1000), 50 + (minute * 7) % 5
        rows.append(
            f"('{symbol}-{ms}-60s', '{symbol}', '{start:%Y-%m-%d %H:%M:%S}', {ms}, {ms + 60_000}, "
            f"50, {close + 1}, 49, {close}, 100, 5000, {close}, 10, 30, 0)"
        )
    query(
        settings,
        "INSERT INTO CORE.FACT_TICKS_60S (BAR_ID, SYMBOL, START_TS, START_TS_MS, END_TS_MS, OPEN, HIGH, LOW, "
        f"CLOSE, VOLUME, NOTIONAL, VWAP, TRADE_COUNT, BAR_COUNT, MAX_LATENESS_MS) VALUES {', '.join(rows)}",
    )


@contextmanager
def tabs(browser: Browser, count: int) -> Iterator[list[Page]]:
    """Open tabs that must not complain on their console, nor ask another host for anything."""
    context = browser.new_context(viewport=DESK, color_scheme="dark")
    context.set_default_timeout(DEADLINE_S * 1000)
    problems: list[str] = []
    hosts: set[str] = set()
    context.on("console", lambda m: problems.append(m.text) if m.type in ("error", "warning") else None)
    context.on("weberror", lambda error: problems.append(str(error.error)))
    context.on("request", lambda r: hosts.add(re.sub(r"^(\w+:/*[^/:]*).*", r"\1", r.url)))
    try:
        yield [context.new_page() for _ in range(count)]
    finally:
        context.close()
    assert problems == [], problems
    assert hosts <= {"http://127.0.0.1", "blob:http://127.0.0.1", "data:image", "blob:http"}, hosts
