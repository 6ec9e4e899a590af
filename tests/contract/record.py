"""Record tests/golden/ksqldb anew, from the ksqlDB server of KSQLDB_URL: `make golden`."""

import argparse
import sys
import time

from glue.cli import run
from glue.errors import SettingsError, TapelineError
from glue.io.ksqldb import KsqlDb as Server
from glue.settings import Settings
from tests.contract import golden
from tests.contract.cases import plan
from tests.contract.engines import KsqlDb
from tests.contract.model import differences

SHOWN = 20


def main(argv: list[str]) -> int:
    """Run the golden cases on the server and write down what it made of them, if that is right."""
    argparse.ArgumentParser(
        prog="python -m tests.contract.record",
        description=__doc__,
        epilog="KSQLDB_URL is the server, KAFKA_BROKERS and SCHEMA_REGISTRY_URL what it is attached to.",
    ).parse_args(argv)
    settings = Settings.load()
    if not settings.ksqldb_url:
        raise SettingsError(
            "KSQLDB_URL is not set: the bars are recorded from a real ksqlDB server, e.g. "
            "KSQLDB_URL=http://127.0.0.1:8088 make golden"
        )
    began = time.monotonic()
    laid_out = plan(golden.recorded_cases(), golden.PARTITIONS)
    with Server(settings) as server:
        version = server.info()["version"]
        _say(f"ksqlDB {version} at {server.where}")
    outcome = KsqlDb(_say).run(laid_out)
    wrong = outcome.problems + [f"{bar.bar_id} belongs to no case" for bar in laid_out.strays(outcome.bars)]
    for name, place in laid_out.placed.items():
        wrong += [f"{name}: {d}" for d in differences(place.bars, laid_out.bars_of(name, outcome.bars))]
    if wrong:
        raise TapelineError(
            "nothing is recorded, the server's bars are not what the cases say:\n  "
            + "\n  ".join(wrong[:SHOWN])
        )
    golden.write(laid_out.streams, outcome.bars, version)
    bins = sum(map(len, laid_out.streams))
    _say(f"recorded {len(outcome.bars)} bars of {bins} records in {time.monotonic() - began:.0f} s")
    for path in (golden.BINS, golden.BARS, golden.META):
        _say(f"  {path.relative_to(golden.FOLDER.parents[2])}: {path.stat().st_size / 1024:.0f} KB")
    return 0


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    run(main)
