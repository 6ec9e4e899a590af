"""The rows of the table, on the terminal, as JSON and as a document."""

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from bench.rounds import paired_ratio

HEADINGS = ("what", "measured", "beside", "ratio", "goal", "met")
INTRODUCTION = """\
Written by `make bench`; do not edit. Each row is beside a plain version or a limit that was measured in the
same run, the two taking turns, so the ratio means more than the numbers. Where there were several turns, the
median is shown with the lowest and the highest in brackets; the ratio is the median of the ratios within each
turn.
"""


class Measure(msgspec.Struct, frozen=True):
    """A number with its unit; `low` and `high` where it is the median of several turns."""

    value: float
    unit: str
    low: float | None = None
    high: float | None = None

    def __str__(self) -> str:
        text = _number(self.value, self.unit)
        if self.low is not None and self.high is not None:
            text += f" ({_number(self.low, '')} to {_number(self.high, '')})"
        return text


class Row(msgspec.Struct, frozen=True):
    """One line of the table. `is_met` is None for a row that has no goal; `note` says how it was taken."""

    what: str
    measured: Measure
    beside_what: str
    beside: Measure
    ratio: float
    goal: str = ""
    is_met: bool | None = None
    note: str = ""

    def cells(self) -> tuple[str, ...]:
        """Return the texts under HEADINGS."""
        met = {True: "yes", False: "missed", None: ""}[self.is_met]
        return (
            self.what,
            str(self.measured),
            f"{self.beside_what}: {self.beside}",
            f"{self.ratio:.2f}x",
            self.goal,
            met,
        )


def median(values: Sequence[float], unit: str) -> Measure:
    """Return the median of some turns with their spread."""
    if len(values) == 1:
        return Measure(values[0], unit)
    return Measure(statistics.median(values), unit, min(values), max(values))


def limited(what: str, value: float, unit: str, limit: float, *, note: str = "") -> Row:
    """Make the row of a value that is to stay below a limit."""
    return Row(
        what=what,
        measured=Measure(value, unit),
        beside_what="limit",
        beside=Measure(limit, unit),
        ratio=value / limit,
        goal=f"below {limit:g} {unit}",
        is_met=value < limit,
        note=note,
    )


def compared(
    what: str,
    ours: Sequence[float],
    beside_what: str,
    theirs: Sequence[float],
    *,
    unit: str = "/s",
    at_least: float | None = None,
    aim: str = "",
    note: str = "",
) -> Row:
    """Make the row of two things that took turns; the goal is a ratio of at least so much."""
    ratio = paired_ratio(ours, theirs)
    return Row(
        what=what,
        measured=median(ours, unit),
        beside_what=beside_what,
        beside=median(theirs, unit),
        ratio=ratio,
        goal="" if at_least is None else f"at least {at_least:g}x{aim}",
        is_met=None if at_least is None else ratio >= at_least,
        note=note,
    )


def show(console: Console, rows: Sequence[Row]) -> None:
    """Print the table."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in HEADINGS:
        table.add_column(name, justify="right" if name == "ratio" else "left", overflow="fold")
    for row in rows:
        colour = {True: "green", False: "red", None: ""}[row.is_met]
        *cells, met = row.cells()
        table.add_row(*cells, f"[{colour}]{met}[/]" if colour else met)
    console.print(table)


def as_json(rows: Sequence[Row], facts: Mapping[str, str]) -> str:
    """Return rows and facts as JSON."""
    return msgspec.json.format(msgspec.json.encode({"machine": facts, "rows": rows})).decode()


def write(path: Path, title: str, rows: Sequence[Row], facts: Mapping[str, str]) -> None:
    """Write a document."""
    path.write_text(document(title, INTRODUCTION, rows, facts))


def document(title: str, introduction: str, rows: Sequence[Row], facts: Mapping[str, str]) -> str:
    """Return the table, how it was taken and on what, as Markdown."""
    goals = [row for row in rows if row.is_met is not None]
    missed = [row.what for row in goals if not row.is_met]
    outcome = f"{len(goals) - len(missed)} of {len(goals)} goals met."
    if missed:
        outcome += f" Missed: {'; '.join(missed)}."
    parts = [
        f"# {title}\n",
        introduction,
        f"**{outcome}**\n",
        _markdown(HEADINGS, [row.cells() for row in rows]),
        "## How each row was taken\n",
        "".join(f"* **{row.what}**: {row.note}\n" for row in rows if row.note),
        "## The machine\n",
        _markdown(("", ""), list(facts.items())),
    ]
    return "\n".join(parts).rstrip() + "\n"


def _markdown(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def _number(value: float, unit: str) -> str:
    text = f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return text + (unit if unit.startswith("/") or not unit else f" {unit}")
