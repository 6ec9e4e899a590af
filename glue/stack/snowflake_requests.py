"""What writers of Snowpipe Streaming send. Fields that the local Snowflake does not need are passed over."""

from dataclasses import dataclass
from typing import Annotated

import msgspec

from glue.stack.snowflake_columns import quoted

Text = Annotated[str, msgspec.Meta(pattern=r"^[^\0]*$")]
"""Neither SQL nor file names hold a NUL."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table by its three names."""

    database: str
    schema: str
    name: str

    @property
    def sql(self) -> str:
        """The table in SQL."""
        return ".".join(quoted(part) for part in (self.database, self.schema, self.name))


class OfTable(msgspec.Struct, frozen=True):
    """A request about a table; a name in quotes is taken as it is."""

    database: Text
    schema: Text
    table: Text

    @property
    def place(self) -> Table:
        """The table."""
        return Table(*(_plain(name) for name in (self.database, self.schema, self.table)))


class Open(OfTable, frozen=True, kw_only=True):
    """A client wants to own a channel, with an offset token of its own if it names one."""

    channel: Text
    offset_token: str | None = None


class Drop(OfTable, frozen=True, kw_only=True):
    """A channel is to be forgotten."""

    channel: Text
    client_sequencer: int | None = None


class Asked(OfTable, frozen=True, kw_only=True):
    """A channel whose state is asked for."""

    channel_name: Text


class Status(msgspec.Struct, frozen=True):
    """A client asks what is committed through channels."""

    channels: list[Asked] = []


class Configure(msgspec.Struct, frozen=True):
    """A client introduces itself."""


class Claim(msgspec.Struct, frozen=True):
    """A channel's part in a chunk, as its writer states it."""

    name: Text = msgspec.field(name="channel_name")
    client_sequencer: int
    row_sequencer: int
    offset_token: str | None = None


class Contents(msgspec.Struct, frozen=True):
    """What a chunk is said to hold."""

    rows: int


class Chunk(OfTable, frozen=True, kw_only=True):
    """Rows of one table in a blob: where they are, and which channels wrote them."""

    chunk_start_offset: int
    chunk_length: int
    chunk_md5: str = ""
    channels: list[Claim]
    eps: Contents


class Blob(msgspec.Struct, frozen=True):
    """A file of chunks below the folder of blobs."""

    path: Text = ""
    md5: str = ""
    bdec_version: int = 0
    chunks: list[Chunk] = []


class Register(msgspec.Struct, frozen=True):
    """Blobs are to be written into their tables."""

    blobs: Annotated[list[Blob], msgspec.Meta(min_length=1)]


def _plain(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name
