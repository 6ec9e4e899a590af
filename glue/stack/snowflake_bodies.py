"""Bodies of requests to the local Snowflake, of any form."""

import gzip
import zlib
from typing import TypeVar

import msgspec
from starlette.requests import Request

T = TypeVar("T", bound=msgspec.Struct)


class Malformed(Exception):
    """A body that is no JSON, or not of the form that is asked for."""


async def unpacked(request: Request) -> bytes:
    """Return the body of a request, which drivers may send as gzip."""
    body = await request.body()
    return gzip.decompress(body) if request.headers.get("Content-Encoding") == "gzip" else body


async def read(request: Request, kind: type[T]) -> T:
    """Return the JSON of a request.

    Raises:
        Malformed: it is none, or none of this kind.
    """
    try:
        return msgspec.json.decode(await unpacked(request), type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, OSError, EOFError, zlib.error) as error:
        raise Malformed(str(error)) from None
