"""What every page has around it: name, pages, condition and badges."""

from typing import Any

import reflex as rx

from webapp.client import SymbolPicker, ThemeChoice, ZoneChoice
from webapp.state import MOST_SYMBOLS, Live

PAGES = (("Live", "/"), ("Pipeline", "/pipeline"), ("Warehouse", "/warehouse"))
CONDITIONS = (
    ("live", "LIVE"),
    ("replay", "REPLAY"),
    ("starting", "STARTING"),
    ("waiting", "WAITING"),
    ("no_bars", "NO BARS"),
    ("stale", "STALE"),
    ("closed", "CLOSED"),
    ("kafka_down", "KAFKA DOWN"),
    ("registry_down", "REGISTRY DOWN"),
    ("no_topic", "NO TOPIC"),
)


def frame(title: str, *content: rx.Component) -> rx.Component:
    """Return a page with its head."""
    return rx.el.div(
        rx.el.a("Skip to content", href="#main", class_name="skip"),
        rx.el.header(
            rx.el.div(rx.el.span("▍", class_name="mark", aria_hidden="true"), "TAPELINE", class_name="name"),
            rx.el.nav(
                *[
                    rx.el.a(
                        name,
                        href=path,
                        class_name="tab" + (" here" if name == title else ""),
                        **({"aria_current": "page"} if name == title else {}),
                    )
                    for name, path in PAGES
                ],
                aria_label="Pages",
            ),
            pill(),
            rx.cond(
                Live.filled < 100, rx.el.span("reading the past: ", Live.filled, " %", class_name="count")
            ),
            rx.el.div(rx.foreach(Live.badges, badge), class_name="badges", role="group", aria_label="Health"),
            rx.el.div(
                refresh(), ZoneChoice.create(exchange=Live.zone), ThemeChoice.create(), class_name="choices"
            ),
            class_name="top",
        ),
        rx.connection_banner(
            rx.el.div(
                rx.el.strong("The dashboard does not answer"),
                rx.el.span("What you see is what came before. The page connects again by itself."),
                class_name="notice kafka_down offline",
                role="alert",
            )
        ),
        rx.el.main(rx.el.h1(title, class_name="unseen"), *content, id="main", tab_index=-1),
        class_name="page",
    )


def symbol_picker(symbol: rx.Var[str], on_pick: rx.event.EventType[Any]) -> rx.Component:
    """Return a search box over the symbols."""
    return SymbolPicker.create(
        symbols=Live.symbols,
        is_cut=Live.symbols.length() >= MOST_SYMBOLS,
        symbol=symbol,
        on_pick=on_pick,
    )


def refresh() -> rx.Component:
    """Return the switch that holds all pages of this tab still."""
    return rx.el.button(
        rx.el.span(class_name="knob", aria_hidden="true"),
        rx.el.span("Auto-refresh", class_name="words"),
        type="button",
        role="switch",
        aria_label="Auto-refresh",
        aria_checked=rx.cond(Live.is_live, "true", "false"),
        class_name=rx.cond(Live.is_live, "switch on", "switch"),
        on_click=Live.set_live(~Live.is_live),
    )


def pill() -> rx.Component:
    """Return the condition of the whole in a word or two."""
    word = rx.match(Live.condition, *CONDITIONS, "…")
    return rx.el.div(
        rx.el.span(class_name="dot", aria_hidden="true"),
        rx.el.span(rx.cond(Live.is_live, word, "PAUSED"), class_name="word"),
        rx.connection_banner(rx.el.span("NO CONNECTION", class_name="offline")),
        class_name="pill " + rx.cond(Live.is_live, Live.condition, "paused").to(str),
        role="status",
    )


def badge(entry: rx.Var[list[str]], i: rx.Var[int]) -> rx.Component:
    """Return a number with its name; its colour says whether it is within its limit."""
    return rx.el.div(
        rx.el.span(Live.hints[i][0], class_name="label"),
        rx.el.span(entry[0], class_name="value"),
        class_name="badge " + entry[1],
        title=Live.hints[i][1],
    )
