"""The dashboard in a real Chromium, on the real broker: what a trader sees and does."""

import re
import signal
import urllib.error
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from glue.core.bars import Bar
from glue.settings import Settings
from glue.stack.ports import choose
from tests.conftest import RunningStack
from tests.e2e.dashboard import (
    DESK,
    NEWEST,
    REFRESH_MS,
    Dashboard,
    assert_usable,
    picture,
    put_minutes,
    show,
    symbols,
    tabs,
    wait_for_bar,
)
from tests.processes import DEADLINE_S, Command, env_of, running, until
from tests.warehouse import BarTopic

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]
TABS = 20
MOST_BARS_OF_A_PAGE = 1200
"""TRIM_AT of webapp/assets/store.js."""


def test_a_produced_bar_is_painted(page: Page, dashboard: Dashboard) -> None:
    symbol = next(symbols)
    made = dashboard.put(symbol, range(30, 10, -1))
    show(page, dashboard, symbol)
    wait_for_bar(page, made[-1])
    chart = page.locator(".canvas")
    before = chart.screenshot()
    (newest,) = dashboard.put(symbol, range(5, 4, -1))
    wait_for_bar(page, newest)
    assert chart.screenshot() != before
    page.wait_for_function("tapeline.paints.length > 0")
    assert page.locator(".fields").text_content().count(newest.bar_id) == 1


def test_a_bar_that_comes_late_takes_its_place(page: Page, dashboard: Dashboard) -> None:
    symbol = next(symbols)
    made = dashboard.bars(symbol, range(30, 20, -1))
    dashboard.topic.put([b for b in made if b is not made[5]])
    show(page, dashboard, symbol)
    wait_for_bar(page, made[-1])
    dashboard.topic.put([made[5]])
    page.wait_for_function(
        "times => tapeline.drawing.candles.data().map(c => c.time).join() === times.join()",
        arg=[b.start_ts_ms // 1000 for b in made],
    )


def test_switched_off_nothing_moves_and_on_again_nothing_is_missing(page: Page, dashboard: Dashboard) -> None:
    symbol = next(symbols)
    made = dashboard.put(symbol, range(30, 20, -1))
    show(page, dashboard, symbol)
    wait_for_bar(page, made[-1])
    switch = page.get_by_role("switch", name="Auto-refresh")
    switch.click()
    page.wait_for_selector("[role=switch][aria-checked=false]")
    page.wait_for_selector("text=PAUSED")
    before = page.locator("body").inner_text()
    made += dashboard.put(symbol, range(15, 5, -1))
    page.wait_for_timeout(REFRESH_MS * 5)
    assert page.locator("body").inner_text() == before
    show(page, dashboard, symbol)
    wait_for_bar(page, made[-1])
    later = dashboard.put(symbol, range(4, 2, -1))
    page.wait_for_timeout(REFRESH_MS * 5)
    assert page.evaluate(NEWEST) == made[-1].start_ts_ms
    switch.click()
    made += later
    wait_for_bar(page, made[-1])
    assert page.evaluate("tapeline.drawing.candles.data().length") == len(made)


def test_another_symbol_is_found_by_the_keyboard(page: Page, dashboard: Dashboard) -> None:
    first, second = next(symbols), f"{next(symbols)}.Other/X"
    made = {symbol: dashboard.put(symbol, range(20, 10, -1)) for symbol in (first, second)}
    show(page, dashboard, first)
    wait_for_bar(page, made[first][-1])
    box = page.get_by_role("combobox", name="Symbol")
    box.click()
    page.wait_for_selector(f"[role=option]:has-text('{second}')")
    box.fill("other/")
    page.keyboard.press("Enter")
    wait_for_bar(page, made[second][-1])
    assert box.input_value() == second
    (newest,) = dashboard.put(second, range(3, 2, -1))
    wait_for_bar(page, newest)


def test_a_panned_chart_stays_where_it_is_until_the_viewer_goes_back(
    page: Page, dashboard: Dashboard
) -> None:
    symbol = next(symbols)
    made = dashboard.put(symbol, range(200, 20, -1))
    show(page, dashboard, symbol)
    wait_for_bar(page, made[-1])
    place = page.locator(".canvas").bounding_box()
    assert place is not None
    x, y = place["x"] + 200, place["y"] + 120
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 400, y, steps=5)
    page.mouse.up()
    page.mouse.move(x, place["y"] + place["height"] + 80)
    back = page.get_by_role("button", name="Back to newest")
    back.wait_for()
    seen = "JSON.stringify(tapeline.drawing.chart.timeScale().getVisibleRange())"
    held = page.evaluate(seen)
    (newest,) = dashboard.put(symbol, range(5, 4, -1))
    wait_for_bar(page, newest)
    assert page.evaluate(seen) == held
    back.click()
    page.wait_for_function("tapeline.drawing.isAtEnd()")
    back.wait_for(state="detached")


def test_the_chart_is_moved_by_the_keyboard(page: Page, dashboard: Dashboard) -> None:
    symbol = next(symbols)
    made = dashboard.put(symbol, range(200, 20, -1))
    show(page, dashboard, symbol)
    wait_for_bar(page, made[-1])
    width = "(seen => seen.to - seen.from)(tapeline.drawing.chart.timeScale().getVisibleLogicalRange())"
    page.wait_for_function(f"{width} > {len(made)}")  # a view that was set is there from the next frame on
    before = page.evaluate(width)
    page.locator(".chart").focus()
    page.keyboard.press("+")
    page.wait_for_function(f"{width} < {before}")
    page.keyboard.press("ArrowLeft")
    page.wait_for_function("!tapeline.drawing.isAtEnd()")
    page.keyboard.press("End")
    page.wait_for_function("tapeline.drawing.isAtEnd()")


def test_a_history_longer_than_what_is_kept_says_so(page: Page, dashboard: Dashboard) -> None:
    symbol = next(symbols)
    made = dashboard.put(symbol, range(630, 20, -1))
    show(page, dashboard, symbol)
    wait_for_bar(page, made[-1])
    note = page.get_by_text(re.compile("the newest 600 bars are kept: from"))
    assert note.count() == 0
    page.get_by_role("button", name="15 min", exact=True).click()
    note.wait_for()
    assert page.evaluate("tapeline.book.value.bars.length") == 600


def test_twenty_tabs_at_once_all_get_the_newest_bar(browser: Browser, dashboard: Dashboard) -> None:
    symbol = next(symbols)
    made = dashboard.put(symbol, range(20, 10, -1))
    with tabs(browser, TABS) as pages:
        # One by one: Chromium opens one socket of a host at a time, and a page waits 20 s for its own.
        for page in pages:
            show(page, dashboard, symbol)
            wait_for_bar(page, made[-1])
        (newest,) = dashboard.put(symbol, range(5, 4, -1))
        for page in pages:
            wait_for_bar(page, newest)


@pytest.mark.parametrize("market_s", [300, pytest.param(3600, marks=pytest.mark.full)])
def test_a_tab_does_not_grow_with_the_day(
    page: Page, dashboard: Dashboard, market_s: int, record_property: Callable[[str, object], None]
) -> None:
    symbol = next(symbols)
    filled = MOST_BARS_OF_A_PAGE + 60
    made = dashboard.bars(symbol, range(filled + market_s, 0, -1))
    session = page.context.new_cdp_session(page)

    def minutes(bars: list[Bar], pace_ms: int) -> None:
        for i in range(0, len(bars), 60):
            dashboard.topic.put(bars[i : i + 60])
            page.wait_for_timeout(pace_ms)
        wait_for_bar(page, bars[-1])

    def heap_mb() -> float:
        session.send("HeapProfiler.collectGarbage")
        return float(session.send("Runtime.getHeapUsage")["usedSize"]) / 1e6

    dashboard.topic.put(made[:60])
    show(page, dashboard, symbol)
    page.get_by_role("button", name="15 min", exact=True).click()
    minutes(made[60:filled], REFRESH_MS)
    before_mb = heap_mb()
    minutes(made[filled:], 1_000)
    after_mb = heap_mb()
    record_property("heap_mb", {"before": before_mb, "after": after_mb})
    assert page.evaluate("tapeline.drawing.candles.data().length") <= MOST_BARS_OF_A_PAGE
    assert after_mb < before_mb * 1.25


def test_the_bars_can_be_taken_away_as_csv(page: Page, dashboard: Dashboard) -> None:
    symbol = next(symbols)
    made = dashboard.put(symbol, range(20, 10, -1))
    show(page, dashboard, symbol)
    wait_for_bar(page, made[-1])
    with page.expect_download() as download:
        page.get_by_role("button", name="CSV").click()
    header, *lines = Path(download.value.path()).read_text().splitlines()
    assert header.startswith("bar_id,symbol,end_ts_ms,start_ts_ms,open,")
    assert [line.split(",")[0] for line in lines] == [b.bar_id for b in made]


def test_the_table_is_sorted_by_its_heads(page: Page, dashboard: Dashboard) -> None:
    symbol = next(symbols)
    made = dashboard.put(symbol, range(20, 10, -1))
    show(page, dashboard, symbol)
    wait_for_bar(page, made[-1])
    page.get_by_role("button", name="close", exact=True).click()
    page.wait_for_selector("th[aria-sort=descending]:has-text('close')")
    assert page.text_content("tbody tr:first-child td:nth-child(5)") == f"{max(b.close for b in made):,.2f}"


@pytest.mark.parametrize("theme", ["dark", "light"])
@pytest.mark.parametrize("size", [(1440, 900), (390, 844)], ids=["desk", "phone"])
def test_everybody_can_use_the_page(
    page: Page, dashboard: Dashboard, theme: str, size: tuple[int, int]
) -> None:
    symbol = next(symbols)
    made = dashboard.put(symbol, range(20, 10, -1))
    page.set_viewport_size({"width": size[0], "height": size[1]})
    page.emulate_media(color_scheme=theme)
    show(page, dashboard, symbol)
    wait_for_bar(page, made[-1])
    assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
    assert_usable(page)


def test_the_watchlist_shows_what_was_put_on_it_also_after_a_reload(page: Page, dashboard: Dashboard) -> None:
    first, second = next(symbols), next(symbols)
    for symbol in (first, second):
        dashboard.put(symbol, range(20, 10, -1))
    page.add_init_script("localStorage['tapeline-watch'] ??= '-'")
    show(page, dashboard, first)
    page.get_by_role("button", name=f"+ Watch {first}").click()
    entry = page.locator(".quotes li", has_text=first)
    entry.wait_for()
    (newest,) = dashboard.put(first, range(5, 4, -1))
    entry.get_by_text(f"{newest.close:.2f}").wait_for()
    assert len(entry.locator("polyline").get_attribute("points").split()) == 11
    show(page, dashboard, second)
    page.locator(".quotes li", has_text=first).get_by_role("button").first.click()
    page.wait_for_function(f"tapeline.book.value.symbol === '{first}'")
    page.get_by_role("button", name=f"Take {first} off the watchlist").click()
    entry.wait_for(state="detached")


def test_the_pipeline_page_shows_parts_levels_and_lag(page: Page, dashboard: Dashboard) -> None:
    dashboard.put(next(symbols), range(20, 10, -1))
    page.goto(f"{dashboard.url}pipeline")
    page.get_by_text("engine (bins lead to bars)").wait_for()
    lag = page.locator("section[aria-label='Lag'] tbody tr")
    of_engine = lag.filter(has_text=dashboard.settings.agg_group)
    until(lambda: of_engine.count() == dashboard.settings.kafka_partitions, "the lag of each partition")
    assert lag.filter(has_text="this dashboard").count() == 1
    page.get_by_text("bar end → dashboard").wait_for()
    assert_usable(page)
    parts = page.locator("section[aria-label='Parts']")
    parts.get_by_role("row", name=re.compile("^kafka answers")).wait_for()  # of another folder
    page.set_viewport_size({"width": 390, "height": 844})
    cut = "[...document.querySelectorAll('.cards .scroll')].some(s => s.scrollHeight > s.clientHeight)"
    page.wait_for_function(f"!{cut}")
    page.set_viewport_size(DESK)
    page.get_by_role("switch", name="Auto-refresh").click()
    page.wait_for_selector("text=PAUSED")
    page.get_by_role("switch", name="Auto-refresh").click()
    page.wait_for_selector(".pill:not(:has-text('PAUSED'))")


def test_the_warehouse_page_shows_facts_or_says_why_not(
    page: Page, dashboard: Dashboard, warehouse: Settings
) -> None:
    symbol = next(symbols)
    dashboard.put(symbol, range(20, 10, -1))
    show(page, dashboard, symbol)
    page.get_by_role("link", name="Warehouse").click()
    page.wait_for_selector("text=as of")
    minutes = page.locator("section[aria-label='Minutes']")
    assert minutes.inner_text().count("no rows") == 1
    assert page.get_by_role("combobox", name="Symbol").input_value() == symbol
    assert_usable(page)
    page.get_by_role("link", name="Live").click()
    page.wait_for_function(f"globalThis.tapeline?.drawing && tapeline.book.value.symbol === '{symbol}'")


def test_the_warehouse_page_draws_facts_in_the_zone_that_is_chosen(
    page: Page, dashboard: Dashboard, warehouse: Settings
) -> None:
    symbol = next(symbols)
    dashboard.put(symbol, range(20, 10, -1))
    put_minutes(warehouse, symbol, 30)
    show(page, dashboard, symbol)
    page.get_by_role("link", name="Warehouse").click()
    minutes = page.locator("section[aria-label='Minutes']")
    minutes.locator("tbody tr").nth(29).wait_for()
    minutes.get_by_role("group", name="Minutes: candles with VWAP").locator("canvas").first.wait_for()
    bands = page.locator("section[aria-label='Volatility bands']")
    bands.locator("canvas").first.wait_for()
    newest = minutes.locator("tbody tr:first-child td:first-child")
    assert newest.inner_text() == "24 Nov 2026 10:29"
    zone = page.get_by_role("combobox", name="Time zone")
    asked = page.locator(".toolbar .count", has_text="as of")
    page.clock.set_fixed_time(datetime.now(UTC) + timedelta(days=2))
    zone.select_option("utc")
    assert newest.inner_text() == "24 Nov 2026 15:29"
    dated = re.fullmatch(r"as of (\d\d \w{3})\w* (\d{4} \d\d:\d\d:\d\d)", asked.inner_text())
    assert dated is not None
    page.clock.set_fixed_time(
        datetime.strptime(" ".join(dated.groups()), "%d %b %Y %H:%M:%S").replace(tzinfo=UTC)
    )
    zone.select_option("exchange")
    assert re.fullmatch(r"as of \d\d:\d\d:\d\d", asked.inner_text())
    assert_usable(page)


def test_a_page_on_which_nothing_moves_says_why(
    browser: Browser, stack: RunningStack, built: None, tmp_path: Path
) -> None:
    hour = (datetime.now(UTC).hour + 2) % 24
    session = {"dashboard_exchange_zone": "UTC", "dashboard_session": f"{hour:02d}:00-{hour:02d}:01"}
    settings = stack.settings(dashboard_port=0, **session)
    with (
        running("-m", "webapp", cwd=tmp_path, env=env_of(settings)) as command,
        tabs(browser, 1) as (page,),
    ):
        served = Dashboard(command.wait_for("serving ").split()[-1], settings, BarTopic(settings), command)
        page.goto(served.url)
        page.wait_for_selector("text=Waiting for data")
        picture(page, "state_waiting")
        for symbol in ("WDC", "BTCUSDT"):
            served.put(symbol, range(60, 20, -1))
        show(page, served, "WDC")
        page.wait_for_selector("text=Market closed")
        page.get_by_text(re.compile(r"It opens on \w+ \d+ \w+ at \d\d:00 UTC time")).wait_for()
        picture(page, "state_closed")
        show(page, served, "BTCUSDT")
        page.wait_for_selector("text=No new bars")
        assert_usable(page)
        picture(page, "state_stale")


def test_kafka_may_die_and_come_back(page: Page, dashboard: Dashboard, stack: RunningStack) -> None:
    symbol = next(symbols)
    made = dashboard.put(symbol, range(20, 10, -1))
    show(page, dashboard, symbol)
    wait_for_bar(page, made[-1])
    stack.stack.kill("kafka", signal.SIGKILL)
    try:
        page.wait_for_selector(".pill:has-text('KAFKA DOWN')")
        page.wait_for_selector("text=Kafka does not answer")
        assert page.evaluate(NEWEST) == made[-1].start_ts_ms
        picture(page, "state_kafka_down")
    finally:
        stack.stack.up()
    (newest,) = dashboard.put(symbol, range(5, 4, -1))
    wait_for_bar(page, newest)
    page.wait_for_selector(".pill:not(:has-text('KAFKA DOWN'))")


def test_a_login_is_asked_for_and_opens_the_live_page(
    browser: Browser, stack: RunningStack, built: None, tmp_path: Path
) -> None:
    settings = stack.settings(dashboard_port=0)
    env = env_of(settings) | {"DASHBOARD_USER": "ann", "DASHBOARD_PASSWORD": "s3cret:ü"}
    with running("-m", "webapp", cwd=tmp_path, env=env) as command:
        url = command.wait_for("serving ").split()[-1]
        served = Dashboard(url, settings, BarTopic(settings), command)
        with pytest.raises(urllib.error.HTTPError, match="401") as refused:
            urllib.request.urlopen(url, timeout=10)
        refused.value.close()
        assert served.get("api/health")["condition"] in ("starting", "waiting")
        context = browser.new_context(http_credentials={"username": "ann", "password": "s3cret:ü"})
        context.set_default_timeout(DEADLINE_S * 1000)
        page = context.new_page()
        (newest,) = served.bars("IN", range(5, 4, -1))
        served.topic.put([newest])
        show(page, served, "IN")
        wait_for_bar(page, newest)
        context.close()
    assert "Traceback" not in command.output


def test_a_tab_outlives_its_server(
    browser: Browser, stack: RunningStack, built: None, tmp_path: Path
) -> None:
    # Not one of the ports that systems give away: it is to be free again when the server comes back.
    settings = stack.settings(dashboard_port=choose([], []))
    context = browser.new_context()
    context.set_default_timeout(DEADLINE_S * 1000)
    page = context.new_page()
    with running("-m", "webapp", cwd=tmp_path, env=env_of(settings)) as command:
        url = command.wait_for("serving ").split()[-1]
        served = Dashboard(url, settings, BarTopic(settings), command)
        made = served.put("WDC", range(20, 10, -1))
        show(page, served, "WDC")
        for minutes in (1, 2, 5, 15):
            page.get_by_role("button", name=f"{minutes} min", exact=True).click()
            page.wait_for_selector(f".seg.here:text-is('{minutes} min')")
        wait_for_bar(page, made[-1])
    page.wait_for_selector("text=The dashboard does not answer")
    assert page.locator(".pill").inner_text() == "NO CONNECTION"
    colours = "name => [...document.querySelectorAll(`.badge .${name}`)].map(e => getComputedStyle(e).color)"
    assert set(page.evaluate(colours, "value")) == set(page.evaluate(colours, "label"))
    picture(page, "state_dashboard_down")
    with running("-m", "webapp", cwd=tmp_path, env=env_of(settings)) as command:
        command.wait_for("serving ")
        made = served.put("WDC", range(5, 3, -1))
        wait_for_bar(page, made[-1])
        page.wait_for_selector("text=The dashboard does not answer", state="detached")
        page.wait_for_selector(".seg.here:text-is('15 min')")
    context.close()


def test_a_port_that_is_taken_is_named(dashboard: Dashboard, built: None, tmp_path: Path) -> None:
    port = dashboard.url.rsplit(":", 1)[1].strip("/")
    command = Command("-m", "webapp", "--port", port, cwd=tmp_path, env=env_of(dashboard.settings))
    assert command.wait() == 2
    assert f"DASHBOARD_PORT={port}" in command.output
    assert "Traceback" not in command.output


def test_an_open_dashboard_warns(dashboard: Dashboard, tmp_path: Path) -> None:
    env = env_of(dashboard.settings)
    with running("-m", "webapp", "--host", "0.0.0.0", "--port", "0", cwd=tmp_path, env=env) as command:  # noqa: S104
        command.wait_for("set DASHBOARD_USER and DASHBOARD_PASSWORD")
        command.wait_for("serving ")
        assert command.stop() == 0
