"""Every metric of Tapeline with its kind, unit and meaning, and the /metrics endpoint."""

from prometheus_client import REGISTRY, Counter, Gauge, Histogram, start_http_server

LINES = Counter("tapeline_feed_lines", "Lines read from the feed, resent ones included.")
TICKS = Counter("tapeline_ticks", "Ticks taken into bins.")
BINS = Counter("tapeline_bins_published", "Bins published to ticks.raw, watermark records excluded.")
DEAD_LETTERS = Counter("tapeline_dead_letters", "Feed lines refused.", ["reason"])
RECONNECTS = Counter("tapeline_feed_reconnects", "Connections to the feed that broke and were made again.")
RESENT = Counter("tapeline_feed_lines_resent", "Lines that a feed sent again and that were skipped.")
CONNECTED = Gauge("tapeline_feed_connected", "1 while connected to the feed.")
FEED_WATERMARK = Gauge("tapeline_feed_watermark_seconds", "Watermark W of the feed, event time.")
OPEN_BINS = Gauge("tapeline_open_bins", "Bins that still take ticks.")
COMMIT_SECONDS = Histogram(
    "tapeline_commit_seconds",
    "Duration of a Kafka transaction's commit.",
    buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 5),
)

BINS_READ = Counter("tapeline_bins_read", "Records read from ticks.raw, watermark records included.")
BARS = Counter("tapeline_bars_published", "Bars published to ticks.agg.1s.")
BINS_IGNORED = Counter("tapeline_bins_ignored", "Bins that came again for a bar already closed.")
BINS_MISSED = Counter(
    "tapeline_bins_missed",
    "Times that bins had fallen out of the retention of ticks.raw before they were read.",
    ["partition"],
)
BINS_UNREADABLE = Counter("tapeline_bins_unreadable", "Records of ticks.raw that are no bins.")
STREAM_TIME = Gauge("tapeline_stream_time_seconds", "Newest event time read from a partition.", ["partition"])
OPEN_BARS = Gauge("tapeline_open_bars", "Bars that wait for the watermark.")


def serve(port: int) -> int:
    """Serve /metrics on loopback and return the port: the one asked for, or a free one if it is taken."""
    try:
        server, _ = start_http_server(port, addr="127.0.0.1", registry=REGISTRY)
    except OSError:
        server, _ = start_http_server(0, addr="127.0.0.1", registry=REGISTRY)
    return int(server.server_port)
