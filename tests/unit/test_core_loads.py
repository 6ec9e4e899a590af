"""When files of raw bins end and load: by the clock, in the shadow of other work where there is some."""

import pytest

from glue.core.loads import ASK_EVERY_MS, RETRY_MS, LoadSchedule

HOUR, WAIT = 3_600_000, 360_000
START = 500_000 * HOUR + 1_234_567


@pytest.fixture
def schedule() -> LoadSchedule:
    return LoadSchedule(HOUR, WAIT, START)


def asleep() -> bool | None:
    return False


def awake() -> bool | None:
    return True


def unknown() -> bool | None:
    return None


def never() -> bool | None:
    raise AssertionError("the warehouse was asked")


END = 500_001 * HOUR


def test_files_end_at_the_full_hour_once(schedule: LoadSchedule) -> None:
    assert not schedule.ends_files(END - 1)
    assert schedule.ends_files(END + 5)
    assert not schedule.ends_files(END + HOUR - 1)
    assert schedule.ends_files(END + HOUR)


def test_hours_that_were_missed_end_files_once(schedule: LoadSchedule) -> None:
    assert schedule.ends_files(END + 5 * HOUR + 3)
    assert not schedule.ends_files(END + 5 * HOUR + 4)


def test_without_files_to_load_nobody_is_asked(schedule: LoadSchedule) -> None:
    assert not schedule.is_due(START, never)


def test_a_load_waits_until_the_warehouse_is_awake(schedule: LoadSchedule) -> None:
    schedule.ends_files(END)
    assert not schedule.is_due(END, asleep)
    assert not schedule.is_due(END + ASK_EVERY_MS - 1, never)
    assert schedule.is_due(END + ASK_EVERY_MS, awake)


def test_it_waits_no_longer_than_a_flush_takes_to_come(schedule: LoadSchedule) -> None:
    schedule.ends_files(END)
    assert not schedule.is_due(END + WAIT - ASK_EVERY_MS, asleep)
    assert schedule.is_due(END + WAIT, never)


def test_where_nobody_knows_it_loads_at_once(schedule: LoadSchedule) -> None:
    schedule.ends_files(END)
    assert schedule.is_due(END, unknown)


def test_a_failure_is_tried_again_later_and_success_ends_it(schedule: LoadSchedule) -> None:
    schedule.want(START)
    assert schedule.is_due(START, awake)
    schedule.failed(START + 1)
    assert not schedule.is_due(START + RETRY_MS, never)
    assert schedule.is_due(START + 1 + RETRY_MS, awake)
    schedule.done()
    assert not schedule.is_due(START + HOUR, never)
