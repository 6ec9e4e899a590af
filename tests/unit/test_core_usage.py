"""The billed estimate: a minute at least each time the warehouse resumes, and the idle minute after work."""

from glue.core.usage import Use, billed_s


def use(end_s: float, execution_s: float) -> Use:
    return Use("rollup", round(end_s * 1000), execution_s)


def test_nothing_done_is_nothing_billed():
    assert billed_s([], 60) == 0


def test_work_is_billed_until_the_warehouse_suspends():
    assert billed_s([use(100, 2)], 60) == 62


def test_a_resume_is_billed_a_minute_at_least():
    assert billed_s([use(100, 2), use(1000, 1)], 5) == 120


def test_work_in_the_shadow_of_other_work_is_billed_once():
    assert billed_s([use(100, 10), use(95, 3), use(130, 10)], 60) == 100
