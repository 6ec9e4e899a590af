"""The parts of the page that run in the browser, wrapped for Reflex: assets/*.jsx."""

from typing import Any

import reflex as rx

CHARTS = "lightweight-charts@5.2.1"


def _text(value: rx.Var[str]) -> tuple[rx.Var[str]]:
    return (value,)


class _Client(rx.NoSSRComponent):
    """Drawn by the browser alone; all of them share the store of assets/store.js."""


class BarFeed(_Client):
    """Takes what the server sends into the browser's store; names the symbol in the address."""

    library = "$/public/feed.jsx"
    tag = "BarFeed"
    feed: rx.Var[dict[str, Any]]
    is_live: rx.Var[bool]
    on_gap: rx.EventHandler[rx.event.no_args_event_spec]


class BarChart(_Client):
    """Candles, volume and VWAP of the symbol; keeps the view while it is panned."""

    library = "$/public/chart.jsx"
    tag = "BarChart"
    lib_dependencies: list[str] = [CHARTS]
    history: rx.Var[int]
    kept: rx.Var[int]


class SymbolPicker(_Client):
    """A search box over the symbols; `is_cut` says that there are more than those."""

    library = "$/public/controls.jsx"
    tag = "SymbolPicker"
    symbols: rx.Var[list[str]]
    is_cut: rx.Var[bool]
    symbol: rx.Var[str]
    on_pick: rx.EventHandler[_text]


class Watchlist(_Client):
    """Chosen symbols with their newest price, its change since the oldest bar, and a line of two minutes.

    `moves` are rows of a symbol's place in `quotes` and what is new of it.
    """

    library = "$/public/watchlist.jsx"
    tag = "Watchlist"
    quotes: rx.Var[list[list[Any]]]
    moves: rx.Var[list[list[Any]]]
    sparks: rx.Var[dict[str, Any]]
    symbol: rx.Var[str]
    on_pick: rx.EventHandler[_text]
    on_toggle: rx.EventHandler[_text]


class TimeLines(_Client):
    """Lines over time; `points` are rows of a time in s and a value (or null) for each line.

    Values below 10 are written with `digits` decimals. With `is_apart` the second line has a scale of its own
    on the left.
    """

    library = "$/public/lines.jsx"
    tag = "TimeLines"
    lib_dependencies: list[str] = [CHARTS]
    title: rx.Var[str]
    names: rx.Var[list[str]]
    unit: rx.Var[str]
    digits: rx.Var[int]
    is_apart: rx.Var[bool]
    points: rx.Var[list[list[Any]]]


class FactChart(_Client):
    """Candles of facts; `points` are rows of a time in s, open, high, low, close and VWAP."""

    library = "$/public/facts.jsx"
    tag = "FactChart"
    lib_dependencies: list[str] = [CHARTS]
    label: rx.Var[str]
    points: rx.Var[list[list[Any]]]


class Rows(_Client):
    """Rows of text as a table; ISO moments in it are written in the chosen time zone.

    `coloured` is the column that has a colour (good, warn, bad, none), which ends each row; -1: none has.
    """

    library = "$/public/rows.jsx"
    tag = "Rows"
    heads: rx.Var[list[str]]
    rows: rx.Var[list[list[str]]]
    coloured: rx.Var[int]
    is_plain: rx.Var[bool]
    empty: rx.Var[str]


class Moment(_Client):
    """An ISO moment in UTC, written in the chosen time zone."""

    library = "$/public/rows.jsx"
    tag = "Moment"
    text: rx.Var[str]


class LastPrice(_Client):
    """The newest close of the symbol and its change over the history."""

    library = "$/public/panels.jsx"
    tag = "LastPrice"


class LatestBar(_Client):
    """All fields of the newest bar, and how long it took to here."""

    library = "$/public/panels.jsx"
    tag = "LatestBar"


class BarTable(_Client):
    """The recent bars; sortable, and as a CSV file."""

    library = "$/public/table.jsx"
    tag = "BarTable"


class ZoneChoice(_Client):
    """In whose time zone times are shown."""

    library = "$/public/controls.jsx"
    tag = "ZoneChoice"
    exchange: rx.Var[str]


class ThemeChoice(_Client):
    """Dark or light."""

    library = "$/public/controls.jsx"
    tag = "ThemeChoice"
