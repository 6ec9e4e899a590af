"""Small files for the tests of scripts/validate_aggregates.py: records with the dull fields filled in."""

import contextlib
import hashlib
import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[2] / "scripts"))

import validate_aggregates

Record = dict[str, Any]

LATE_MS, SKEW_MS, BIN_MS = 500, 20, 10
RULES = ("--max-late-ms", "500", "--skew-ms", "20", "--bin-ms", "10", "--max-jump-ms", "21600000")


def tick(ms: float, px: float = 10.0, sz: float = 1.0, symbol: str = "A", **more: Any) -> Record:
    """A feed line; `ms` is its event time."""
    return {"symbol": symbol, "px": px, "sz": sz, "event_ts": ms / 1000, **more}


def heartbeat(ms: int) -> Record:
    return {"type": "heartbeat", "event_ts": ms / 1000}


HELLO = {"type": "hello", "feed_id": "test", "mode": "historical", "resume": "since"}
LIVE_HELLO = {**HELLO, "mode": "live"}
END = {"type": "end"}


def a_bin(
    start: int, w: int, *ticks: tuple[float, float], symbol: str = "A", late: int = 0, **more: Any
) -> Record:
    """A bin of (px, sz) in the order of event time, closed when W was `w`."""
    prices = [px for px, _ in ticks]
    return {
        "bin_id": f"{symbol}-{start}",
        "symbol": symbol,
        "start_ts_ms": start,
        "end_ts_ms": start + BIN_MS,
        "window_ms": BIN_MS,
        "open": prices[0],
        "high": max(prices),
        "low": min(prices),
        "close": prices[-1],
        "volume": sum(sz for _, sz in ticks),
        "notional": sum(px * sz for px, sz in ticks),
        "trade_count": len(ticks),
        "max_lateness_ms": late,
        "watermark_ms": w,
        "api_send_ts_ms": None,
        "source_event_ts_ms": None,
        "ingest_ts_ms": None,
        "source": "replay",
        **more,
    }


def mark(w: int, **more: Any) -> Record:
    """A watermark record."""
    return {
        "bin_id": f"~wm0-{w}",
        "symbol": "~wm0",
        "start_ts_ms": w,
        "end_ts_ms": w + BIN_MS,
        "window_ms": BIN_MS,
        **dict.fromkeys(("open", "high", "low", "close")),
        **{"volume": 0.0, "notional": 0.0, "trade_count": 0, "max_lateness_ms": 0},
        "watermark_ms": w,
        **dict.fromkeys(("api_send_ts_ms", "source_event_ts_ms", "ingest_ts_ms")),
        "source": "replay",
        **more,
    }


def bars_of(bins: list[Record]) -> list[Record]:
    """The bars of a complete list of distinct bins."""
    seconds: dict[tuple[int, str], list[Record]] = {}
    for b in sorted(bins, key=lambda b: b["start_ts_ms"]):
        if b["trade_count"]:
            seconds.setdefault((b["start_ts_ms"] // 1000 * 1000, b["symbol"]), []).append(b)
    return [a_bar(start, symbol, parts) for (start, symbol), parts in sorted(seconds.items())]


def a_bar(start: int, symbol: str, parts: list[Record], **more: Any) -> Record:
    """The bar of some bins, oldest first."""
    volume = sum(p["volume"] for p in parts)
    notional = sum(p["notional"] for p in parts)

    def earliest(name: str) -> int | None:
        return min((p[name] for p in parts if p[name] is not None), default=None)

    return {
        "bar_id": f"{symbol}-{start}",
        "symbol": symbol,
        "start_ts_ms": start,
        "end_ts_ms": start + 1000,
        "open": parts[0]["open"],
        "high": max(p["high"] for p in parts),
        "low": min(p["low"] for p in parts),
        "close": parts[-1]["close"],
        "volume": volume,
        "notional": notional,
        "vwap": notional / volume if volume else parts[-1]["close"],
        "trade_count": sum(p["trade_count"] for p in parts),
        "bin_count": len(parts),
        "max_lateness_ms": max(p["max_lateness_ms"] for p in parts),
        "api_send_ts_ms": earliest("api_send_ts_ms"),
        "source_event_ts_ms": earliest("source_event_ts_ms"),
        "ingest_ts_ms": None,
        "source": "aggregate",
        **more,
    }


def raw(line: Record | bytes) -> bytes:
    """The line as the feed sends it."""
    return line if isinstance(line, bytes) else json.dumps(line).encode()


def letter(line: Record | bytes, reason: str, **more: Any) -> Record:
    """A dead letter; of an invalid line nothing is known but the line."""
    text = raw(line).rstrip(b"\r\n")
    known: Record = {"symbol": None, "event_ts_ms": None, "seq": None}
    if isinstance(line, dict) and reason != "invalid":
        known = {
            "symbol": line.get("symbol"),
            "event_ts_ms": round(line["event_ts"] * 1000),
            "seq": line.get("seq"),
        }
    return {
        "dlt_id": "",
        "reason": reason,
        "detail": None,
        **known,
        "lateness_ms": None,
        "watermark_ms": None,
        "line": text[:4096].decode(errors="backslashreplace"),
        "line_sha256": hashlib.sha256(text).hexdigest(),
        "ingest_ts_ms": None,
        **more,
    }


@dataclass
class Outcome:
    """Everything that one run of the pipeline left behind."""

    feed: list[Record | bytes] = field(default_factory=list)
    bins: list[Record] = field(default_factory=list)
    letters: list[Record] = field(default_factory=list)
    bars: list[Record] | None = None

    def write(self, folder: Path) -> list[str]:
        """Write the files and return the options that name them."""
        bars = bars_of(self.bins) if self.bars is None else self.bars
        numbered = ({**one, "dlt_id": one["dlt_id"] or f"test-{n}"} for n, one in enumerate(self.letters))
        options = [
            *("--bins", write_jsonl(folder / "bins.jsonl", self.bins)),
            *("--bars", write_jsonl(folder / "bars.jsonl", bars)),
        ]
        if self.feed:
            (folder / "ticks.jsonl").write_bytes(b"".join(raw(line) + b"\n" for line in self.feed))
            options += ["--ticks", str(folder / "ticks.jsonl")]
            options += ["--dlt", write_jsonl(folder / "dlt.jsonl", numbered)]
        return options


def write_jsonl(path: Path, records: Iterable[Record]) -> str:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return str(path)


class Validator:
    """Runs the command in a folder of its own and returns what it says."""

    def __init__(self, folder: Path, capsys: Any) -> None:
        self.folder = folder
        self._capsys = capsys

    def run(self, *argv: str) -> tuple[int, str, str]:
        """Return exit code, stdout, stderr."""
        with contextlib.chdir(self.folder):  # away from the .env of whoever runs the tests
            try:
                code = validate_aggregates.main(list(argv))
            except SystemExit as stop:
                code = int(stop.code or 0)
        out, err = self._capsys.readouterr()
        return code, out, err

    def report(self, outcome: Outcome, *options: str) -> Record:
        """Validate and return the JSON report; the exit code must fit it."""
        code, out, err = self.run(*outcome.write(self.folder), "--json", *RULES, *options)
        assert not err, err
        report: Record = json.loads(out)
        assert (code, report["result"]) in ((0, "PASS"), (1, "FAIL"))
        return report

    def differences(self, outcome: Outcome, *options: str) -> dict[str, int]:
        """Validate and return the kinds of differences with their counts."""
        checks = self.report(outcome, *options)["checks"]
        return {key: found["count"] for key, found in checks.items() if found["count"]}
