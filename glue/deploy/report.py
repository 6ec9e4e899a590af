"""What a deployment did: one line a thing while it works, a summary table or JSON in the end."""

import json
from dataclasses import asdict, dataclass
from typing import Literal

from rich.console import Console
from rich.markup import escape
from rich.table import Table

Change = Literal["created", "changed", "replaced", "dropped", "run"]
Planned = Literal[
    "would be created", "would be changed", "would be replaced", "would be dropped", "would be run"
]
OutcomeState = Change | Planned | Literal["exists", "not applied", "drift"]
COLOURS = {
    "created": "green",
    "changed": "green",
    "replaced": "green",
    "dropped": "yellow",
    "not applied": "yellow",
    "drift": "red",
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """One thing of the estate and what became of it."""

    step: str
    name: str
    state: OutcomeState
    detail: str = ""


class Report:
    """Collects outcomes and tells them as they come."""

    def __init__(self, *, is_dry_run: bool = False, on_stderr: bool = False) -> None:
        self.outcomes: list[Outcome] = []
        self.is_dry_run = is_dry_run
        self._console = Console(stderr=on_stderr, highlight=False, soft_wrap=True)

    def say(self, text: str) -> None:
        """Tell what is being done."""
        self._console.print(f"[dim]==> {escape(text)}[/]")

    def change(self, step: str, name: str, change: Change, detail: str = "") -> None:
        """Take a change that was made or, in a dry run, would be."""
        planned: dict[Change, Planned] = {
            "created": "would be created",
            "changed": "would be changed",
            "replaced": "would be replaced",
            "dropped": "would be dropped",
            "run": "would be run",
        }
        self._add(Outcome(step, name, planned[change] if self.is_dry_run else change, detail))

    def exists(self, step: str, name: str, detail: str = "") -> None:
        """Take a thing that is as it should be."""
        self._add(Outcome(step, name, "exists", detail))

    def not_applied(self, step: str, name: str, detail: str) -> None:
        """Take a thing that the server took notice of and cannot do."""
        self._add(Outcome(step, name, "not applied", detail))

    def drift(self, step: str, name: str, detail: str) -> None:
        """Take a thing that is not as it should be and was left so."""
        self._add(Outcome(step, name, "drift", detail))

    @property
    def has_drift(self) -> bool:
        """Whether something is not as it should be and was left so."""
        return any(outcome.state == "drift" for outcome in self.outcomes)

    def show(self) -> None:
        """Print all of it as a table."""
        table = Table("step", "name", "state", "detail", box=None, pad_edge=False, header_style="dim")
        for outcome in self.outcomes:
            table.add_row(outcome.step, outcome.name, _coloured(outcome.state), escape(outcome.detail))
        self._console.print()
        self._console.print(table)

    def to_json(self) -> str:
        """Return all of it as a JSON array of objects."""
        return json.dumps([asdict(outcome) for outcome in self.outcomes], indent=2)

    def _add(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)
        detail = f": {escape(outcome.detail)}" if outcome.detail else ""
        self._console.print(f"{outcome.step:8} {escape(outcome.name)} {_coloured(outcome.state)}{detail}")


def _coloured(state: str) -> str:
    colour = COLOURS.get(state)
    return f"[{colour}]{state}[/]" if colour else state
