"""The 1 s bars of ticks.raw by Quix Streams. Runs in its own environment, .venv-bench, without Tapeline.

Quix gets what spares it work: the symbol as the key (from the bin id, so no repartition topic), the
partition's event time to close windows by, and its default commit interval of 5 s.
"""

import argparse
import json
import logging
import time
from pathlib import Path
from typing import Any

from quixstreams import Application
from quixstreams.dataframe.windows import Count, Earliest, Latest, Max, Min, Sum
from quixstreams.models import Deserializer
from quixstreams.models.serializers.avro import AvroDeserializer, AvroSerializer
from quixstreams.models.serializers.schema_registry import SchemaRegistryClientConfig

BAR_MS = 1000


class SymbolOfKey(Deserializer):
    """Turns the key `<symbol>-<start_ms>` into the symbol, by which windows are kept."""

    def __call__(self, value: bytes, ctx: Any) -> str:
        """Return the symbol."""
        return value.decode().rpartition("-")[0]


def bar(window: dict[str, Any], symbol: str, timestamp: int, headers: Any) -> dict[str, Any]:
    """Make the bar of a closed window, with the fields of schemas/bar_1s.avsc."""
    fields = {name: value for name, value in window.items() if name not in ("start", "end")}
    volume = fields["volume"]
    return fields | {
        "bar_id": f"{symbol}-{window['start']}",
        "symbol": symbol,
        "start_ts_ms": window["start"],
        "end_ts_ms": window["end"],
        "vwap": fields["notional"] / volume if volume else fields["close"],
        "ingest_ts_ms": time.time_ns() // 1_000_000,
        "source": "aggregate",
    }


def main() -> None:
    """Read bins, write bars, until SIGTERM."""
    parser = argparse.ArgumentParser(prog="bench/quix.py", description="1 s bars by Quix Streams")
    for name in ("brokers", "registry", "group", "bins", "bars", "schemas", "state", "guarantee"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--late-ms", type=int, default=500)
    options = parser.parse_args()
    logging.getLogger("quixstreams").setLevel(logging.WARNING)
    app = Application(
        broker_address=options.brokers,
        consumer_group=options.group,
        auto_offset_reset="earliest",
        processing_guarantee=options.guarantee,
        state_dir=options.state,
        loglevel="WARNING",
        auto_create_topics=True,
    )
    bins = app.topic(
        options.bins,
        key_deserializer=SymbolOfKey(),
        value_deserializer=AvroDeserializer(
            schema_registry_client_config=SchemaRegistryClientConfig(url=options.registry)
        ),
        timestamp_extractor=lambda value, headers, timestamp, timestamp_type: value["start_ts_ms"],
    )
    schema = json.loads((Path(options.schemas) / "bar_1s.avsc").read_text())
    bars = app.topic(options.bars, value_serializer=AvroSerializer(schema))
    frame = app.dataframe(bins)
    frame = frame[frame["trade_count"] > 0]  # not the watermark records
    frame = (
        frame.tumbling_window(duration_ms=BAR_MS, grace_ms=options.late_ms)
        .agg(
            open=Earliest("open"),
            high=Max("high"),
            low=Min("low"),
            close=Latest("close"),
            volume=Sum("volume"),
            notional=Sum("notional"),
            trade_count=Sum("trade_count"),
            bin_count=Count(),
            max_lateness_ms=Max("max_lateness_ms"),
            api_send_ts_ms=Min("api_send_ts_ms"),
            source_event_ts_ms=Min("source_event_ts_ms"),
        )
        .final(closing_strategy="partition")
    )
    frame = frame.apply(bar, metadata=True)
    frame.to_topic(bars, key=lambda value: value["bar_id"])
    app.run()


if __name__ == "__main__":
    main()
