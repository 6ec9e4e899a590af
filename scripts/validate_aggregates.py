"""Check bins, bars and dead letters against each other and against the ticks, recomputed in SQL.

A second opinion: it shares no code with the pipeline. Exit 0 = no difference, 1 = any difference or a file
that cannot be read, 2 = wrong usage.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from pydantic import ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict
from validate.progress import Progress
from validate.rules import Rules, UnreadableError
from validate.run import Inputs, validate


class Defaults(BaseSettings):
    """What the worker was started with, unless an option says otherwise: environment, then .env."""

    model_config = SettingsConfigDict(env_file=".env", env_ignore_empty=True, extra="ignore")

    replay_max_late_ms: int = 500
    replay_symbol_skew_ms: int = 20
    replay_bin_ms: int = 10
    replay_max_jump_ms: int = 21_600_000


EXAMPLES = """\
examples:
  python scripts/validate_aggregates.py --bins logs/replay.jsonl --bars logs/aggregate.jsonl
      are these the bars of these bins?
  curl -N 'http://127.0.0.1:8000/ticks' > logs/ticks.jsonl
  python scripts/validate_aggregates.py --bins logs/replay.jsonl --bars logs/aggregate.jsonl \\
      --ticks logs/ticks.jsonl --dlt logs/replay_dlt.jsonl
      is every line of the feed in the bin or the dead letter that it belongs in?
"""


def parser(defaults: Defaults) -> argparse.ArgumentParser:
    """Return the command line's parser."""
    p = argparse.ArgumentParser(
        description=(__doc__ or "").split("\n")[0],
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument("--bins", type=Path, required=True, metavar="FILE", help="JSONL of glue.replay")
    p.add_argument("--bars", type=Path, required=True, metavar="FILE", help="JSONL of glue.aggregate")
    p.add_argument("--tolerance", type=float, default=1e-9, help="relative, for doubles (default: 1e-9)")
    p.add_argument("--json", action="store_true", help="one JSON object instead of tables")
    p.add_argument(
        "--examples", type=int, default=5, metavar="N", help="shown per kind of difference (default: 5)"
    )
    ticks = p.add_argument_group("ticks to bins and dead letters")
    ticks.add_argument(
        "--ticks",
        type=Path,
        nargs="+",
        metavar="FILE",
        help="the feed's lines as captured, one file after the other; or the kibot or binance file that was "
        "served undisturbed with --historical (several are merged by event time); .gz is unpacked",
    )
    ticks.add_argument("--dlt", type=Path, metavar="FILE", help="JSONL of dead letters; needed with --ticks")
    ticks.add_argument(
        "--ticks-format", choices=("ndjson", "kibot", "binance"), help="default: recognised by the first line"
    )
    ticks.add_argument(
        "--symbol",
        action="append",
        default=[],
        metavar="S",
        help="kibot, binance: once for all or once per file (default: the letters that its name begins with)",
    )
    ticks.add_argument(
        "--premarket",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="kibot: --no-premarket if only 09:30:00 to 16:00:00 New York time was served",
    )
    ticks.add_argument(
        "--mode",
        choices=("historical", "live"),
        help="of the feed; what the worker of a live one did with its clock cannot be recomputed: its dead "
        "letters are believed, watermarks and lateness not compared (default: its hello says, or historical)",
    )
    rules = p.add_argument_group(
        "what the worker was started with (default: environment or .env, else as shown)"
    )
    for option, value, text in (
        ("--max-late-ms", defaults.replay_max_late_ms, "L, REPLAY_MAX_LATE_MS"),
        ("--skew-ms", defaults.replay_symbol_skew_ms, "S, REPLAY_SYMBOL_SKEW_MS"),
        ("--bin-ms", defaults.replay_bin_ms, "REPLAY_BIN_MS"),
        ("--max-jump-ms", defaults.replay_max_jump_ms, "REPLAY_MAX_JUMP_MS"),
    ):
        rules.add_argument(option, type=int, default=value, metavar="MS", help=f"{text} ({value})")
    return p


def inputs_of(p: argparse.ArgumentParser, argv: list[str]) -> tuple[argparse.Namespace, Inputs]:
    """Parse and check the command line; exits with 2 and a message on a mistake."""
    args = p.parse_args(argv)
    rules = Rules(
        late_ms=args.max_late_ms,
        skew_ms=args.skew_ms,
        bin_ms=args.bin_ms,
        jump_ms=args.max_jump_ms,
        tolerance=args.tolerance,
    )
    if problem := rules.problem():
        p.error(problem)
    if bool(args.ticks) != bool(args.dlt):
        p.error("--ticks and --dlt go together: a tick is in a bin or in a dead letter")
    if len(args.symbol) > 1 and len(args.symbol) != len(args.ticks or []):
        p.error("--symbol: give it once, or once per file of --ticks")
    if args.examples < 1:
        p.error("--examples must be at least 1")
    return args, Inputs(
        bins=args.bins,
        bars=args.bars,
        rules=rules,
        ticks=args.ticks or [],
        dlt=args.dlt,
        layout=args.ticks_format,
        symbols=args.symbol,
        regular_hours=not args.premarket,
        mode=args.mode,
        examples=args.examples,
    )


def main(argv: list[str]) -> int:
    """Compare and report; return the exit code."""
    try:
        defaults = Defaults()
    except ValidationError as error:
        first = error.errors()[0]
        sys.stderr.write(f"error: {str(first['loc'][0]).upper()}: {first['msg']}\n")
        return 2
    args, inputs = inputs_of(parser(defaults), argv)
    try:
        with tempfile.TemporaryDirectory(prefix="validate-") as scratch, Progress(sys.stderr) as progress:
            report = validate(inputs, Path(scratch), progress)
    except UnreadableError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    if args.json:
        report.write_json(sys.stdout)
    else:
        report.write_tables(sys.stdout)
    return 1 if report.differences else 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
