"""What the dashboard's pages keep, and what they say, when something around them fails or is odd."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from glue.settings import Settings
from tests.conftest import RunningStack
from tests.e2e.dashboard import REFRESH_MS, Dashboard, put_minutes, show, symbols, tabs, wait_for_bar
from tests.processes import until

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]
KEEP_SOCKETS = """
    globalThis.sockets = [];
    globalThis.WebSocket = class extends WebSocket {
        constructor(...args) { super(...args); sockets.push(this); }
    };
"""
HIDE = """
    const draw = requestAnimationFrame.bind(globalThis), waiting = [];
    globalThis.requestAnimationFrame = (frame) => (globalThis.isHidden ? waiting.push(frame) : draw(frame));
    globalThis.showAgain = () => {
        isHidden = false;
        waiting.splice(0).forEach((frame) => draw(frame));
        return new Promise((done) => draw(() => draw(done)));
    };
"""
"""Lets a page be without frames, as a tab is that is not looked at."""
SYMBOL = "tapeline.book.value.symbol"
VIEW = "tapeline.book.value.view"
COUNT = "tapeline.book.value.bars.length"
SEEN = "JSON.stringify(tapeline.drawing.chart.timeScale().getVisibleRange())"


def cut(page: Page) -> None:
    """Break the live connection of a page that keeps its sockets, and wait until there is another one."""
    page.evaluate("sockets.at(-1).close()")
    page.wait_for_function("sockets.length > 1 && sockets.at(-1).readyState === WebSocket.OPEN")


def pan(page: Page) -> str:
    """Zoom in and go back in time; return what is seen then."""
    page.locator(".chart").focus()
    for key in ("+", "+", "ArrowLeft"):
        page.keyboard.press(key)
    page.wait_for_function("!tapeline.drawing.isAtEnd()")
    return str(page.evaluate(SEEN))


def choose(page: Page, symbol: str) -> None:
    page.get_by_role("combobox", name="Symbol").fill(symbol)
    page.keyboard.press("Enter")


def test_a_warehouse_that_is_away_is_told_and_asked_again(
    page: Page, dashboard: Dashboard, stack: RunningStack, warehouse: Settings
) -> None:
    known, other = next(symbols), next(symbols)
    put_minutes(warehouse, known, 5)
    show(page, dashboard, known)
    page.get_by_role("link", name="Warehouse").click()
    minutes = page.locator("section[aria-label='Minutes']")
    minutes.locator("tbody tr").nth(4).wait_for()
    refresh = page.get_by_role("button", name="Refresh")
    refresh.click()
    page.get_by_text(re.compile(r"asks again from \d\d:\d\d:\d\d on")).wait_for()
    stack.stack.kill("snowflake")
    alert, asks_later = page.get_by_text("The warehouse has no answer"), page.get_by_text("asks again from")
    try:
        choose(page, other)
        alert.wait_for()
        assert page.get_by_role("combobox", name="Symbol").input_value() == other
        assert minutes.locator("tbody tr").count() == 0
        minutes.get_by_text("not known").wait_for()
        # A click that comes ten seconds after the answer, as on a slow machine, asks; the next one does not.
        until(lambda: refresh.click() or asks_later.is_visible(), "a refresh that is put off")
    finally:
        stack.stack.up()
    page.wait_for_timeout(10_000)
    refresh.click()
    alert.wait_for(state="detached")
    minutes.get_by_text("no rows").wait_for()


def test_a_broken_connection_changes_neither_symbol_nor_view(page: Page, dashboard: Dashboard) -> None:
    first, second = next(symbols), f"{next(symbols)}.Other/X"
    made = {symbol: dashboard.put(symbol, range(200, 20, -1)) for symbol in (first, second)}
    page.add_init_script(KEEP_SOCKETS)
    show(page, dashboard, first)
    wait_for_bar(page, made[first][-1])
    choose(page, second)
    wait_for_bar(page, made[second][-1])
    seen, view = pan(page), page.evaluate(VIEW)
    cut(page)
    page.wait_for_function(f"{VIEW} > {view}")
    (newest,) = dashboard.put(second, range(5, 4, -1))
    wait_for_bar(page, newest)
    assert (page.evaluate(SYMBOL), page.evaluate(SEEN)) == (second, seen)
    page.reload()
    page.wait_for_function(f"globalThis.tapeline?.drawing && {SYMBOL} === '{second}'")
    page.goto(f"{dashboard.url}pipeline")
    page.go_back()
    page.wait_for_function(f"globalThis.tapeline?.drawing && {SYMBOL} === '{second}'")


def test_a_page_that_is_switched_off_stays_as_it_is_when_its_connection_breaks(
    page: Page, dashboard: Dashboard
) -> None:
    symbol = next(symbols)
    made = dashboard.put(symbol, range(30, 20, -1))
    page.add_init_script(KEEP_SOCKETS)
    show(page, dashboard, symbol)
    wait_for_bar(page, made[-1])
    page.get_by_role("switch", name="Auto-refresh").click()
    page.wait_for_selector("text=PAUSED")
    before = page.locator("main").inner_text()
    made += dashboard.put(symbol, range(15, 5, -1))
    cut(page)
    page.wait_for_timeout(REFRESH_MS * 5)
    assert page.locator("main").inner_text() == before
    page.get_by_role("switch", name="Auto-refresh").click()
    wait_for_bar(page, made[-1])
    assert page.evaluate(COUNT) == len(made)


def test_switched_off_and_on_again_the_chart_shows_the_same_time(page: Page, dashboard: Dashboard) -> None:
    symbol = next(symbols)
    made = dashboard.put(symbol, range(500, 20, -1))
    show(page, dashboard, symbol)
    wait_for_bar(page, made[-1])
    seen = pan(page)
    switch = page.get_by_role("switch", name="Auto-refresh")
    switch.click()
    page.wait_for_selector("text=PAUSED")
    (newest,) = dashboard.put(symbol, range(5, 4, -1))
    switch.click()
    wait_for_bar(page, newest)
    assert page.evaluate(SEEN) == seen
    page.get_by_role("button", name="1 min", exact=True).click()
    page.wait_for_function("tapeline.drawing.isAtEnd()")


def test_a_panned_chart_stays_where_it_is_while_its_tab_is_hidden_and_bars_come_late(
    page: Page, dashboard: Dashboard
) -> None:
    symbol = next(symbols)
    made = dashboard.bars(symbol, range(200, 20, -1))
    late = [made[150], made[160]]
    dashboard.publish([bar for bar in made if bar not in late])
    page.add_init_script(HIDE)
    show(page, dashboard, symbol)
    wait_for_bar(page, made[-1])
    seen = pan(page)
    page.evaluate("globalThis.isHidden = true")
    for count, bar in enumerate(late, len(made) - 1):
        dashboard.publish([bar])
        until(lambda n=count: page.evaluate(COUNT) == n, "a late bar on the page")  # type: ignore[misc]
    page.evaluate("showAgain()")
    assert page.evaluate(SEEN) == seen


def test_a_broken_connection_leaves_no_hole_where_a_tab_has_more_than_the_server_keeps(
    page: Page, dashboard: Dashboard
) -> None:
    symbol = next(symbols)
    made = dashboard.put(symbol, range(880, 400, -1))
    page.add_init_script(KEEP_SOCKETS)
    show(page, dashboard, symbol)
    page.get_by_role("button", name="15 min", exact=True).click()
    page.wait_for_function("tapeline.book.value.history === 900")
    made += dashboard.put(symbol, range(400, 20, -1))
    wait_for_bar(page, made[-1])
    assert page.evaluate(COUNT) == len(made)
    view = page.evaluate(VIEW)
    cut(page)
    page.wait_for_function(f"{VIEW} > {view}")
    assert page.evaluate(COUNT) == len(made)


def test_change_table_and_file_are_of_the_history_however_long_a_tab_is_open(
    page: Page, dashboard: Dashboard
) -> None:
    symbol = next(symbols)
    made = dashboard.put(symbol, range(400, 150, -1))
    show(page, dashboard, symbol)
    wait_for_bar(page, made[-1])
    made += dashboard.put(symbol, range(150, 20, -1))
    wait_for_bar(page, made[-1])
    assert page.evaluate(COUNT) == 380
    shown = [b for b in made if b.start_ts_ms >= made[-1].start_ts_ms - 300_000]
    change = made[-1].close - shown[0].open
    assert f"{abs(change):.2f}" in (page.text_content(".last .change") or "")
    assert page.text_content(".last .count") == "in 5 min"
    assert page.text_content(".recent .count") == f"{len(shown)} bars"
    with page.expect_download() as download:
        page.get_by_role("button", name="CSV").click()
    assert len(Path(download.value.path()).read_text().splitlines()) == len(shown) + 1


def test_a_symbol_is_chosen_only_where_one_was_typed_or_pointed_at(page: Page, dashboard: Dashboard) -> None:
    first, many = next(symbols), [f"{next(symbols)}.Many" for _ in range(20)]
    made = dashboard.put(first, range(20, 10, -1))
    for symbol in many:
        dashboard.put(symbol, range(5, 4, -1))
    show(page, dashboard, first)
    wait_for_bar(page, made[-1])
    box = page.get_by_role("combobox", name="Symbol")
    box.click()
    page.wait_for_selector("[role=option]")
    page.keyboard.press("Enter")
    assert (page.evaluate(SYMBOL), box.input_value()) == (first, first)
    box.click()
    for _ in range(20):
        page.keyboard.press("ArrowDown")
    chosen = page.locator("[role=option][aria-selected=true]")
    assert chosen.evaluate("o => o.offsetTop >= o.parentElement.scrollTop") is True
    bottom = "o => o.offsetTop + o.offsetHeight <= o.parentElement.scrollTop + o.parentElement.clientHeight"
    assert chosen.evaluate(bottom) is True
    wanted = chosen.inner_text()
    dashboard.put("A.Many", range(5, 4, -1))  # it would be the first of the list
    page.wait_for_timeout(REFRESH_MS * 5)
    assert chosen.inner_text() == wanted
    page.keyboard.press("Enter")
    page.wait_for_function(f"{SYMBOL} === '{wanted}'")


def test_tabs_share_the_watchlist_and_take_only_names_of_symbols(
    browser: Browser, dashboard: Dashboard
) -> None:
    first, second = next(symbols), next(symbols)
    for symbol in (first, second):
        dashboard.put(symbol, range(20, 10, -1))
    with tabs(browser, 2) as pages:
        for page, symbol in zip(pages, (first, second), strict=True):
            page.add_init_script("localStorage['tapeline-watch'] ??= '-'")
            show(page, dashboard, symbol)
        for page, symbol in zip(pages, (first, second), strict=True):
            page.get_by_role("button", name=f"+ Watch {symbol}").click()
            for other in pages:
                other.locator(".quotes li", has_text=symbol).wait_for()
        assert [page.locator(".quotes .who").all_inner_texts() for page in pages] == [[first, second]] * 2
        choose(page, "A,B")
        page.get_by_text("No symbol: up to 32").wait_for()
        assert page.evaluate(SYMBOL) == second


def test_prices_of_any_size_are_shown_in_full(page: Page, dashboard: Dashboard) -> None:
    tiny, huge = next(symbols), next(symbols)
    for symbol, price in ((tiny, 1e-8), (huge, 123_456_789.25)):
        made = dashboard.bars(symbol, range(20, 10, -1))
        for bar in made:
            bar.open = bar.high = bar.low = bar.close = price
        dashboard.publish(made)
    page.add_init_script(f"localStorage['tapeline-watch'] ??= '{tiny},{huge}'")
    show(page, dashboard, tiny)
    page.wait_for_selector(".last .price:text-is('0.00000001')")
    shown = page.locator(".quotes .px")
    shown.nth(1).wait_for()
    assert shown.all_inner_texts() == ["0.00000001", "123,456,789.25"]
    inside = "e => e.scrollWidth <= e.clientWidth"
    assert [shown.nth(i).evaluate(inside) for i in range(2)] == [True, True]
