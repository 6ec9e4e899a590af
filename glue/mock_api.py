"""Serve ticks over HTTP as a live or historical NDJSON feed: recorded files or a synthetic market.

`GET /ticks` streams, `GET /health` answers with JSON. The protocol is in docs/ARCHITECTURE.md.
"""

import argparse
import asyncio
import sys
import time

from glue import log
from glue.cli import run
from glue.errors import SettingsError
from glue.feeds.feed import Disturbance, Feed, Keep
from glue.feeds.files import FileSource, TickFile
from glue.feeds.lines import Source
from glue.feeds.options import parser
from glue.feeds.server import serve
from glue.feeds.synthetic import SyntheticSource
from glue.settings import Settings


def main(argv: list[str]) -> int:
    """Serve until SIGINT or SIGTERM."""
    options = parser().parse_args(argv)
    settings = Settings.load(
        mock_api_host=options.host,
        mock_api_port=options.port,
        replay_speed=options.speed,
        feed_keep_minutes=options.keep_minutes,
    )
    _check(options, settings)
    log.configure(settings)
    feed = build_feed(options, settings)
    asyncio.run(serve(feed, settings.mock_api_host, settings.mock_api_port, _announce))
    return 0


def build_feed(options: argparse.Namespace, settings: Settings) -> Feed:
    """Open the source and set up the feed as the options say.

    Raises:
        TapelineError: a file is missing or not in its format.
    """
    is_live = _is_live(options)
    source = _source(options, survey=is_live)
    now_ms = time.time() * 1000
    return Feed(
        source,
        now_ms=lambda: time.time() * 1000,
        base_ms=(int(now_ms) if options.rebase_to is None else options.rebase_to) if is_live else None,
        speed=settings.replay_speed,
        disturbance=Disturbance(options.disorder_ms, options.late_rate, options.disturb_seed),
        keep=Keep(ms=settings.feed_keep_minutes * 60_000, bytes=settings.feed_keep_mb * 2**20),
    )


def _source(options: argparse.Namespace, *, survey: bool) -> Source:
    if options.synthetic:
        return SyntheticSource(
            options.symbols,
            rate=options.rate,
            seed=options.seed,
            start_ms=options.start,
            duration_s=options.duration,
        )
    symbols = options.file_symbols or [""]
    if len(symbols) == 1:
        symbols *= len(options.files)
    files = [
        TickFile(path, options.format, symbol, include_premarket=options.premarket)
        for path, symbol in zip(options.files, symbols, strict=True)
    ]
    return FileSource(files, loop=options.loop, survey=survey)


def _is_live(options: argparse.Namespace) -> bool:
    return bool(options.synthetic) if options.is_live is None else bool(options.is_live)


def _check(options: argparse.Namespace, settings: Settings) -> None:
    if bool(options.files) == options.synthetic:
        raise SettingsError("choose one source: --file F (more than once for several) or --synthetic")
    if options.synthetic and (options.file_symbols or options.loop or options.format):
        raise SettingsError("--symbol, --format and --loop go with --file; with --synthetic see --symbols")
    if options.files and options.duration is not None:
        raise SettingsError("--duration goes with --synthetic; a file ends by itself")
    if options.file_symbols and options.format == "ndjson":
        raise SettingsError("--symbol goes with kibot and binance files; NDJSON lines name their own")
    if len(options.file_symbols) > 1 and len(options.file_symbols) != len(options.files):
        raise SettingsError("give --symbol once for all files, or once for each --file in the same order")
    if _is_live(options):
        if settings.replay_speed != 1:
            raise SettingsError(
                f"--realtime goes with speed 1 only, not {settings.replay_speed:g}: "
                "leave out --speed and REPLAY_SPEED, or use --historical"
            )
    elif options.rebase_to is not None:
        raise SettingsError("--rebase-to goes with --realtime; a historical feed keeps its times")


def _announce(url: str) -> None:
    sys.stdout.write(f"serving {url}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    run(main)
