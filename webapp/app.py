"""The Reflex app: pages, routes for programs, and the task that fills the cache."""

import reflex as rx
from starlette.applications import Starlette
from starlette.routing import Mount

from webapp import state
from webapp.api import routes
from webapp.live import live_page
from webapp.pipeline import Pipeline, pipeline_page
from webapp.warehouse import Warehouse, warehouse_page

DESCRIPTION = "Live 1 s bars of Tapeline"
ELSEWHERE = state.Live.opened_elsewhere


async def fill_cache() -> None:
    """Read the topics for as long as the server runs."""
    await state.hub.run()


app = rx.App(
    stylesheets=["/tapeline.css"],
    html_lang="en",
    head_components=[rx.el.script(src="/theme.js"), rx.el.link(rel="icon", href="/icon.svg")],
    api_transformer=lambda inner: Starlette(routes=[*routes(state.hub), Mount("/", app=inner)]),
    toaster=None,
)
del app.app_wraps[5, "Overlay"]  # that its server is away the page says itself
app.add_page(live_page, route="/", title="Tapeline", description=DESCRIPTION, on_load=state.Live.opened)
app.add_page(
    pipeline_page,
    route="/pipeline",
    title="Pipeline · Tapeline",
    description="Parts, lag, latency, service levels",
    on_load=[ELSEWHERE, Pipeline.follow],
)
app.add_page(
    warehouse_page,
    route="/warehouse",
    title="Warehouse · Tapeline",
    description="Facts and views of the warehouse",
    on_load=[ELSEWHERE, Warehouse.follow],
)
app.register_lifespan_task(fill_cache)
state.open_sessions = lambda: app.event_namespace.token_to_sid if app.event_namespace else {}
