"""The report: tables for people, one object for programs."""

import json
from dataclasses import dataclass, field
from typing import IO, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from validate.checks import Finding

NOT_APPLICABLE = "n/a (historical feed)"


@dataclass(slots=True)
class Report:
    """Everything that one run found out."""

    totals: dict[str, int] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    latency: dict[str, dict[str, int] | None] = field(default_factory=dict)
    """bins / bars -> p50, p95, max of ingest_ts_ms - end_ts_ms in ms; None for a historical feed."""
    notes: list[str] = field(default_factory=list)

    @property
    def differences(self) -> int:
        """Differences of all checks."""
        return sum(finding.count for finding in self.findings)

    @property
    def verdict(self) -> str:
        """PASS or FAIL."""
        return "FAIL" if self.differences else "PASS"

    def last_line(self) -> str:
        """Say the outcome in one line."""
        compared = ", ".join(
            f"{self.totals[name]:,} {name}" for name in ("bars", "bins", "ticks") if name in self.totals
        )
        if not self.differences:
            return f"PASS: no difference in {compared}"
        kinds = ", ".join(f"{f.key} {f.count:,}" for f in self.findings if f.count)
        return f"FAIL: {self.differences:,} differences in {compared}: {kinds}"

    def write_json(self, stream: IO[str]) -> None:
        """Write one JSON object."""
        found = {
            "result": self.verdict,
            "differences": self.differences,
            "totals": self.totals,
            "checks": {f.key: {"count": f.count, "examples": f.examples} for f in self.findings},
            "latency_ms": {name: values or NOT_APPLICABLE for name, values in self.latency.items()},
            "notes": self.notes,
        }
        stream.write(json.dumps(found, indent=2) + "\n")

    def write_tables(self, stream: IO[str]) -> None:
        """Write tables, in colour on a terminal only."""
        console = Console(file=stream, highlight=False)
        if not console.is_terminal:
            console.width = 140
        console.print(_table("Read", ("", "count"), [(name, f"{n:,}") for name, n in self.totals.items()]))
        console.print(
            _table(
                "Checks",
                ("check", "what is counted", "differences", ""),
                [
                    (f.key, f.title, f"{f.count:,}", "[red]FAIL[/]" if f.count else "[green]ok[/]")
                    for f in self.findings
                ],
            )
        )
        for finding in self.findings:
            if finding.count:
                console.print(_examples(finding))
        console.print(
            _table(
                "Latency (ingest_ts_ms - end_ts_ms)",
                ("", "p50 ms", "p95 ms", "max ms"),
                [
                    (name, *(f"{v[q]:,}" for q in ("p50", "p95", "max")))
                    if v
                    else (name, NOT_APPLICABLE, "", "")
                    for name, v in self.latency.items()
                ],
            )
        )
        for note in self.notes:
            console.print(f"note: {escape(note)}")
        console.print(
            f"[bold {'red' if self.differences else 'green'}]{escape(self.last_line())}[/]", soft_wrap=True
        )


def _table(title: str, columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> Table:
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(
            column, justify="right" if column in ("count", "differences") or " ms" in column else "left"
        )
    for row in rows:
        table.add_row(*row)
    return table


def _examples(finding: Finding) -> Table:
    shown = (
        f"{len(finding.examples)} of {finding.count:,}" if finding.count > len(finding.examples) else "all"
    )
    rows = [tuple(escape(_text(value)) for value in example.values()) for example in finding.examples]
    return _table(f"{finding.key}: {finding.title} ({shown})", tuple(finding.examples[0]), rows)


def _text(value: Any) -> str:
    return "null" if value is None else str(value)
