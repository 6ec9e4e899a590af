"""The warehouse page: facts of a symbol, top movers, session VWAP, volatility bands."""

import asyncio
from datetime import UTC, datetime
from math import ceil

import msgspec
import reflex as rx

from glue import usage
from glue.core.ticks import is_symbol
from glue.core.usage import Use
from glue.errors import TapelineError
from glue.intake import now_ms
from glue.io.marts import DRAWN, QUERIES, Mart, read_marts
from glue.io.topic_stats import written_ms
from glue.settings import shown
from webapp import state
from webapp.client import FactChart, Moment, Rows, TimeLines
from webapp.flushes import FRESH_S, LOOK_S, Flushes
from webapp.frame import frame, symbol_picker
from webapp.shared import Shared

BANDS = "Volatility bands"
LEAST_S = 300.0
"""A symbol is asked for so often at most: every question keeps the warehouse awake."""
JITTER_S = FRESH_S
"""Flushes that are five minutes apart may be seen so much closer together."""
MOST_SYMBOLS = 200


class Answer(msgspec.Struct, frozen=True):
    """What the warehouse said of a symbol, or why it did not."""

    at_ms: int
    marts: list[Mart]
    error: str = ""


def ask(symbol: str) -> Answer:
    """Ask the warehouse, and note the seconds that it took."""
    try:
        marts, took_s = read_marts(state.hub.settings, symbol)
    except TapelineError as error:
        return Answer(now_ms(), [], str(error))
    usage.note(Use("dashboard", now_ms(), took_s))
    return Answer(now_ms(), marts)


_answers: dict[str, Shared[Answer]] = {}


def answer_of(symbol: str) -> Shared[Answer]:
    """Return the answer that all pages share; of the symbols the one asked for the longest ago goes."""
    shared = _answers.pop(symbol, None) or Shared(
        lambda: ask(symbol), has_failed=lambda answer: bool(answer.error)
    )
    _answers[symbol] = shared
    while len(_answers) > MOST_SYMBOLS:
        del _answers[next(iter(_answers))]
    return shared


flushes = Flushes(lambda: written_ms(state.hub.settings))


async def is_due(answer: Shared[Answer]) -> bool:
    """Tell whether to ask again by itself: right after a flush, and five minutes after the last time."""
    try:
        is_fresh = await flushes.is_fresh()
    except TapelineError:  # the top of the page says so
        return False
    return answer.is_empty or (is_fresh and not answer.left_s(LEAST_S - JITTER_S))


class Warehouse(rx.State):
    """The warehouse page of one tab."""

    symbol: str = ""
    asked: str = ""
    error: str = ""
    failed: str = ""
    again: str = ""
    is_asking: bool = False
    columns: list[list[str]] = [[] for _ in QUERIES]
    rows: list[list[list[str]]] = [[] for _ in QUERIES]
    points: list[list[list[float | None]]] = [[] for _ in QUERIES]
    where: str = shown(state.hub.settings.snow_account) or "not configured"

    _generation: int = 0

    @rx.event
    async def choose(self, symbol: str) -> rx.event.EventSpec:
        """Show another symbol; what cannot be the name of one is passed over."""
        live = await self.get_state(state.Live)
        if is_symbol(symbol := symbol.strip()):
            live.symbol = symbol
            self._turn_to(symbol)
        return Warehouse.follow

    @rx.event(background=True)
    async def refresh(self) -> None:
        """Ask again, unless that was done within five minutes: then say from when on."""
        async with self:
            left_s = answer_of(self.symbol).left_s(LEAST_S) if self.symbol else 0.0
            self.again = moment(now_ms() + ceil(left_s) * 1000) if left_s else ""
        if not left_s:
            await self._ask(LEAST_S)

    @rx.event(background=True)
    async def follow(self) -> None:
        """Show what is known, and unless paused what comes after each flush, until the page is left."""
        async with self:
            self._generation += 1
            mine = self._generation
            live = await self.get_state(state.Live)
            if not live.symbol:
                live.symbol = next(iter(state.hub.cache.symbols()), "")
            self._turn_to(live.symbol)
            token = self.router.session.client_token
        await self._ask(float("inf"))
        while True:
            await asyncio.sleep(LOOK_S)
            async with self:
                is_here = self.router.url.path.rstrip("/").endswith("/warehouse")
                if self._generation != mine or not is_here or token not in state.open_sessions():
                    return
                symbol = self.symbol
                is_live = (await self.get_state(state.Live)).is_live
            if is_live and await is_due(answer_of(symbol)):
                await self._ask(LEAST_S - JITTER_S)

    def _turn_to(self, symbol: str) -> None:
        """Show a symbol; what is known of another one goes."""
        if symbol == self.symbol:
            return
        self.symbol = symbol
        self.asked = self.error = self.failed = self.again = ""
        self.columns = [[] for _ in QUERIES]
        self.rows = [[] for _ in QUERIES]
        self.points = [[] for _ in QUERIES]

    async def _ask(self, not_older_than_s: float) -> None:
        async with self:
            symbol = self.symbol
            self.is_asking = bool(symbol)
        if not symbol:
            return
        answer = await answer_of(symbol).get(not_older_than_s)
        async with self:
            if self.symbol != symbol:
                return
            self.is_asking, self.again = False, ""
            self.error, self.failed = answer.error, moment(answer.at_ms)
            if not answer.error:
                self.asked = moment(answer.at_ms)
                self.columns = [mart.columns for mart in answer.marts]
                self.rows = [mart.rows for mart in answer.marts]
                self.points = [mart.points for mart in answer.marts]


def moment(ms: int) -> str:
    """Return a time in ms since 1970 as the page takes it."""
    return f"{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%dT%H:%M:%SZ}"


def warehouse_page() -> rx.Component:
    """Return the page."""
    return frame(
        "Warehouse",
        rx.el.div(
            symbol_picker(Warehouse.symbol, Warehouse.choose),
            rx.el.button(
                rx.cond(Warehouse.is_asking, "Asking …", "Refresh"),
                type="button",
                class_name="small",
                disabled=Warehouse.is_asking,
                on_click=Warehouse.refresh,
                title="A symbol is asked for every five minutes at most, which lets the warehouse sleep",
            ),
            rx.cond(
                Warehouse.asked != "",
                rx.el.span("as of ", Moment.create(text=Warehouse.asked), class_name="count"),
            ),
            rx.cond(
                Warehouse.again != "",
                rx.el.span(
                    "asks again from ",
                    Moment.create(text=Warehouse.again),
                    " on",
                    class_name="count again",
                    role="status",
                ),
            ),
            rx.el.div(class_name="spring"),
            rx.el.span("Snowflake: ", Warehouse.where, class_name="count"),
            class_name="toolbar panel bar",
        ),
        rx.cond(
            Warehouse.error != "",
            rx.el.div(
                rx.el.strong("The warehouse has no answer"),
                rx.el.span(Warehouse.error),
                rx.el.span("asked at ", Moment.create(text=Warehouse.failed)),
                class_name="notice kafka_down",
                role="alert",
            ),
        ),
        rx.el.div(*[mart(i, title) for i, title in enumerate(QUERIES)], class_name="cards marts"),
    )


EMPTY = rx.cond(
    Warehouse.asked != "",
    "no rows",
    rx.cond(Warehouse.error != "", "not known", rx.cond(Warehouse.symbol != "", "asking …", "no symbol")),
)


def mart(i: int, title: str) -> rx.Component:
    """Return one answer: drawn, where it has a drawing, and as a table."""
    return rx.el.section(
        rx.el.h2(title),
        rx.cond(Warehouse.points[i].length() > 1, drawing(i, title)) if title in DRAWN else None,
        Rows.create(
            heads=Warehouse.columns[i], rows=Warehouse.rows[i], coloured=-1, is_plain=False, empty=EMPTY
        ),
        class_name="panel wide" if i == len(QUERIES) - 1 else "panel",
        aria_label=title,
    )


def drawing(i: int, title: str) -> rx.Component:
    """Return the candles of facts, or the lines of the volatility bands."""
    if title != BANDS:
        return FactChart.create(label=f"{title}: candles with VWAP", points=Warehouse.points[i])
    names = ["log return", "mean of 20", "lower band", "upper band"]
    return TimeLines.create(
        title="", names=names, unit="%", digits=3, is_apart=False, points=Warehouse.points[i]
    )
