"""What a real ksqlDB server gave, replayed through the local engine; and the scripts it was given by."""

import msgspec
import pytest

from glue.core.bars import BarBuilder, fold
from tests.contract import golden
from tests.contract.model import LATE_MS, differences

RECORD_ANEW = (
    "`make golden` with KSQLDB_URL set to a ksqlDB server records the bars anew; look at what changes in them"
)


@pytest.fixture(scope="module")
def recorded():
    return golden.read()


def local_bars(streams):
    """Return the bars that the local engine makes of the streams of all partitions."""
    bars = []
    for stream in streams:
        builder = BarBuilder(LATE_MS)
        bars += [fold(bins, None) for record in stream for bins in builder.add(record)]
        assert builder.open_bar_count == 0
    return bars


def test_the_scripts_are_those_that_the_bars_were_recorded_with(recorded):
    _, _, meta = recorded
    present = golden.script_hashes()
    changed = [name for name in sorted(present | meta.scripts) if present.get(name) != meta.scripts.get(name)]
    assert not changed, f"ksql/{', '.join(changed)} changed since {golden.META.name}. {RECORD_ANEW}"


def test_the_local_engine_gives_the_bars_that_the_server_gave(recorded):
    streams, bars, meta = recorded
    given = [msgspec.structs.asdict(bar) for bar in bars]
    for fields in given:
        del fields["ingest_ts_ms"], fields["source"]
    assert differences(given, local_bars(streams)) == [], f"recorded with ksqlDB {meta.server}. {RECORD_ANEW}"


def test_a_bar_that_is_not_the_servers_is_told(recorded):
    streams, bars, _ = recorded
    given = [msgspec.structs.asdict(bar) for bar in bars]
    given[7] |= {"volume": given[7]["volume"] * (1 + 1e-8)}
    found = differences(
        [{**g, "source": "aggregate", "ingest_ts_ms": None} for g in given], local_bars(streams)
    )
    assert [text.partition(":")[0] for text in found] == [given[7]["bar_id"]]


def test_the_recording_is_of_a_server_and_has_repeats_and_old_times(recorded):
    streams, bars, meta = recorded
    assert meta.server[0].isdigit()
    assert {bar.source for bar in bars} == {"ksqldb"}
    assert len({bar.bar_id for bar in bars}) == len(bars) > 200
    sent = [record.bin_id for stream in streams for record in stream if record.trade_count]
    assert len(sent) > 1.5 * len(set(sent))
    assert min(record.start_ts_ms for stream in streams for record in stream) < 1_300_000_000_000
