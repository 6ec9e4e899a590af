"""The metrics of the dashboard, each with kind, unit and meaning."""

from prometheus_client import Counter, Gauge, Histogram

from webapp.latency import Sample

_BUCKETS = (0.05, 0.1, 0.25, 0.5, 0.75, 1, 1.5, 2, 5, 10, 60)
BARS = Counter("tapeline_dashboard_bars", "Bars read by the dashboard, those of the past included.")
UNREADABLE = Counter("tapeline_dashboard_unreadable", "Records that are no bars.")
AGE = Gauge("tapeline_dashboard_age_seconds", "Age of the newest bar; NaN without one.")
BACKLOG = Gauge("tapeline_dashboard_backlog", "Bars on the topic that were not read yet.")
CACHED = Gauge("tapeline_dashboard_cached_bars", "Bars in the cache.")
SYMBOLS = Gauge("tapeline_dashboard_symbols", "Symbols in the cache.")
FILLED = Gauge("tapeline_dashboard_filled", "How much of the past has been read, 0 to 1.")
CONNECTED = Gauge("tapeline_dashboard_connected", "1 while bars can be read.")
SESSIONS = Gauge("tapeline_dashboard_sessions", "Pages that are open and refresh.")
LATENCY = Histogram(
    "tapeline_dashboard_latency_seconds",
    "Latency of bars up to the dashboard, from: api (feed sent), producer (engine emitted), end (bar end), "
    "log (broker appended).",
    ["since"],
    buckets=_BUCKETS,
)


def observe(taken: Sample) -> None:
    """Count the latencies of a bar."""
    for since in ("api", "producer", "end", "log"):
        value = getattr(taken, since)
        if value is not None:
            LATENCY.labels(since).observe(max(0, value) / 1000)
