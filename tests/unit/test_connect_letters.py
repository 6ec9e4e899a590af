"""What connectors refused: what the headers say, what was sent again, what becomes of each."""

import pytest

from glue.core.connect_letters import (
    MOST_STRETCHES,
    NO_REASON,
    Fate,
    Letter,
    Origin,
    Sent,
    Sorter,
    stretches,
)
from glue.io.connect_letters import Unsent
from glue.levels import refused_level

BAR = Origin("ticks.agg.1s", 0, 41)
SAYS = {
    "topic": b"ticks.agg.1s",
    "partition": b"0",
    "offset": b"41",
    "connector.name": b"snowflake-core-1s",
    "stage": b"VALUE_CONVERTER",
    "exception.class.name": b"org.apache.kafka.connect.errors.DataException",
    "exception.message": b"Failed to deserialize data for topic ticks.agg.1s to Avro: \nmore of it",
    "exception.stacktrace": b"org.apache...\n\tat a.b\nCaused by: x.Outer: why\n\t... 9 more\n"
    b"Caused by: java.net.ConnectException: Connection refused\n\tat c.d\n",
}


def headers(**changed: bytes | None) -> list[tuple[str, bytes | None]]:
    """Return the headers of a letter, with a header of the record's own before them."""
    says = SAYS | {name.replace("_", "."): value for name, value in changed.items()}
    return [("trace-id", b"7"), *((f"__connect.errors.{name}", value) for name, value in says.items())]


def test_a_letter_says_where_it_is_from_and_why_and_keeps_the_headers_of_its_record():
    reason = "Failed to deserialize data for topic ticks.agg.1s to Avro: "
    reason += "java.net.ConnectException: Connection refused"
    assert Letter.read(headers()) == Letter(BAR, reason, [("trace-id", b"7")])


@pytest.mark.parametrize("nothing", [None, b"", b" \n"])
def test_without_a_message_the_class_of_the_exception_is_the_reason(nothing):
    found = headers(exception_message=nothing, exception_stacktrace=None)
    assert Letter.read(found).reason == "org.apache.kafka.connect.errors.DataException"


@pytest.mark.parametrize(
    "found",
    [
        None,
        [],
        [("trace-id", b"7")],
        headers(topic=None),
        headers(partition=b""),
        headers(offset=b"-1"),
        headers(offset="٤".encode()),
        headers(partition=b"\xff"),
    ],
)
def test_headers_that_do_not_say_where_it_is_from_are_no_error(found):
    letter = Letter.read(found)
    assert letter.origin is None
    assert letter.reason == (NO_REASON if not found or len(found) < 2 else letter.reason)


def test_what_was_sent_is_the_same_after_a_commit():
    sent = Sent(40, frozenset({3, 4, 5, 9, 38}))
    assert sent.metadata == "3-5,9,38"
    assert Sent.parse(40, sent.metadata) == sent
    assert [at for at in range(42) if not sent.has(at)] == [3, 4, 5, 9, 38, 40, 41]
    for nothing in (None, "", "by hand"):  # kafka-consumer-groups.sh resets offsets without metadata
        assert Sent.parse(7, nothing) == Sent(7)


def test_of_very_many_held_letters_the_newest_fit_into_the_metadata():
    far = 10**9
    sent = Sent(far + 10_000, frozenset(range(far, far + 10_000, 2)))
    assert len(sent.metadata) < 4_096
    assert len(Sent.parse(sent.offset, sent.metadata).held) == MOST_STRETCHES
    assert not Sent.parse(sent.offset, sent.metadata).has(far + 9_998)


@pytest.mark.parametrize(
    ("first", "end", "lacks"), [(0, 40, 3), (4, 40, 1), (0, 45, 8), (42, 45, 3), (38, 38, 0), (10, 40, 0)]
)
def test_what_is_unsent_of_a_stretch_is_counted_by_offsets(first, end, lacks):
    assert Sent(40, frozenset({3, 4, 2})).lacks(first, end) == lacks


def test_each_record_is_sent_once_whatever_stands_there_twice():
    sorter = Sorter({0: Sent(2, frozenset({1}))}, {"ticks.agg.1s": 1})
    other = BAR._replace(offset=50)
    fates = [sorter.fate(0, at, origin) for at, origin in enumerate([BAR, other, BAR, other, other])]
    assert fates == [Fate.DONE, Fate.SEND, Fate.REPEATED, Fate.REPEATED, Fate.REPEATED]


def test_where_what_was_committed_may_be_forgotten_nothing_is_sent():
    sorter = Sorter({0: Sent()}, {"ticks.agg.1s": 1})
    fates = [sorter.fate(0, 0, BAR, is_old=True), sorter.fate(0, 1, BAR)]
    assert fates == [Fate.TOO_OLD, Fate.REPEATED]
    assert not any(fate.is_held for fate in fates)


def test_what_has_no_place_is_held_and_sent_when_its_topic_is_there():
    gone, beyond = Origin("gone", 0, 1), BAR._replace(partition=1)
    sorter = Sorter({0: Sent()}, {"ticks.agg.1s": 1})
    fates = [sorter.fate(0, at, origin) for at, origin in enumerate([gone, beyond, None, BAR])]
    assert fates == [Fate.NO_PLACE, Fate.NO_PLACE, Fate.NO_ORIGIN, Fate.SEND]
    held = frozenset(at for at, fate in enumerate(fates) if fate.is_held)
    assert held == {0, 1, 2}

    later = Sorter({0: Sent(4, held)}, {"ticks.agg.1s": 2, "gone": 1})
    fates = [later.fate(0, at, origin) for at, origin in enumerate([gone, beyond, None, BAR])]
    assert fates == [Fate.SEND, Fate.SEND, Fate.NO_ORIGIN, Fate.DONE]


def test_offsets_in_a_row_are_told_as_stretches():
    assert stretches([]) == []
    assert stretches([9, 3, 2, 1, 5, 6]) == ["1-3", "5-6", "9"]


@pytest.mark.parametrize(
    ("unsent", "seen", "is_met"),
    [
        (None, "no topic for them", None),
        (Unsent(0), "0", True),
        (Unsent(1_234, "no Avro"), "1,234, the newest: no Avro", False),
    ],
)
def test_connectors_are_held_to_what_they_refused_and_nobody_sent_again(unsent, seen, is_met):
    level = refused_level(unsent)
    assert (level.seen, level.is_met) == (seen, is_met)


def test_a_long_reason_is_cut():
    assert len(refused_level(Unsent(1, "so " * 200)).seen) < 200
