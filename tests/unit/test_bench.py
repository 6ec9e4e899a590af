"""The bench runs, and its plain version of the binner follows the same rules. Nothing here is timed."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from bench.core import DENSE, RULES, check
from bench.workload import disturbed, historical, live
from glue.core.binner import Binner
from glue.core.dead_letters import DeadLetter
from glue.feeds.market import first_symbols

ROOT = Path(__file__).parents[2]


def bench(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "bench", *args], cwd=ROOT, capture_output=True, text=True)


def test_a_quick_run_of_the_core_gives_rows_with_ratios_and_leaves_the_results_alone():
    before = [path.read_bytes() for path in sorted((ROOT / "bench").glob("RESULTS*.md"))]
    done = bench("--quick", "--only", "core", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert len(told["rows"]) == 7
    assert all(row["ratio"] > 0 and row["beside_what"] for row in told["rows"])
    assert told["machine"]["Python"]
    assert before == [path.read_bytes() for path in sorted((ROOT / "bench").glob("RESULTS*.md"))]


def test_an_unknown_group_is_refused_with_the_known_ones():
    done = bench("--only", "cores")
    assert done.returncode == 2
    assert "core, kafka, engine, facts, connect, latency, dashboard, memory" in done.stderr


@pytest.mark.parametrize("make", [historical, live])
@pytest.mark.parametrize("symbols", [DENSE, first_symbols(60)])
def test_the_plain_version_gives_what_the_binner_gives_on_a_feed_with_every_kind_of_bad_line(make, symbols):
    work = disturbed(make(symbols, 2_000, 8_000))
    check(work)
    binner = Binner(work.feed, RULES)
    outputs = [output for chunk, now_ms in work.chunks for output in binner.process(chunk, now_ms)]
    reasons = Counter(output.reason for output in outputs if isinstance(output, DeadLetter))
    kinds = {"late", "invalid"} | ({"closed"} if len(symbols) > 1 else set())
    kinds |= {"future"} if make is live else set()
    assert kinds <= reasons.keys()
