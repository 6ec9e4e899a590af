"""Snowpipe Streaming of the local Snowflake: the endpoints that the ingest SDK of the Kafka connector calls.

Every answer has HTTP status 200 and a status code of its own, as Snowflake's; who is unknown gets a 401.
"""

import logging
import secrets
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from glue.stack.snowflake_blobs import BlobRefused, Blobs
from glue.stack.snowflake_bodies import Malformed, read
from glue.stack.snowflake_channels import NO_CHANNEL, OK, RETRY, ChannelRefused, Channels
from glue.stack.snowflake_requests import Blob, Chunk, Configure, Drop, Open, Register, Status, Table
from glue.stack.snowflake_users import BAD_KEY, Users

DEPLOYMENT_ID = 1
MALFORMED = 11
Body = dict[str, Any]
R = TypeVar("R", bound=msgspec.Struct)

logger = logging.getLogger("uvicorn.error")


class Streaming:
    """Answers for one folder of blobs and the channels of one store."""

    def __init__(self, users: Users, blobs: Blobs, channels: Channels) -> None:
        self._users = users
        self._blobs = blobs
        self._channels = channels

    @property
    def routes(self) -> list[Route]:
        """The endpoints, and the one for telemetry, which is thrown away."""
        return [
            self._route("client/configure", Configure, self.configure),
            self._route("channels/open", Open, self.open),
            self._route("channels/status", Status, self.status),
            self._route("channels/drop", Drop, self.drop),
            self._route("channels/write/blobs", Register, self.register),
            Route("/telemetry/send/sessionless", _thanks, methods=["POST"]),
            Route("/telemetry/send", _thanks, methods=["POST"]),
        ]

    def configure(self, _request: Configure) -> Body:
        """Give a client a prefix of its own for its blobs, and the folder where they go."""
        stage: Body = {
            "locationType": "LOCAL_FS",
            "location": str(self._blobs.folder),
            "path": "",
            "creds": {},
            "region": None,
            "endPoint": None,
            "storageAccount": None,
            "presignedUrl": None,
            "isClientSideEncrypted": False,
            "useS3RegionalUrl": False,
        }
        return {
            "status_code": OK,
            "prefix": secrets.token_hex(8),
            "deployment_id": DEPLOYMENT_ID,
            "stage_location": stage,
        }

    def open(self, request: Open) -> Body:
        """Open a channel: the client owns it from now on, and learns what is committed."""
        table, name = request.place, request.channel
        channel, table_columns = self._channels.open(table, name, request.offset_token)
        return {
            "status_code": OK,
            "database": table.database,
            "schema": table.schema,
            "table": table.name,
            "channel": name,
            "client_sequencer": channel.client_sequencer,
            "row_sequencer": channel.row_sequencer,
            "offset_token": channel.offset_token,
            "table_columns": table_columns,
            "encryption_key": self._blobs.key_text,
            "encryption_key_id": self._blobs.key_id,
        }

    def status(self, request: Status) -> Body:
        """Tell what is committed through channels."""
        found: list[Body] = []
        for asked in request.channels:
            channel = self._channels.find(asked.place, asked.channel_name)
            if channel is None:
                found.append({"status_code": NO_CHANNEL})
                continue
            found.append(
                {
                    "status_code": OK,
                    "persisted_offset_token": channel.offset_token,
                    "persisted_client_sequencer": channel.client_sequencer,
                    "persisted_row_sequencer": channel.row_sequencer,
                }
            )
        return {"status_code": OK, "message": "Success", "channels": found}

    def drop(self, request: Drop) -> Body:
        """Forget a channel."""
        table, name = request.place, request.channel
        self._channels.drop(table, name, request.client_sequencer)
        names: Body = {
            "database": table.database,
            "schema": table.schema,
            "table": table.name,
            "channel": name,
        }
        return {"status_code": OK, "message": "Success", **names}

    def register(self, request: Register) -> Body:
        """Write the rows of blobs; every chunk is written or refused by itself."""
        answers = []
        for blob in request.blobs:
            chunks = [self._chunk(blob, chunk) for chunk in blob.chunks]
            answers.append({"chunks": chunks})
            codes = {channel["status_code"] for chunk in chunks for channel in chunk["channels"]}
            if RETRY not in codes:  # else the client asks for it once more
                self._discard(blob.path)
        self._blobs.prune()
        return {"status_code": OK, "message": "Success", "blobs": answers}

    def _chunk(self, blob: Blob, chunk: Chunk) -> Body:
        table, claims = chunk.place, chunk.channels
        message: str | None = None
        try:
            codes = self._channels.judge(table, claims)
            if codes is None:
                codes = self._write(blob, chunk, table)
        except (BlobRefused, ChannelRefused) as refused:
            logger.warning("chunk of %s refused with %d: %s", blob.path, refused.code, refused)
            codes, message = {claim.name: refused.code for claim in claims}, str(refused)
        return {
            "database": table.database,
            "schema": table.schema,
            "table": table.name,
            "channels": [
                {
                    "status_code": codes[claim.name],
                    "message": message,
                    "channel": claim.name,
                    "client_sequencer": claim.client_sequencer,
                }
                for claim in claims
            ],
        }

    def _write(self, blob: Blob, chunk: Chunk, table: Table) -> dict[str, int]:
        with self._blobs.parquet(
            blob.path,
            blob.md5,
            blob.bdec_version,
            chunk.chunk_start_offset,
            chunk.chunk_length,
            chunk.chunk_md5,
        ) as file:
            return self._channels.write(table, chunk.channels, file, chunk.eps.rows)

    def _discard(self, path: str) -> None:
        try:
            self._blobs.remove(path)
        except (BlobRefused, OSError):  # its name was refused, there is nothing to remove
            return

    def _route(self, path: str, kind: type[R], answer: Callable[[R], Body]) -> Route:
        async def serve(request: Request) -> Response:
            token = request.headers.get("Authorization", "").removeprefix("Bearer ")
            if self._users.signer(token) is None:
                code, text = BAD_KEY
                return JSONResponse({"code": code, "message": text, "success": False}, status_code=401)
            try:
                body = await read(request, kind)
            except Malformed as error:
                return JSONResponse({"status_code": MALFORMED, "message": str(error)})
            try:
                return JSONResponse(await run_in_threadpool(answer, body))
            except ChannelRefused as refused:
                logger.warning("%s refused with %d: %s", path, refused.code, refused)
                return JSONResponse({"status_code": refused.code, "message": str(refused)})

        return Route(f"/v1/streaming/{path}/", serve, methods=["POST"])


async def _thanks(_request: Request) -> Response:
    return JSONResponse({"success": True})
