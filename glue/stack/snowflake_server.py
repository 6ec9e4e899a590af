"""The process of the local Snowflake: fakesnow's server with logins, files and one writer at a time.

`python -m glue.stack.snowflake_server --port N`, started by `glue.stack up` in its own folder.
"""

import argparse
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import fakesnow.server as server  # `from fakesnow import server` is a function
import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from glue.cli import run
from glue.stack import snowflake_batch
from glue.stack import snowflake_refusals as refusals
from glue.stack.part import LOOPBACK
from glue.stack.snowflake_blobs import Blobs
from glue.stack.snowflake_bodies import Malformed, read
from glue.stack.snowflake_channels import Channels
from glue.stack.snowflake_roles import Roles
from glue.stack.snowflake_session import Session
from glue.stack.snowflake_store import SessionStore
from glue.stack.snowflake_streaming import Streaming
from glue.stack.snowflake_users import Credentials, LoginRefused, Users

DEFAULT_ROLE = "PUBLIC"
MALFORMED = "390400"
THREADS = 200
"""Statements at once; those that wait for the lock must leave some for its holder."""


class Login(msgspec.Struct, frozen=True):
    """Body of a login."""

    data: Credentials


async def login(request: Request) -> Response:
    """Check who logs in, then let fakesnow open the session, and keep its parameters."""
    known = request.app.state
    role = (request.query_params.get("roleName") or DEFAULT_ROLE).upper()
    try:
        data = (await read(request, Login)).data
        user = known.users.user_of(data)
        known.roles.check(user, role)
    except Malformed as error:
        return refusals.refusal(MALFORMED, f"Bad request: {error}", 400)
    except LoginRefused as refused:
        return refusals.refusal(refused.code, str(refused))
    answer = await server.login_request(request)
    content = json.loads(bytes(answer.body))
    session = server.sessions[content["data"]["token"]]
    assert isinstance(session, Session)  # noqa: S101 - for the type checker
    session.token = content["data"]["token"]
    session.user, session.role = user, role
    session.warehouse_name = (request.query_params.get("warehouse") or "").upper()
    session.parameters = {name.upper(): value for name, value in data.session_parameters.items()}
    session.save()
    content["data"]["sessionInfo"] = {
        "databaseName": session.database if session.database_set else None,
        "schemaName": session.schema if session.schema_set else None,
        "warehouseName": session.warehouse_name or None,
        "roleName": role,
    }
    return JSONResponse(content)


async def session(request: Request) -> Response:
    """Answer heartbeats, and close a session whose client says good-bye."""
    token = request.headers.get("Authorization", "")[17:-1]
    opened = server.sessions.get(token)
    if opened is None:
        return refusals.refusal(*refusals.SESSION_EXPIRED)
    answer = await server.session(request)
    if isinstance(opened, Session):
        if token in server.sessions:
            opened.save()
        else:
            opened.end()
    return answer


async def health(_request: Request) -> Response:
    """Answer once the databases are open."""
    return JSONResponse({"status": "ok"})


def application(folder: Path) -> Starlette:
    """Return the server over the databases of a folder."""
    users, roles = Users(folder), Roles(folder)
    store = SessionStore(folder, users, roles)
    server.shared_fs = store
    server.sessions.update(store.saved_sessions())

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        anyio.to_thread.current_default_thread_limiter().total_tokens = THREADS
        yield
        store.close()

    own: dict[str, Callable[[Request], Awaitable[Response]]] = {
        "/session/v1/login-request": login,
        "/session": session,
        "/session/heartbeat": session,
        "/session/token-request": refusals.renew,
    }
    more = [
        *(Route(path, answer, methods=["POST"]) for path, answer in own.items()),
        *snowflake_batch.ROUTES,
        *Streaming(users, Blobs(folder), Channels(store)).routes,
    ]
    routes = [route for route in server.routes if route.path not in {r.path for r in more}]
    routes += more
    app = Starlette(routes=[*routes, Route("/health", health)], lifespan=lifespan)
    app.state.users, app.state.roles = users, roles
    return app


def main(argv: list[str]) -> int:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m glue.stack.snowflake_server", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args(argv)
    logging.getLogger("sqlglot").setLevel(logging.ERROR)  # `unsupported syntax` of what is only acknowledged
    app = application(Path.cwd())
    uvicorn.run(app, host=LOOPBACK, port=options.port, log_level="info", access_log=False)
    return 0


if __name__ == "__main__":
    run(main)
