"""The live page."""

import reflex as rx

from webapp.client import BarChart, BarFeed, BarTable, LastPrice, LatestBar, Watchlist
from webapp.frame import frame, symbol_picker
from webapp.health import FAULTS
from webapp.state import HISTORIES_S, Live

NOTICES = (
    ("starting", "Starting", "Connecting to Kafka and reading the newest bars."),
    ("waiting", "Waiting for data", "Kafka answers, but there is no bar yet. Is the worker running?"),
    ("no_bars", "No bars of this symbol", "It has not traded lately, or its name is another one."),
    ("kafka_down", "Kafka does not answer", "What you see is what came before. It goes on by itself."),
    (
        "registry_down",
        "The schema registry does not answer",
        "Without it no bar can be read. It goes on by itself.",
    ),
    ("no_topic", "A topic is missing", "Once it is there the dashboard goes on by itself."),
    ("stale", "No new bars", "The newest bar is old: worker, engine or feed stand still."),
    ("closed", "Market closed", "The exchange of this symbol is not open, and nothing came for it lately."),
)


def live_page() -> rx.Component:
    """Return the page."""
    return frame(
        "Live",
        BarFeed.create(feed=Live.feed, is_live=Live.is_live, on_gap=Live.resync),
        rx.el.div(
            rx.el.section(
                rx.el.h2("Watchlist"),
                Watchlist.create(
                    quotes=Live.quotes,
                    moves=Live.moves,
                    sparks=Live.sparks,
                    symbol=Live.symbol,
                    on_pick=Live.choose,
                    on_toggle=Live.toggle_watch,
                ),
                class_name="panel watch",
                aria_label="Watchlist",
            ),
            rx.el.section(
                toolbar(),
                notice(),
                rx.el.div(
                    BarChart.create(history=Live.history_s, kept=Live.kept),
                    class_name="stage",
                ),
                class_name="panel chart-panel",
                aria_label="Chart",
            ),
            rx.el.section(
                rx.el.h2("Latest bar"), LatestBar.create(), class_name="panel latest", aria_label="Latest bar"
            ),
            rx.el.section(BarTable.create(), class_name="panel recent", aria_label="Recent bars"),
            class_name="grid",
        ),
    )


def toolbar() -> rx.Component:
    """Return what is chosen above the chart."""
    return rx.el.div(
        symbol_picker(Live.symbol, Live.choose),
        LastPrice.create(),
        rx.el.div(class_name="spring"),
        rx.el.div(
            *[
                rx.el.button(
                    f"{seconds // 60} min",
                    type="button",
                    class_name=rx.cond(Live.history_s == seconds, "seg here", "seg"),
                    aria_pressed=rx.cond(Live.history_s == seconds, "true", "false"),
                    on_click=Live.set_history(str(seconds)),
                )
                for seconds in HISTORIES_S
            ],
            class_name="segments",
            role="group",
            aria_label="History",
        ),
        class_name="toolbar",
    )


def notice() -> rx.Component:
    """Return the words for a condition in which nothing moves."""
    return rx.match(
        Live.condition,
        *[
            (
                name,
                rx.el.div(
                    rx.el.strong(title),
                    rx.el.span(text),
                    rx.cond(Live.error != "", rx.el.code(Live.error)) if name in FAULTS else None,
                    rx.cond(Live.opens != "", rx.el.span("It opens ", Live.opens))
                    if name == "closed"
                    else None,
                    class_name=f"notice {name}",
                    role="status",
                ),
            )
            for name, title, text in NOTICES
        ],
        rx.fragment(),
    )
