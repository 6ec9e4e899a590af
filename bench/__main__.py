"""Run the measurements and write bench/RESULTS*.md: `make bench`, `python -m bench --help`."""

import argparse
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from bench import connect, core, dashboard, engine, facts, latency, memory, sink
from bench.machine import Watch
from bench.report import Row, as_json, show, write
from bench.rounds import Say
from bench.stage import Stage, stage
from glue.cli import run
from glue.errors import SettingsError

ON_THE_STACK: dict[str, Callable[[Stage, Say, bool], list[Row]]] = {
    "kafka": lambda on, say, is_quick: sink.rows(on, say, is_quick=is_quick),
    "engine": lambda on, say, is_quick: engine.rows(on, say, is_quick=is_quick),
    "facts": lambda on, say, is_quick: facts.rows(on, say, is_quick=is_quick),
    "connect": lambda on, say, is_quick: connect.rows(on, say, is_quick=is_quick),
    "latency": lambda on, say, is_quick: latency.rows(on, say, is_quick=is_quick),
    "dashboard": lambda on, say, is_quick: dashboard.rows(on, say, is_quick=is_quick),
    "memory": lambda on, say, is_quick: memory.rows(on, say, is_quick=is_quick),
}
PLAIN_WIDTH = 160
GROUPS = ("core", *ON_THE_STACK)
HERE = Path(__file__).parent
DOCUMENTS = {
    HERE / "RESULTS.md": ("Results: ticks to bars", ("core", "kafka", "engine", "latency", "memory")),
    HERE / "RESULTS_SERVING.md": ("Results: warehouse and dashboard", ("facts", "connect", "dashboard")),
}
"""By file: its title, and the groups that have to be measured in full for it."""
DESCRIPTION = """\
Measure Tapeline, every number beside a plain version or a limit taken in the same run.
Writes bench/RESULTS.md, and bench/RESULTS_SERVING.md about facts, connect and dashboard: each when all of its
groups were measured in full.

  core     NDJSON to closed bins, in process, beside json + dict and beside msgspec alone
  kafka    bins to Kafka exactly once, beside librdkafka with serialized payloads
  engine   bins to 1 s bars, beside Quix Streams and beside reading and decoding alone
  facts    a flush of minute facts to the local Snowflake, beside executemany row by row
  connect  bar on Kafka to its row in the local Snowflake, through the Snowflake connector
  latency  bin closed to appended at 5,000 bins/s, bar end to visible, at live pace
  dashboard  memory of its cache, its start; append to paint, bytes and CPU at live pace, heap of a page
  memory   10,000 symbols and 3.6 M ticks: memory, and time per tick from first to last
"""


def main(argv: list[str]) -> int:
    """Measure, show the table, and write down what was measured in full."""
    options = _parser().parse_args(argv)
    groups = _groups(options.only)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: children and stack are stopped
    console = Console(stderr=options.json)
    if not console.is_terminal:
        console.width = PLAIN_WIDTH
    began = time.monotonic()

    def say(text: str) -> None:
        console.print(f"[dim]{time.monotonic() - began:4.0f} s[/]  {text}", highlight=False, soft_wrap=True)

    if "engine" in groups:
        engine.require_quix()
    say("looking at the machine")
    watch = Watch(is_quick=options.quick)
    try:
        rows = _measure(groups, say, is_quick=options.quick)
    except KeyboardInterrupt:
        say("stopped; nothing was written")
        return 130
    machine = watch.facts()
    all_rows = [row for of_group in rows.values() for row in of_group]
    if options.json:
        sys.stdout.write(as_json(all_rows, machine) + "\n")
    else:
        show(console, all_rows)
        for name, value in machine.items():
            console.print(f"[dim]{name}: {value}[/]", highlight=False, soft_wrap=True)
    for path, (title, wanted) in DOCUMENTS.items():
        if options.quick or not rows.keys() >= set(wanted):
            say(f"{path.name} is left as it is: it takes a full run of {', '.join(wanted)}")
        else:
            write(path, title, [row for group in wanted for row in rows[group]], machine)
            say(f"written to bench/{path.name}")
    return 0


def _measure(groups: tuple[str, ...], say: Say, *, is_quick: bool) -> dict[str, list[Row]]:
    rows = {"core": core.rows(say, is_quick=is_quick)} if "core" in groups else {}
    if groups != ("core",):
        say("starting Kafka and the schema registry in a temporary folder")
        with stage(say) as on:
            for name in groups:
                if name in ON_THE_STACK:
                    rows[name] = ON_THE_STACK[name](on, say, is_quick)
            say("stopping Kafka and the schema registry")
    return rows


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", metavar="A,B", help=f"some of {', '.join(GROUPS)} (default: all)")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: it works, the numbers mean little")
    parser.add_argument("--json", action="store_true", help="write rows and machine facts to stdout as JSON")
    return parser


def _groups(only: str | None) -> tuple[str, ...]:
    if only is None:
        return GROUPS
    wanted = {name.strip() for name in only.split(",")}
    unknown = sorted(wanted - set(GROUPS))
    if unknown or not wanted:
        raise SettingsError(f"--only: {', '.join(unknown)} is none of {', '.join(GROUPS)}")
    return tuple(name for name in GROUPS if name in wanted)


if __name__ == "__main__":
    run(main)
