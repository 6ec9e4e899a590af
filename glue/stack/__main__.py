"""Run the embedded Kafka, registry, Snowflake and Connect: `python -m glue.stack up|down|status|logs`."""

import argparse
import signal
import sys
import time
from pathlib import Path
from types import FrameType

import msgspec
from rich import box
from rich.console import Console
from rich.table import Table

from glue.cli import run
from glue.deploy import steps
from glue.deploy.report import Report
from glue.errors import TapelineError, TransientError
from glue.settings import Settings, shown
from glue.stack import PartStatus, Stack
from glue.stack.reporter import TextReporter
from glue.stack.stack import PARTS

FOLLOW_EVERY_S = 0.2


def main(argv: list[str]) -> int:
    """Run one of the four commands."""
    arguments = _parser().parse_args(argv)
    signal.signal(signal.SIGTERM, _interrupt)
    stack = Stack(Settings.load(), reporter=TextReporter())
    try:
        match arguments.command:
            case "up":
                return _up(stack)
            case "down":
                return _down(stack, arguments.purge)
            case "status":
                return _status(stack, arguments.json)
            case _:
                return _logs(stack, arguments.name, arguments.n, arguments.follow)
    except OSError as error:  # a folder that cannot be written, a full disk
        raise TapelineError(str(error)) from None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m glue.stack",
        description="A real Kafka broker, a schema registry, a Snowflake, and Kafka Connect with the "
        "Snowflake connector, for this machine only. "
        "Logs, data and the chosen ports are kept in .tapeline/ of the current folder, where every Tapeline "
        "command finds them; downloaded files are kept in ~/.cache/tapeline (TAPELINE_CACHE_DIR).",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("up", help="start what does not run, wait until it is ready, create missing topics")
    down = commands.add_parser("down", help="stop everything; topics, schemas and tables are kept")
    down.add_argument("--purge", action="store_true", help="also delete topics, schemas, tables and logs")
    status = commands.add_parser("status", help="parts, ports and memory; exit code 1 unless all run")
    status.add_argument("--json", action="store_true", help="as one JSON document")
    logs = commands.add_parser("logs", help="the end of a part's log")
    logs.add_argument("name", choices=sorted(part.name for part in PARTS), help="the part")
    logs.add_argument("-f", "--follow", action="store_true", help="go on with what comes, until Ctrl-C")
    logs.add_argument("-n", type=_line_count, default=50, metavar="LINES", help="so many lines (50)")
    return parser


def _up(stack: Stack) -> int:
    began = time.monotonic()
    status = stack.up()
    _print_table(status)
    sys.stdout.write(f"up after {time.monotonic() - began:.1f} s; stop it with `python -m glue.stack down`\n")
    used = Settings.load()
    for name, endpoint in stack.endpoints().items():
        if (value := getattr(used, name.lower())) != endpoint:
            sys.stdout.write(
                f"note: {name} is {shown(value)} in your environment or .env, so commands run here use that "
                f"one; the embedded one is {shown(endpoint)}\n"
            )
    settings = stack.settings()
    if settings.ksqldb_url:
        return 1 if deploy_ksql(settings).has_drift else 0
    return 0


def deploy_ksql(settings: Settings) -> Report:
    """Give the ksqlDB of KSQLDB_URL, which is to be attached to this stack, its streams and queries.

    Raises:
        TapelineError: it does not answer, or refuses; with what a server for the stack needs.
    """
    report = Report()
    order = steps.Order(settings, report)
    try:
        steps.schemas(order)
        steps.ksql(order)
    except TransientError as error:
        raise TransientError(
            f"{error}\nThe stack is up, but ksqlDB makes no bars yet. A server for it needs "
            f"bootstrap.servers={settings.kafka_brokers} and "
            f"ksql.schema.registry.url={settings.schema_registry_url}; then `python -m glue.stack up` again"
        ) from None
    return report


def _down(stack: Stack, purge: bool) -> int:
    stopped = stack.down(purge)
    text = f"stopped {' and '.join(stopped)}" if stopped else "nothing was running"
    sys.stdout.write(f"{text}{'; data and logs deleted' if purge else ''}\n")
    return 0


def _status(stack: Stack, as_json: bool) -> int:
    status = stack.status()
    if as_json:
        document = {"parts": status, "endpoints": stack.endpoints()}
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(document)).decode() + "\n")
    else:
        _print_table(status)
        for part in status:
            if part.state == "died":
                sys.stdout.write(f"\nthe end of {part.log}:\n{stack.tail(part.name)}\n")
    return 0 if all(part.state == "running" for part in status) else 1


def _logs(stack: Stack, name: str, lines: int, follow: bool) -> int:
    log = stack.log(name)
    if lines:
        sys.stdout.write(stack.tail(name, lines) + "\n")
    if follow:
        try:
            _follow(log)
        except KeyboardInterrupt:
            sys.stdout.write("\n")
    return 0


def _follow(log: Path) -> None:
    position = log.stat().st_size
    while True:
        sys.stdout.flush()
        time.sleep(FOLLOW_EVERY_S)
        size = log.stat().st_size if log.exists() else 0
        if size < position:  # a new log was begun
            position = 0
        if size > position:
            with log.open("rb") as content:
                content.seek(position)
                sys.stdout.write(content.read(size - position).decode(errors="replace"))
            position = size


def _print_table(status: list[PartStatus]) -> None:
    table = Table(box=box.SIMPLE)
    for heading in ("part", "state", "pid", "ports", "memory", "up"):
        table.add_column(heading, justify="right" if heading in ("pid", "memory", "up") else "left")
    for part in status:
        table.add_row(
            part.name,
            part.state,
            str(part.pid or "-"),
            ", ".join(f"{purpose} {port}" for purpose, port in part.ports.items()) or "-",
            "-" if part.memory_mb is None else f"{part.memory_mb} MiB",
            "-" if part.uptime_s is None else f"{part.uptime_s} s",
        )
    Console().print(table)
    logs = (Path(part.log) for part in status)
    names = (log.relative_to(Path.cwd()) if log.is_relative_to(Path.cwd()) else log for log in logs)
    sys.stdout.write(f"logs: {', '.join(map(str, names))}\n")


def _line_count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of lines")
    return int(text)


def _interrupt(signum: int, frame: FrameType | None) -> None:
    """Let SIGTERM end a command as Ctrl-C does, so that `up` stops what it started."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    run(main)
