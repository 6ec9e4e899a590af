"""Start the parts in order, show bars, then rows of the warehouse, stop what was started: `make demo`.

`make` hands over TICKS, FORMAT, SPEED and DEMO_SECONDS as environment variables.
"""

import argparse
import os
import signal
import time
from contextlib import ExitStack, nullcontext
from pathlib import Path

from rich.console import Console
from rich.live import Live

from glue.cli import StopSignal, run
from glue.deploy.report import Report
from glue.deploy.steps import start_over
from glue.errors import SettingsError, TapelineError
from glue.settings import STATE_DIR
from glue.stack import Stack
from glue.stack.reporter import TextReporter
from scripts.demo import dashboard, warehouse
from scripts.demo.board import Board
from scripts.demo.child import Child

LOG_DIR = STATE_DIR / "logs"
DRAIN_DEADLINE_S = 60.0
PLAIN_EVERY_S = 5.0


class Demo:
    """One demo: starts the parts in order, shows bars and rows, stops what it started in reverse order."""

    def __init__(self, options: argparse.Namespace, stop: StopSignal) -> None:
        self._options = options
        self._stop = stop
        self._console = Console()
        self._children: list[Child] = []

    def run(self) -> None:
        """Run until the time is up, the feed has ended and all its bars are there, or a signal comes.

        Raises:
            TapelineError: a part does not start, or dies; or no bar gets into CORE.FACT_TICKS_1S.
        """
        has_dashboard = dashboard.is_built(self._say)
        with ExitStack() as cleanup:
            stack = Stack(reporter=TextReporter())
            was_up = any(part.state == "running" for part in stack.status())
            self._say("starting Kafka, the schema registry, Kafka Connect and the local Snowflake")
            stack.up()
            if not was_up:
                cleanup.callback(self._stop_stack, stack)
            settings = stack.settings()
            start_over(settings, Report())
            env = (
                os.environ
                | stack.endpoints()
                | {"KAFKA_PROPERTIES": "", "LOG_FORMAT": "json", "LOG_DIR": str(LOG_DIR)}
                | {"SNOWFLAKE_FLUSH_MINUTES": "1"}
            )
            (LOG_DIR / "replay_dlt.jsonl").unlink(missing_ok=True)
            cleanup.callback(self._stop_children)
            self._say("setting up the warehouse and the connectors")
            self._start("deploy", "all", env=env).wait()
            seconds_before = warehouse.count_of_seconds(settings)
            feed = self._start("mock_api", *self._feed_options(), env=env)
            url = feed.wait_for("serving ").split()[-1]
            worker = self._start("replay", "--url", url, env=env)
            if not settings.ksqldb_url:
                self._start("aggregate", env=env)
            loaders = [self._start(name, env=env) for name in ("rollup", "stage_raw")]
            if has_dashboard:
                self._say(f"dashboard {dashboard.start(settings, self._start, env)}")
            self._say(f"feed {url}; logs in {LOG_DIR}; Ctrl-C stops everything")
            board = Board(settings)
            cleanup.callback(board.close)
            self._show(board, worker)
            self._say("writing what is left to the warehouse")
            for child in (feed, worker, *loaders):
                child.stop()
            for name, *args in (("rollup", "--once", "--final"), ("stage_raw", "--once")):
                self._start(name, *args, env=env, is_last=True).wait()
            if board.bar_count and settings.connect_url:
                warehouse.await_seconds(settings, seconds_before)
            self._console.print(warehouse.newest_rows(settings))

    def _feed_options(self) -> list[str]:
        options = ["--port", "0"]
        if self._options.ticks:
            options += ["--file", self._options.ticks]
            options += ["--format", self._options.format] if self._options.format else []
        else:
            options += ["--synthetic"]
        return options + (["--speed", self._options.speed] if self._options.speed else [])

    def _start(self, name: str, *args: str, env: dict[str, str], is_last: bool = False) -> Child:
        child = Child(name, *args, log_dir=LOG_DIR, env=env, is_last=is_last)
        self._children.append(child)
        return child

    def _show(self, board: Board, worker: Child) -> None:
        until = time.monotonic() + self._options.seconds if self._options.seconds else float("inf")
        shown_at = 0.0
        drained_by = None
        with (
            Live(console=self._console, auto_refresh=False)
            if self._console.is_terminal
            else nullcontext() as live
        ):
            while not self._stop and time.monotonic() < until:
                board.update()
                for child in self._children:
                    child.check()
                if live is not None:
                    live.update(board.render(), refresh=True)
                elif time.monotonic() > shown_at + PLAIN_EVERY_S:
                    shown_at = time.monotonic()
                    self._say(board.summary())
                if worker.exit_code == 0:  # the feed is over: wait for the bars of its last ticks
                    taken = worker.ticks_taken()
                    if board.tick_count >= taken:
                        break
                    drained_by = drained_by or time.monotonic() + DRAIN_DEADLINE_S
                    if time.monotonic() > drained_by:
                        raise TapelineError(
                            f"{taken:,} ticks went in, {board.tick_count:,} are in bars; see {LOG_DIR}"
                        )
            if live is None:
                self._console.print(board.render())

    def _stop_children(self) -> None:
        self._say("stopping feed, worker, engine, loaders and dashboard")
        for child in self._children:
            child.stop()

    def _stop_stack(self, stack: Stack) -> None:
        self._say("stopping Kafka, the schema registry, Kafka Connect and the local Snowflake")
        stack.down()

    def _say(self, text: str) -> None:
        self._console.print(f"==> {text}", highlight=False, soft_wrap=True)


def main(argv: list[str]) -> int:
    """Read what `make demo` hands over and run the demo."""
    parser = argparse.ArgumentParser(prog="make demo", description="Run the pipeline, show its bars.")
    parser.add_argument("--ticks", default=os.environ.get("TICKS"), help="replay this file (TICKS)")
    parser.add_argument(
        "--format", default=os.environ.get("FORMAT"), help="kibot, binance or ndjson (FORMAT)"
    )
    parser.add_argument("--speed", default=os.environ.get("SPEED"), help="1 = as it happened (SPEED)")
    parser.add_argument(
        "--seconds", default=os.environ.get("DEMO_SECONDS", "0"), help="end by itself (DEMO_SECONDS)"
    )
    options = parser.parse_args(argv)
    if options.ticks and not Path(options.ticks).is_file():
        raise SettingsError(f"TICKS={options.ticks}: there is no such file")
    try:
        options.seconds = float(options.seconds)
    except ValueError:
        raise SettingsError(f"DEMO_SECONDS={options.seconds}: not a number of seconds") from None
    stop = StopSignal()
    signal.signal(signal.SIGHUP, lambda *_: os.kill(os.getpid(), signal.SIGTERM))  # the terminal was closed
    Demo(options, stop).run()
    return 0


if __name__ == "__main__":
    run(main)
