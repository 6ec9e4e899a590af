"""The options of `glue.mock_api`: what each one means, and the values it takes."""

import argparse
import math
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from glue.core.ticks import is_symbol
from glue.feeds.files import FORMATS
from glue.feeds.kibot import NEW_YORK
from glue.feeds.market import DEFAULT_SYMBOLS, first_symbols

DEFAULT_RATE = 200.0
DEFAULT_START = "2024-03-04T09:30"
MAX_SYMBOLS = 10_000
_EXAMPLES = """\
examples:
  python -m glue.mock_api --synthetic
      a live market of six symbols, 200 ticks a second, at http://127.0.0.1:8000/ticks
  python -m glue.mock_api --file WDC_tickbidask.txt --speed 60
      a recorded day, sixty times as fast, from its start for each client
  python -m glue.mock_api --file BTCUSDT_trades.csv.gz --realtime --loop
      a recording as a live feed without an end
  python -m glue.mock_api --synthetic --historical --duration 300 --speed 0 --disorder-ms 800 --late-rate 0.01
      the same five minutes each time, as fast as it goes, lines in disorder and 1 in 100 late

  curl -N 'http://127.0.0.1:8000/ticks?symbol=WDC,AAPL&since_ms=1709562600000'
"""


def parser() -> argparse.ArgumentParser:
    """Build the command line."""
    root = argparse.ArgumentParser(
        prog="python -m glue.mock_api",
        description="Serve ticks over HTTP: recorded files or a synthetic market, live or as a replay.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    files = root.add_argument_group("files")
    files.add_argument(
        "--file", dest="files", metavar="F", action="append", type=Path, default=[],
        help="tick file, plain or .gz; give it again for more: one keeps its line order, several are merged "
        "by event time",
    )  # fmt: skip
    files.add_argument(
        "--format", choices=list(FORMATS), help="format of the files (default: recognised by the first line)"
    )
    files.add_argument(
        "--symbol", dest="file_symbols", metavar="S", action="append", default=[], type=_symbol,
        help="symbol of kibot and binance files, once for all or once per file (default: from the file name, "
        "WDC_tickbidask.txt -> WDC)",
    )  # fmt: skip
    files.add_argument(
        "--premarket", action=argparse.BooleanOptionalAction, default=True,
        help="kibot: serve all hours; --no-premarket serves the regular session only, 09:30:00 to 16:00:00 "
        "New York time (default: all hours)",
    )  # fmt: skip
    files.add_argument(
        "--loop",
        action="store_true",
        help="start over at the end; each pass adds the file's span to the times",
    )

    synthetic = root.add_argument_group("synthetic market")
    synthetic.add_argument("--synthetic", action="store_true", help="serve a seeded synthetic market")
    synthetic.add_argument(
        "--symbols", metavar="A,B|N", type=_symbols, default=list(DEFAULT_SYMBOLS),
        help=f"symbols, or how many (default: {','.join(DEFAULT_SYMBOLS)})",
    )  # fmt: skip
    synthetic.add_argument(
        "--rate", metavar="N", type=_positive, default=DEFAULT_RATE,
        help="ticks a second over all symbols, the average of a session; the first minute is about twice as "
        "busy (default: %(default)g)",
    )  # fmt: skip
    synthetic.add_argument(
        "--seed", type=int, default=1, help="same seed, same market (default: %(default)s)"
    )
    synthetic.add_argument(
        "--duration", metavar="S", type=_positive, help="seconds of market time (default: no end)"
    )
    synthetic.add_argument(
        "--start", metavar="T", type=_instant, default=DEFAULT_START,
        help="opening bell: YYYY-MM-DDTHH:MM[:SS] in New York, with an offset, or epoch milliseconds "
        "(default: %(default)s)",
    )  # fmt: skip

    clock = root.add_argument_group("clock")
    mode = clock.add_mutually_exclusive_group()
    mode.add_argument(
        "--realtime", dest="is_live", action="store_const", const=True,
        help="live: event times are moved to the wall clock once, at start (default with --synthetic)",
    )  # fmt: skip
    mode.add_argument(
        "--historical", dest="is_live", action="store_const", const=False,
        help="event times as recorded, paced for each client from its first line (default with --file)",
    )  # fmt: skip
    clock.add_argument(
        "--speed", metavar="X", type=_speed,
        help="historical: X times as fast as it happened, 0 = as fast as it goes (default: REPLAY_SPEED)",
    )  # fmt: skip
    clock.add_argument(
        "--rebase-to", metavar="MS", type=_instant,
        help="live: wall-clock time of the first line in epoch ms, so that a restarted server goes on as the "
        "same feed (default: now)",
    )  # fmt: skip

    disturbance = root.add_argument_group("disturbance (seeded)")
    disturbance.add_argument(
        "--disorder-ms", metavar="D", type=_count, default=0, help="delay each line by 0..D ms (default: 0)"
    )
    disturbance.add_argument(
        "--late-rate", metavar="R", type=_share, default=0.0,
        help="delay this share of the lines by 1000..5000 ms instead (default: 0)",
    )  # fmt: skip
    disturbance.add_argument(
        "--disturb-seed", metavar="SEED", type=int, default=1, help="same seed, same disturbance (default: 1)"
    )

    server = root.add_argument_group("server")
    server.add_argument("--host", help="address to listen on (default: MOCK_API_HOST, 127.0.0.1)")
    server.add_argument(
        "--port", metavar="P", type=_count, help="0 = any free one (default: MOCK_API_PORT, 8000)"
    )
    server.add_argument(
        "--keep-minutes", metavar="M", type=_count,
        help="live: how far back since_ms can go (default: FEED_KEEP_MINUTES, 60)",
    )  # fmt: skip
    return root


def _symbol(text: str) -> str:
    if not is_symbol(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no symbol (letters, digits and _./:-, at most 32)")
    return text


def _symbols(text: str) -> Sequence[str]:
    if text.isdigit():
        count = int(text)
        if not 1 <= count <= MAX_SYMBOLS:
            raise argparse.ArgumentTypeError(f"1 to {MAX_SYMBOLS} symbols, got {text}")
        return first_symbols(count)
    symbols = [_symbol(symbol) for symbol in text.split(",")]
    if len(set(symbols)) != len(symbols):
        raise argparse.ArgumentTypeError(f"a symbol is there twice in {text!r}")
    return symbols


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{text!r} is no number")
    return value


def _positive(text: str) -> float:
    value = _number(text)
    if value <= 0:
        raise argparse.ArgumentTypeError(f"must be above 0, got {text}")
    return value


def _speed(text: str) -> float:
    value = _number(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"must be 0 or more, got {text}")
    return value


def _share(text: str) -> float:
    value = _number(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"must be from 0 to 1, got {text}")
    return value


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"must be a whole number, 0 or more, got {text!r}")
    return int(text)


def _instant(text: str) -> int:
    if text.isdecimal():
        return int(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is neither YYYY-MM-DDTHH:MM:SS nor epoch milliseconds"
        ) from None
    return round((moment if moment.tzinfo else moment.replace(tzinfo=NEW_YORK)).timestamp() * 1000)
