"""tests/golden/ksqldb: bins, and the bars that a real ksqlDB server made of them with ksql/*.sql."""

import gzip
import hashlib
from collections.abc import Sequence
from pathlib import Path

import msgspec

from glue.core.bars import Bar
from glue.core.bins import TickBin
from glue.deploy.scripts import KSQL_DIR
from tests.contract.cases import REPEATED, Case, Streams, by_partition, contract_cases
from tests.contract.feeds import DRAWN

FOLDER = Path(__file__).parents[1] / "golden" / "ksqldb"
BINS, BARS, META = FOLDER / "bins.jsonl.gz", FOLDER / "bars.jsonl.gz", FOLDER / "meta.json"
PARTITIONS = 2
"""Few, so that symbols share them, and more than one, so that stream time is not the same everywhere."""
LEFT_OUT = {"many symbols", "more disorder than the lateness", *(f"drawn {i}" for i in range(3, DRAWN))}
"""Cases that the contract suite runs and that would make the files large."""


class Meta(msgspec.Struct):
    """Where the bars are from."""

    origin: str
    server: str
    """Version of the ksqlDB server, as its /info says."""
    partitions: int
    """Of ticks.raw; the symbol says which one a bin was on."""
    scripts: dict[str, str]
    """SHA-256 of each script by its file name."""


def recorded_cases() -> list[Case]:
    """Return what is recorded: cases with deliberate repeats, which have the plain ones in them."""
    return [
        case
        for case in contract_cases(PARTITIONS)
        if case.name.endswith(REPEATED) and case.name.removesuffix(REPEATED) not in LEFT_OUT
    ]


def script_hashes() -> dict[str, str]:
    """Return the SHA-256 of each script that bars are made by, by its file name."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(KSQL_DIR.glob("*.sql"))
    }


def write(streams: Streams, bars: Sequence[Bar], server: str) -> None:
    """Write a recording over the last one."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for path, records in ((BINS, [record for stream in streams for record in stream]), (BARS, bars)):
        path.write_bytes(gzip.compress(msgspec.json.Encoder().encode_lines(records), 9, mtime=0))
    meta = Meta(
        origin="Cases of tests/contract with deliberate repeats, and the bars that a ksqlDB server made of "
        "them with the scripts of ksql/ (on topics of other names). Recorded by `make golden`.",
        server=server,
        partitions=PARTITIONS,
        scripts=script_hashes(),
    )
    META.write_bytes(msgspec.json.format(msgspec.json.encode(meta), indent=2) + b"\n")


def read() -> tuple[Streams, list[Bar], Meta]:
    """Return the recording: the bins of each partition, the bars in the order they came, their origin."""
    meta = msgspec.json.decode(META.read_bytes(), type=Meta)
    bins = msgspec.json.Decoder(TickBin).decode_lines(gzip.decompress(BINS.read_bytes()))
    bars = msgspec.json.Decoder(Bar).decode_lines(gzip.decompress(BARS.read_bytes()))
    return by_partition(bins, meta.partitions), bars, meta
