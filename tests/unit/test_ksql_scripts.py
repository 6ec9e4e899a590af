"""The ksql scripts say what they are, and their literals are the defaults of worker and engine."""

import re
from pathlib import Path

import pytest

from glue.deploy.scripts import retention_ms
from glue.io.topics import WINDOW_RETENTION_MS
from glue.settings import Settings

SCRIPTS = sorted((Path(__file__).parents[2] / "ksql").glob("*.sql"))
OPERATORS = sorted((Path(__file__).parents[2] / "ksql" / "operators").glob("*.sql"))
DEFAULTS = Settings.model_fields


def head_of(text: str) -> str:
    """Return the comment that a script begins with."""
    return "\n".join(line for line in text.partition("\n\n")[0].splitlines() if line.startswith("--"))


def test_the_scripts_are_there_in_order():
    assert [path.stem for path in SCRIPTS] == ["01_ticks_raw", "02_bars_1s_windowed", "03_bars_1s"]
    assert [path.stem for path in OPERATORS] == ["10_bins_1m", "11_bars_1m", "12_dead_letters_1m"]


@pytest.mark.parametrize("path", SCRIPTS + OPERATORS, ids=lambda path: path.stem)
def test_a_script_begins_with_what_it_is(path):
    head = head_of(path.read_text())
    for what in ("Input:", "Key:", "Event time:", "Output:", "Grace:"):
        assert re.search(rf"^-- {what}\s+\S", head, re.MULTILINE), what


@pytest.mark.parametrize("path", SCRIPTS + OPERATORS, ids=lambda path: path.stem)
def test_a_script_names_every_column_and_topic(path):
    code = re.sub(r"--[^\n]*", "", path.read_text())
    assert "*" not in code.replace("COUNT(*)", "")
    assert code.count("CREATE ") == code.count("KAFKA_TOPIC = ") == code.count("VALUE_FORMAT = ")


def test_the_window_closes_when_the_watermark_rules_say():
    text = (SCRIPTS[1]).read_text()
    assert f"GRACE PERIOD {DEFAULTS['replay_max_late_ms'].default} MILLISECONDS)" in text
    assert f"-- Bin size:    {DEFAULTS['replay_bin_ms'].default} ms" in text
    assert retention_ms(text) == WINDOW_RETENTION_MS
    assert "EMIT FINAL" in text


def test_the_topics_are_the_defaults():
    topics = {topic for path in SCRIPTS for topic in re.findall(r"KAFKA_TOPIC = '([^']+)'", path.read_text())}
    raw, bars = (DEFAULTS[name].default for name in ("kafka_topic_raw", "agg_output_topic"))
    assert topics == {raw, bars, f"{bars}.bins", f"{bars}.windowed"}
