"""Every metric of the parts with its kind, unit and meaning, and the /metrics endpoint of each."""

from prometheus_client import (
    GC_COLLECTOR,
    PLATFORM_COLLECTOR,
    PROCESS_COLLECTOR,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    start_http_server,
)

from glue.errors import SettingsError


def _part() -> CollectorRegistry:
    """Return what a part exports: the numbers of its process, and no metric but its own."""
    registry = CollectorRegistry()
    for collector in (PROCESS_COLLECTOR, PLATFORM_COLLECTOR, GC_COLLECTOR):
        registry.register(collector)
    return registry


WORKER, ENGINE, ROLLUP, STAGE_RAW = _part(), _part(), _part(), _part()

LINES = Counter("tapeline_feed_lines", "Lines read from the feed, resent ones included.", registry=WORKER)
TICKS = Counter("tapeline_ticks", "Ticks taken into bins.", registry=WORKER)
BINS = Counter(
    "tapeline_bins_published", "Bins published to ticks.raw, watermark records excluded.", registry=WORKER
)
DEAD_LETTERS = Counter("tapeline_dead_letters", "Feed lines refused.", ["reason"], registry=WORKER)
RECONNECTS = Counter(
    "tapeline_feed_reconnects", "Connections to the feed that broke and were made again.", registry=WORKER
)
RESENT = Counter(
    "tapeline_feed_lines_resent", "Lines that a feed sent again and that were skipped.", registry=WORKER
)
CONNECTED = Gauge("tapeline_feed_connected", "1 while connected to the feed.", registry=WORKER)
FEED_WATERMARK = Gauge(
    "tapeline_feed_watermark_seconds", "Watermark W of the feed, event time.", registry=WORKER
)
OPEN_BINS = Gauge("tapeline_open_bins", "Bins that still take ticks.", registry=WORKER)
COMMIT_SECONDS = Histogram(
    "tapeline_commit_seconds",
    "Duration of a Kafka transaction's commit.",
    buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 5),
    registry=WORKER,
)

BINS_READ = Counter(
    "tapeline_bins_read", "Records read from ticks.raw, watermark records included.", registry=ENGINE
)
BARS = Counter("tapeline_bars_published", "Bars published to ticks.agg.1s.", registry=ENGINE)
BINS_IGNORED = Counter(
    "tapeline_bins_ignored", "Bins that came again for a bar already closed.", registry=ENGINE
)
BINS_MISSED = Counter(
    "tapeline_bins_missed",
    "Times that bins had fallen out of the retention of ticks.raw before they were read.",
    ["partition"],
    registry=ENGINE,
)
BINS_UNREADABLE = Counter(
    "tapeline_bins_unreadable", "Records of ticks.raw that are no bins.", registry=ENGINE
)
STREAM_TIME = Gauge(
    "tapeline_stream_time_seconds", "Newest event time read from a partition.", ["partition"], registry=ENGINE
)
OPEN_BARS = Gauge("tapeline_open_bars", "Bars that wait for the watermark.", registry=ENGINE)

BARS_READ = Counter("tapeline_bars_read", "Bars read from ticks.agg.1s by the rollup.", registry=ROLLUP)
BARS_UNREADABLE = Counter(
    "tapeline_bars_unreadable", "Records of ticks.agg.1s that are no bars.", registry=ROLLUP
)
BARS_MISSED = Counter(
    "tapeline_bars_missed",
    "Times that bars had fallen out of the retention of ticks.agg.1s before they were read.",
    ["partition"],
    registry=ROLLUP,
)
LATE_BARS = Counter(
    "tapeline_late_bars", "Late bars for which five-minute windows were made anew.", registry=ROLLUP
)
LATE_BARS_LOST = Counter(
    "tapeline_late_bars_lost", "Late bars whose window the warehouse has in part only.", registry=ROLLUP
)
FACTS = Counter("tapeline_facts_written", "60 s and 300 s rows written to the warehouse.", registry=ROLLUP)
NOTIONAL_CUT = Counter(
    "tapeline_notional_cut",
    "Rows whose notional, 10^30 or more, the warehouse has as the largest number that fits.",
    ["job"],
    registry=ROLLUP,
)
FLUSHES = Counter(
    "tapeline_flushes", "Flushes of facts, by outcome: written or failed.", ["outcome"], registry=ROLLUP
)
FLUSH_SECONDS = Histogram(
    "tapeline_flush_seconds",
    "Duration of a flush's transaction.",
    buckets=(0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60),
    registry=ROLLUP,
)
HELD_MINUTES = Gauge(
    "tapeline_held_minutes", "Minutes of symbols held until their facts are written.", registry=ROLLUP
)
FACTS_UNTIL = Gauge(
    "tapeline_facts_until_seconds", "What ends by then is in the warehouse, event time.", registry=ROLLUP
)
RAW_ROWS = Counter(
    "tapeline_raw_rows_loaded", "Rows of bins that are known to be in RAW.TICKS_RAW.", registry=STAGE_RAW
)
RAW_FILES_WAITING = Gauge(
    "tapeline_raw_files_waiting", "Files of bins on this machine that are not loaded yet.", registry=STAGE_RAW
)
LOADS = Counter(
    "tapeline_raw_loads",
    "Loads of files of bins, by outcome: loaded or failed.",
    ["outcome"],
    registry=STAGE_RAW,
)
EXECUTION_SECONDS = Counter(
    "tapeline_warehouse_execution_seconds", "Seconds that statements took.", ["job"], registry=ROLLUP
)

for _metric in (BINS_READ, BINS_MISSED, BINS_UNREADABLE, NOTIONAL_CUT, EXECUTION_SECONDS):
    STAGE_RAW.register(_metric)


def serve(part: CollectorRegistry, host: str, port: int) -> str:
    """Serve the metrics of a part, on the port asked for or a free one if it is taken; return the URL here.

    Raises:
        SettingsError: `host` is no address of this machine.
    """
    try:
        try:
            server, _ = start_http_server(port, addr=host, registry=part)
        except OSError:
            server, _ = start_http_server(0, addr=host, registry=part)
    except OSError as error:
        raise SettingsError(f"METRICS_HOST={host}: {error.strerror or error}") from None
    name = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  # not bound, only compared
    return f"http://{f'[{name}]' if ':' in name else name}:{server.server_port}/metrics"
