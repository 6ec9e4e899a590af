"""The dashboard: memory of its cache, and what it costs server and browser at live pace."""

import json
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil
from playwright.sync_api import Browser, CDPSession, Page, sync_playwright

from bench.report import Measure, Row, limited
from bench.rounds import Say, percentile
from bench.stage import Child, Stage
from webapp.build import build, is_current

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking")
MOST_MB, MOST_PAINT_MS, MOST_BYTES, MOST_CPU, SESSIONS = 1_000.0, 300.0, 1_000.0, 5.0, 20
MOST_GROWTH = 1.5
MOST_START_S = 3.0
SYMBOL = "AAPL"


def rows(stage: Stage, say: Say, *, is_quick: bool) -> list[Row]:
    """Measure all; without Chromium only the cache and the start."""
    if not is_current():
        build(say)
    found = [
        _memory_row(stage, say, 500 if is_quick else 10_000),
        _start_row(stage, say, 1 if is_quick else 5),
    ]
    if not CHROMIUM.exists():
        say(f"there is no {CHROMIUM}: the other rows of the page are left out")
        return found
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=list(FLAGS))
        try:
            found += _live_rows(stage, browser, say, 6.0 if is_quick else 40.0)
            found.append(_heap_row(stage, browser, say, 600 if is_quick else 3_600))
        finally:
            browser.close()
    return found


def _memory_row(stage: Stage, say: Say, symbols: int) -> Row:
    say(f"filling a cache with 600 bars of {symbols:,} symbols")
    command = [sys.executable, "-m", "bench.cache_memory", str(symbols), "600"]
    with stage.child("bench.cache_memory", command) as child:
        child.wait_to_end(600)
        told = json.loads(child.lines()[-1])
    return limited(
        f"memory of the dashboard's cache, {symbols:,} symbols x 600 bars",
        told["mb"],
        "MB",
        MOST_MB,
        note="resident memory of a process that filled `BarCache` second by second for 900 s of bars, which "
        f"took {told['per_s']:,.0f} bars/s",
    )


def _start_row(stage: Stage, say: Say, turns: int) -> Row:
    say(f"starting the dashboard {turns + 1} times")
    took_s = []
    for _ in range(turns + 1):
        settings = stage.settings(dashboard_port=0)
        began = time.monotonic()
        with stage.running("webapp", settings=settings) as server:
            address = _address(server)
            for path in ("api/health", ""):
                with urllib.request.urlopen(address + path, timeout=10) as answer:  # noqa: S310
                    answer.read()
            took_s.append(time.monotonic() - began)
    return limited(
        "start of the dashboard without a build, slowest",
        max(took_s[1:]),
        "s",
        MOST_START_S,
        note=f"process started to /api/health and the page answered, slowest of {turns} after a first one",
    )


def _live_rows(stage: Stage, browser: Browser, say: Say, for_s: float) -> list[Row]:
    settings = stage.settings(dashboard_port=0)
    with (
        stage.feed("--synthetic") as url,
        stage.running("glue.aggregate", settings=settings) as engine,
        stage.running("glue.replay", "--url", url, settings=settings),
        stage.running("webapp", settings=settings) as server,
    ):
        engine.wait_for('"assigned"')
        address = _address(server)
        with _opened(browser, address) as page:
            received: list[int] = []
            page.on("websocket", lambda s: s.on("framereceived", lambda frame: received.append(len(frame))))
            page.reload()
            page.wait_for_function("globalThis.tapeline?.paints.length > 5")
            say(f"one page for {for_s:.0f} s")
            received.clear()
            page.evaluate("tapeline.paints.length = 0")
            page.wait_for_timeout(for_s * 1000)
            per_s = sum(received) / for_s
            paints = [float(ms) for ms in page.evaluate("tapeline.paints.map(p => p.paint_ms)")]
        say(f"{SESSIONS} pages for {for_s:.0f} s")
        process = psutil.Process(server.pid)
        with ExitStack() as pages:
            for _ in range(SESSIONS):
                pages.enter_context(_opened(browser, address))
            before, began = sum(process.cpu_times()[:2]), time.monotonic()
            last = pages.enter_context(_opened(browser, address))
            last.wait_for_timeout(for_s * 1000)
            cpu = 100 * (sum(process.cpu_times()[:2]) - before) / (time.monotonic() - began)
        before, began = sum(process.cpu_times()[:2]), time.monotonic()
        time.sleep(for_s / 2)
        idle = 100 * (sum(process.cpu_times()[:2]) - before) / (time.monotonic() - began)
    p95 = percentile(paints, 95)
    return [
        limited(
            "bar appended to painted, one page, p95",
            p95,
            "ms",
            MOST_PAINT_MS,
            note=f"{len(paints)} bars of one symbol, median {percentile(paints, 50):.0f} ms: the browser's "
            "clock two frames after the bar was taken in, minus the broker's append time; headless Chromium "
            "without a graphics card",
        ),
        limited(
            "bytes to one page",
            per_s,
            "B/s",
            MOST_BYTES,
            note="frames of the websocket, uncompressed, six symbols on the watchlist; same run",
        ),
        Row(
            what=f"CPU of the server, {SESSIONS} pages",
            measured=Measure(cpu - idle, "% of a core"),
            beside_what="no page",
            beside=Measure(idle, "% of a core"),
            ratio=cpu / max(idle, 0.1),
            goal=f"below {MOST_CPU:g} % for the pages",
            is_met=cpu - idle < MOST_CPU,
            note=f"user and system time of the process with {SESSIONS} pages open, less that with none, "
            "which is the reading of Kafka",
        ),
    ]


def _heap_row(stage: Stage, browser: Browser, say: Say, market_s: int) -> Row:
    settings = stage.settings(dashboard_port=0)
    say(f"{market_s} s of bars at 60 times the pace")
    options = ("--synthetic", "--historical", "--duration", str(market_s), "--speed", "60")
    with (
        stage.feed(*options) as url,
        stage.running("glue.aggregate", settings=settings),
        stage.running("webapp", settings=settings) as server,
        _opened(browser, _address(server)) as page,
    ):
        session = page.context.new_cdp_session(page)
        with stage.running("glue.replay", "--url", url, settings=settings) as worker:
            page.wait_for_function("globalThis.tapeline?.book.value.bars.length > 100", timeout=120_000)
            before = _heap_mb(session)
            worker.wait_to_end(market_s / 60 + 120)
        page.wait_for_timeout(2_000)
        bars = int(page.evaluate("tapeline.book.value.bars.length"))
        after = _heap_mb(session)
    return Row(
        what=f"heap of a page after {market_s} s of bars",
        measured=Measure(after, "MB"),
        beside_what="after 100 bars",
        beside=Measure(before, "MB"),
        ratio=after / before,
        goal=f"at most {MOST_GROWTH:g}x",
        is_met=after / before <= MOST_GROWTH,
        note=f"used JavaScript heap after a collection; the page holds {bars:,} bars at the end",
    )


def _heap_mb(session: CDPSession) -> float:
    session.send("HeapProfiler.collectGarbage")
    return float(session.send("Runtime.getHeapUsage")["usedSize"]) / 1e6


@contextmanager
def _opened(browser: Browser, address: str) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    try:
        page.goto(f"{address}?symbol={SYMBOL}")
        page.wait_for_function("globalThis.tapeline?.drawing", timeout=120_000)
        yield page
    finally:
        context.close()


def _address(server: Child) -> str:
    return server.wait_for("serving ").split()[-1]
