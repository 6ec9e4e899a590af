"""What the warehouse's work costs: seconds of execution, and the seconds that are billed for them."""

from collections.abc import Iterable

import msgspec

LEAST_BILLED_S = 60.0
"""Snowflake bills a minute at least for each time a warehouse resumes."""


class Use(msgspec.Struct, frozen=True):
    """One piece of work on the warehouse. Wall time in ms, `execution_s` in seconds."""

    job: str
    at_ms: int
    """When it ended."""
    execution_s: float
    lag_ms: int | None = None
    """Of a flush of live bars: from the end of its window to its commit."""


def billed_s(uses: Iterable[Use], suspend_s: float) -> float:
    """Estimate the seconds that are billed.

    A warehouse resumes for work and suspends after `suspend_s` without; work at the same time is billed once.
    """
    total = 0.0
    from_s = until_s = None
    for start_s, end_s in sorted((use.at_ms / 1000 - use.execution_s, use.at_ms / 1000) for use in uses):
        if from_s is None or until_s is None or start_s > until_s:
            total += 0.0 if from_s is None or until_s is None else max(LEAST_BILLED_S, until_s - from_s)
            from_s, until_s = start_s, end_s + suspend_s
        else:
            until_s = max(until_s, end_s + suspend_s)
    return total + (0.0 if from_s is None or until_s is None else max(LEAST_BILLED_S, until_s - from_s))
