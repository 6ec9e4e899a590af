"""Measure the ksql scripts on the server of KSQLDB_URL: `python -m bench.ksqldb --help`."""

import argparse
import hashlib
import signal
import tempfile
import time
from pathlib import Path

import msgspec
from rich.console import Console

from bench.ksqldb.latency import measure
from bench.ksqldb.place import Place
from bench.ksqldb.throughput import THREADS, Load, bars_per_s, lean_per_s, plain_per_s
from bench.machine import Watch
from bench.report import Measure, Row, compared, document, show
from bench.rounds import Say, percentile, take_turns
from glue.cli import run
from glue.deploy.scripts import KSQL_DIR
from glue.errors import SettingsError

RESULTS = Path(__file__).parents[1] / "RESULTS_KSQLDB.md"
GROUPS = ("throughput", "threads", "latency")
LEAST_RATIO = 0.75
MOST_BAR_MS = 750
SYMBOLS, PARTITIONS = 20, 6
TITLE = "Results with ksqlDB"
INTRODUCTION = """\
Written by `python -m bench.ksqldb` with KSQLDB_URL set; do not edit. Throughput is beside a plain query, the
two taking turns; where there were several turns, the median is shown with the lowest and the highest in
brackets, and the ratio is the median of the ratios within each turn.
"""
DESCRIPTION = """\
Measure ksql/*.sql on the ksqlDB server of KSQLDB_URL, which uses the broker of KAFKA_BROKERS and the registry
of SCHEMA_REGISTRY_URL. Streams, tables and topics have names of their own and are removed again.

  throughput  bins to bars, one stream thread a query, beside plain queries (bench/ksqldb/plain)
  threads     the same with two threads a query, beside one; and with one partition, beside six
  latency     bar end to its record on ticks.agg.1s, at live pace, 5 symbols and 20
"""


def main(argv: list[str]) -> int:
    """Measure, show the table, and write it down when everything was measured in full."""
    options = _parser().parse_args(argv)
    groups = tuple(name for name in GROUPS if options.only is None or name in options.only.split(","))
    if not groups:
        raise SettingsError(f"--only: some of {', '.join(GROUPS)}")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    console = Console()
    if not console.is_terminal:
        console.width = 160
    began = time.monotonic()

    def say(text: str) -> None:
        console.print(f"[dim]{time.monotonic() - began:4.0f} s[/]  {text}", highlight=False, soft_wrap=True)

    with tempfile.TemporaryDirectory(prefix="tapeline-bench-") as folder:
        place = Place(Path(folder), say)
        say(f"ksqlDB {place.version} at {place.server.where}; looking at the machine")
        watch = Watch(is_quick=options.quick)
        rows: list[Row] = []
        try:
            if "throughput" in groups:
                rows += _throughput(place, say, is_quick=options.quick)
            if "threads" in groups:
                rows += _threads(place, say, is_quick=options.quick)
            if "latency" in groups:
                rows += _latency(place, say, is_quick=options.quick)
        except KeyboardInterrupt:
            say("stopped; nothing was written")
            return 130
        finally:
            place.close()
        facts = {"ksqlDB": place.version} | _scripts() | watch.facts()
        facts["Java of broker and registry"] = facts.pop("Java")
        del facts["Quix Streams"]
    show(console, rows)
    if options.quick or groups != GROUPS:
        say(f"{RESULTS.name} is left as it is: it takes a full run")
    else:
        RESULTS.write_text(document(TITLE, INTRODUCTION, rows, facts))
        say(f"written to bench/{RESULTS.name}")
    return 0


def _scripts() -> dict[str, str]:
    """Return the SHA-256 of each script that is measured."""
    files = sorted(KSQL_DIR.glob("*.sql"))
    return {f"ksql/{f.name}": f"sha256 {hashlib.sha256(f.read_bytes()).hexdigest()[:16]}" for f in files}


def _throughput(place: Place, say: Say, *, is_quick: bool) -> list[Row]:
    seconds, turns = (5, 1) if is_quick else (120, 5)
    load = Load(SYMBOLS, seconds, PARTITIONS)
    one = {THREADS: "1"}
    if not is_quick:
        say("warming up")
        bars_per_s(place, load, one)
        plain_per_s(place, load, one)
    rates = take_turns(
        {
            "ksql/": lambda: bars_per_s(place, load, one),
            "plain": lambda: plain_per_s(place, load, one),
            "lean": lambda: lean_per_s(place, load, one),
        },
        turns,
        say,
    )
    note = (
        f"{load.bins:,} bins of {SYMBOLS} symbols on {PARTITIONS} partitions, every symbol in every 10 ms "
        f"of {seconds} s, watermark records after each second, appended at once; time until the last bar "
        "is visible to a read_committed reader. One stream thread a query, same SET lines; ksql/ has three "
        "queries and so three threads, a plain one has one. All bars are compared with the local engine's. "
        "The plain query has sums, highest and lowest values "
        "only: no open, no close, no bar_id, a bin that came twice counts twice"
    )
    lean = "as above, beside a query of one SUM and one MAX only: what the fields of a bar cost as well"
    return [
        compared(
            "bins to 1 s bars by ksqlDB, exact",
            rates["ksql/"],
            "plain SUM, MIN, MAX",
            rates["plain"],
            at_least=LEAST_RATIO,
            note=note,
        ),
        compared(
            "the same beside less", rates["ksql/"], "plain SUM and MAX of one field", rates["lean"], note=lean
        ),
    ]


def _threads(place: Place, say: Say, *, is_quick: bool) -> list[Row]:
    seconds, turns = (5, 1) if is_quick else (120, 3)
    many, few = Load(SYMBOLS, seconds, PARTITIONS), Load(SYMBOLS, seconds, 1)
    rates = take_turns(
        {
            "1 thread": lambda: bars_per_s(place, many, {THREADS: "1"}),
            "2 threads": lambda: bars_per_s(place, many, {THREADS: "2"}),
            "1 partition": lambda: bars_per_s(place, few, {THREADS: "1"}),
        },
        turns,
        say,
    )
    note = "as above; queries, broker and load share the cores, so a small machine shows little of it"
    return [
        compared("two threads a query", rates["2 threads"], "one thread", rates["1 thread"], note=note),
        compared(
            "one partition", rates["1 partition"], f"{PARTITIONS} partitions", rates["1 thread"], note=note
        ),
    ]


def _latency(place: Place, say: Say, *, is_quick: bool) -> list[Row]:
    warm_s, for_s = (10.0, 10.0) if is_quick else (20.0, 60.0)
    late_ms = float(place.base.replay_max_late_ms)
    found: list[Row] = []
    for symbols in (5, 20):
        say(f"latency of {symbols} symbols: {warm_s:.0f} s to warm up, then {for_s:.0f} s")
        taken = measure(place, symbols, warm_s, for_s, {})
        say(taken.told())
        note = (
            f"{len(taken.visible):,} bars; a live feed with a tick of each symbol in every 10 ms, "
            "`glue.replay` and ksqlDB with the scripts as they are; append time of the bar's record, "
            "and wall clock at a read_committed reader, minus end_ts_ms"
        )
        for what, values in (("appended", taken.appended), ("visible", taken.visible)):
            for percent, name in ((50, "p50"), (95, "p95"), (100, "max")):
                value = percentile(values, percent)
                row = Row(
                    what=f"bar end to {what}, {taken.bins_per_s:,} bins/s, {name}",
                    measured=Measure(value, "ms"),
                    beside_what="earliest possible",
                    beside=Measure(late_ms, "ms"),
                    ratio=value / late_ms,
                    note=note if percent == 50 else "",
                )
                if (symbols, percent, what) == (5, 95, "visible"):
                    goal = f"below {MOST_BAR_MS} ms"
                    row = msgspec.structs.replace(row, goal=goal, is_met=value < MOST_BAR_MS)
                found.append(row)
    return found


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench.ksqldb",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", metavar="A,B", help=f"some of {', '.join(GROUPS)} (default: all)")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: it works, the numbers mean little")
    return parser


if __name__ == "__main__":
    run(main)
