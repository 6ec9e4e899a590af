"""What Reflex is told: one port, sessions in memory, no calls home, nothing of its own on the page."""

import reflex as rx

KEPT_S = 7 * 86_400
"""A tab in which nothing happens for so long, as one that is switched off, is forgotten."""

config = rx.Config(
    app_name="webapp",
    app_module_import="webapp.app",
    state_manager_mode="memory",
    redis_token_expiration=KEPT_S,  # also of those in memory
    telemetry_enabled=False,
    show_built_with_reflex=False,
    disable_plugins=[rx.plugins.SitemapPlugin],
)
