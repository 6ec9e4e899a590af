"""What Reflex is told: one port, sessions in memory, no calls home, nothing of its own on the page."""

import reflex as rx

config = rx.Config(
    app_name="webapp",
    app_module_import="webapp.app",
    state_manager_mode="memory",
    telemetry_enabled=False,
    show_built_with_reflex=False,
    disable_plugins=[rx.plugins.SitemapPlugin],
)
