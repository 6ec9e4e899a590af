"""ksql scripts as data: what a user can paste into the ksql CLI, statement by statement."""

import pytest

from glue.deploy.scripts import KSQL_DIR, grace_ms, read_script, read_scripts, retention_ms, sink_retention_ms
from glue.errors import TapelineError
from glue.io.topics import topics
from glue.settings import Settings

STREAM = "CREATE STREAM {} (A STRING) WITH (KAFKA_TOPIC = 'a', VALUE_FORMAT = 'AVRO');"


def test_set_lines_hold_until_they_are_taken_back():
    script = read_script(
        "x.sql",
        f"SET 'a' = '1';\n{STREAM.format('ONE')}\nset 'b'='2'; UNSET 'a';\n{STREAM.format('TWO')}\n",
    )
    assert [(s.name, s.properties) for s in script.statements] == [("ONE", {"a": "1"}), ("TWO", {"b": "2"})]


def test_a_statement_knows_where_it_begins():
    script = read_script(
        "x.sql", f"-- head; not a statement\n\n/* two\nlines; */\n  {STREAM.format('ONE')}\n"
    )
    assert [(s.place, s.name) for s in script.statements] == [("x.sql:5", "ONE")]


def test_semicolons_and_dashes_in_quotations_end_nothing():
    text = "CREATE STREAM `a;--b` WITH (KAFKA_TOPIC = 'it''s; --x') AS SELECT A - B FROM C;"
    (statement,) = read_script("x.sql", text).statements
    assert (statement.name, statement.text, statement.is_query) == ("a;--b", text, True)


def test_names_are_as_ksqldb_knows_them():
    text = STREAM.format("lower").replace("CREATE", "create or replace")
    assert [s.name for s in read_script("x.sql", text).statements] == ["LOWER"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("\nDROP STREAM X;", r"x\.sql:2: expected SET, UNSET or CREATE, found `DROP STREAM X`"),
        ("\n\nCREATE STREAM X (A STRING)", r"x\.sql:3: the statement has no semicolon"),
        ("CREATE STREAM X AS SELECT 'a;", r"x\.sql:1: a quotation that begins here has no end"),
        ("CREATE STREAM X (A STRING) WITH (VALUE_FORMAT = 'AVRO');", r"x\.sql:1: .* names no KAFKA_TOPIC"),
    ],
)
def test_what_is_no_script_is_told_by_file_and_line(text, says):
    with pytest.raises(TapelineError, match=says):
        read_script("x.sql", text)


def test_the_hash_knows_text_and_properties_but_not_the_layout():
    one, two, three = (
        read_script("x.sql", text).statements[0].hash
        for text in (
            f"SET 'a' = '1';\n{STREAM.format('X')}",
            f"SET 'a' = '1';\n-- why\n{STREAM.format('X').replace(' WITH', '  WITH')}",
            f"SET 'a' = '2';\n{STREAM.format('X')}",
        )
    )
    assert one == two != three


def test_windows_tell_their_grace_and_retention_in_ms():
    window = "WINDOW TUMBLING (SIZE 1 SECONDS, RETENTION 2 HOURS, GRACE PERIOD 3 SECONDS)"
    assert (grace_ms(window), retention_ms(window)) == (3_000, 7_200_000)
    assert (grace_ms("SELECT"), retention_ms("SELECT")) == (None, None)


def test_scripts_take_the_settings_topics_and_partitions_and_the_registrys_schema():
    settings = Settings(kafka_topic_raw="my.raw", agg_output_topic="my.bars", kafka_agg_partitions=4)
    statements = [s for script in read_scripts(KSQL_DIR, settings, 7) for s in script.statements]
    topics = ["my.raw", "my.bars.bins", "my.bars.windowed", "my.bars.windowed", "my.bars"]
    assert [s.topic for s in statements] == topics
    assert "PARTITIONS = 4," in statements[-1].text
    assert "VALUE_SCHEMA_ID = 7" in statements[-1].text
    assert "VALUE_SCHEMA_FULL_NAME" not in statements[-1].text


def test_scripts_without_a_schema_id_are_the_files_themselves():
    for script in read_scripts(KSQL_DIR, Settings(ksqldb_url="http://x")):
        text = (KSQL_DIR / script.name).read_text()
        assert all(" ".join(s.text.split())[:60] in " ".join(text.split()) for s in script.statements)


@pytest.mark.parametrize("kept_ms", [1_800_000, 3_600_000, 7_200_000])
def test_the_topics_of_queries_keep_what_their_statements_say(kept_ms):
    settings = Settings(ksqldb_url="http://x", kafka_retention_ms=kept_ms, agg_output_topic="my.bars")
    wanted = {topic.name: int(topic.config.get("retention.ms", 0)) for topic in topics(settings)}
    for script in read_scripts(KSQL_DIR, settings):
        for statement in filter(lambda s: s.is_query, script.statements):
            assert sink_retention_ms(statement.text) == wanted[statement.topic]
            assert wanted[statement.topic] >= (retention_ms(statement.text) or 0)  # ksqlDB refuses less
