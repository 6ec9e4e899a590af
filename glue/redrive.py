"""Send again what connectors refused: from ticks.connect.dlt to the topics it is from, each record once."""

import argparse
import sys
from collections import defaultdict
from collections.abc import Callable

import msgspec
from rich import box
from rich.console import Console
from rich.table import Table

from glue import log as logs
from glue.cli import StopSignal, run
from glue.core.connect_letters import Fate, stretches
from glue.io.connect_letters import Chunk, Redrive
from glue.progress import Progress
from glue.settings import Settings

DESCRIPTION = """\
Send again what connectors refused, once the cause is gone: a schema registry that was away, a column that was
missing. Each record on ticks.connect.dlt that was not sent again yet is appended, as it was, to the topic and
partition it is from, where its connector reads it once more. What still does not fit is refused once more: it
comes back as a new record on ticks.connect.dlt.

Each record is sent once, however often the command is run or killed: records and offsets are committed in one
transaction. One that cannot be sent, as its topic is gone or its headers do not say where it is from, stays,
and the next run looks at it again.
"""
MOST_ROWS, MOST_CHARACTERS = 30, 60
"""What the table tells of reasons and offsets; JSON has all."""


class Row(msgspec.Struct, frozen=True):
    """Records of one topic that were refused for one reason, and what becomes of them."""

    topic: str | None
    """Where they are from; None where that is not known."""
    reason: str
    fate: str
    records: int
    partition: int
    """Of ticks.connect.dlt, as are the offsets."""
    offsets: str


class Summary:
    """What becomes of the records."""

    def __init__(self) -> None:
        self.read = 0
        self._offsets: dict[tuple[Fate, str | None, str, int], list[int]] = defaultdict(list)

    def add(self, chunk: Chunk) -> None:
        """Take in what was done."""
        self.read += len(chunk.letters)
        for judged in chunk.letters:
            if judged.fate is not Fate.DONE:
                topic = judged.letter.origin.topic if judged.letter.origin else None
                key = (judged.fate, topic, judged.letter.reason, chunk.partition)
                self._offsets[key].append(int(judged.message.offset() or 0))

    @property
    def sent(self) -> int:
        """Return how many were sent."""
        return self._count(lambda fate: fate is Fate.SEND)

    @property
    def stay(self) -> int:
        """Return how many could not be sent."""
        return self._count(lambda fate: fate.is_held)

    def rows(self) -> list[Row]:
        """Return what becomes of the records, most of them first."""
        rows = [
            Row(topic, reason, fate.value, len(offsets), partition, ",".join(stretches(offsets)))
            for (fate, topic, reason, partition), offsets in self._offsets.items()
        ]
        return sorted(rows, key=lambda row: -row.records)

    def _count(self, is_meant: Callable[[Fate], bool]) -> int:
        return sum(len(offsets) for (fate, *_), offsets in self._offsets.items() if is_meant(fate))


def main(argv: list[str]) -> int:
    """Send the records again and tell what became of them."""
    options = _options(argv)
    settings = Settings.load(options.target)
    logs.configure(settings)
    stop, summary = StopSignal(), Summary()
    try:
        _send(settings, stop, summary, is_dry_run=options.dry_run)
    except BaseException:
        if summary.read:
            _show(summary, options, settings)
        raise
    _show(summary, options, settings)
    if stop:
        sys.stderr.write("interrupted; run the command again to go on\n")
        return 130
    return 1 if summary.stay else 0


def _send(settings: Settings, stop: StopSignal, summary: Summary, *, is_dry_run: bool) -> None:
    redrive = Redrive(settings, stop.__bool__, is_dry_run=is_dry_run)
    progress = Progress(
        "redrive", lambda: {"read": summary.read, "of": redrive.count, "sent": summary.sent}, ("read",)
    )
    try:
        for chunk in redrive.chunks():
            if stop:
                return
            if chunk.is_news and not is_dry_run:
                redrive.commit(chunk)
            summary.add(chunk)
            progress.tick()
    finally:
        progress.close()
        redrive.close()


def _show(summary: Summary, options: argparse.Namespace, settings: Settings) -> None:
    if options.json:
        told = {"topic": settings.kafka_topic_connect_dlt, "is_dry_run": options.dry_run}
        told |= {"sent": summary.sent, "stay": summary.stay, "records": summary.rows()}
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(told), indent=2).decode() + "\n")
        return
    rows = summary.rows()
    table = Table("from topic", box=box.SIMPLE)
    table.add_column("refused for", overflow="fold")
    table.add_column("records", justify="right")
    table.add_column("what becomes of them", overflow="fold")
    for row in rows[:MOST_ROWS]:
        offsets = row.offsets if len(row.offsets) < MOST_CHARACTERS else f"{row.offsets[:MOST_CHARACTERS]}…"
        offsets = f" (offsets {offsets})" if row.fate.startswith("stays") else ""
        table.add_row(row.topic or "unknown", row.reason, f"{row.records:,}", row.fate + offsets)
    console = Console(markup=False, highlight=False)
    if rows:
        console.print(table)
    if len(rows) > MOST_ROWS:
        sys.stdout.write(f"… and {len(rows) - MOST_ROWS} rows more; --json has all\n")
    verb = "would be sent" if options.dry_run else "sent"
    stay = f", {summary.stay:,} stay" if summary.stay else ""
    where = f"{summary.read:,} on {settings.kafka_topic_connect_dlt}"
    sys.stdout.write(f"records: {where}, {summary.sent:,} {verb} again{stay}\n")


def _options(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m glue.redrive",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Exit code 1: records stay, or no broker answers; 2: a setting or option cannot work.",
    )
    parser.add_argument("--dry-run", action="store_true", help="send nothing, tell what would be sent")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--target", metavar="NAME", help="read the settings from .env.NAME instead of .env")
    return parser.parse_args(argv)


if __name__ == "__main__":
    run(main)
