"""Several statements in one request, which fakesnow leaves out: they run one after the other.

As in Snowflake, the binds are counted over all statements, the first failure ends the batch and is its
answer, and the batch goes on when its client is gone.
"""

import json
import secrets
from collections.abc import Sequence
from typing import Any

import fakesnow.server as server  # `from fakesnow import server` is a function
from fakesnow.converter import from_binding
from snowflake.connector.errors import Error, NotSupportedError, ProgrammingError
from sqlglot import TokenType, tokenize
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from glue.stack.fakesnow_gaps import as_sql_error
from glue.stack.snowflake_bodies import unpacked
from glue.stack.snowflake_refusals import SESSION_EXPIRED, refusal
from glue.stack.snowflake_session import Session

MULTI_STATEMENT_TYPE = 0xA000
HTTP_500 = 500


async def query(request: Request) -> Response:
    """Run a batch; leave a single statement to fakesnow."""
    session = server.sessions.get(request.headers.get("Authorization", "")[17:-1])
    if not isinstance(session, Session):
        return refusal(*SESSION_EXPIRED)
    try:
        content = json.loads(await unpacked(request))
        wanted = int((content.get("parameters") or {}).get("MULTI_STATEMENT_COUNT", 1))
        _check_count(content["sqlText"], wanted)
        if wanted == 1:
            answer = await server.query_request(request)
            if answer.status_code < HTTP_500:
                return answer
            return _failure(
                NotSupportedError(msg="the local Snowflake cannot run this", errno=2, sqlstate="0A000")
            )
    except Error as error:
        return _failure(error)
    except Exception as error:  # as HTTP 500 it would make drivers try again without an end
        return _failure(as_sql_error(error))
    bindings = content.get("bindings") or {}
    binds = [from_binding(bindings[str(i + 1)]) for i in range(len(bindings))]
    return await run_in_threadpool(_run, session, content["sqlText"], binds)


async def result(request: Request) -> Response:
    """Answer what became of the first statement of a batch: it succeeded, else the batch had failed."""
    query_id = request.path_params["query_id"]
    data = {"queryId": query_id, "rowtype": [], "rowset": [], "total": 0, "queryResultFormat": "json"}
    return JSONResponse({"data": data | {"parameters": []}, "success": True})


ROUTES = [
    Route("/queries/v1/query-request", query, methods=["POST"]),
    Route("/queries/{query_id}/result", result, methods=["GET"]),
]


def _check_count(sql: str, wanted: int) -> None:
    """Raise what Snowflake answers to none, or another number of statements than was announced; 0 is any."""
    count = len(statements(sql))
    if not count:
        raise ProgrammingError(msg="Empty SQL statement.", errno=900, sqlstate="42601")
    if wanted not in (0, count):
        raise ProgrammingError(
            msg=f"Actual statement count {count} did not match the desired statement count {wanted}.",
            errno=8,
            sqlstate="0A000",
        )


def _failure(error: Error) -> Response:
    code = f"{error.errno:06d}"
    data = {"errorCode": code, "sqlState": error.sqlstate}
    return JSONResponse({"data": data, "code": code, "message": error.msg, "success": False})


def statements(sql: str) -> list[tuple[str, int]]:
    """Return the statements of a text, each with the number of its binds."""
    found, start, binds, is_blank = [], 0, 0, True
    for token in tokenize(sql, read="snowflake"):
        if token.token_type == TokenType.SEMICOLON:
            if not is_blank:
                found.append((sql[start : token.start].strip(), binds))
            start, binds, is_blank = token.end + 1, 0, True
            continue
        is_blank = False
        binds += token.token_type == TokenType.PLACEHOLDER
    return found if is_blank else [*found, (sql[start:].strip(), binds)]


def _run(session: Session, sql: str, binds: Sequence[Any]) -> Response:
    cursor = session.cursor()
    ids = []
    session.begin_statement()  # one for the whole batch: its client is not silent in between
    try:
        for text, count in statements(sql):
            params, binds = tuple(binds[:count]), binds[count:]
            cursor.execute(text, binding_params=params or None, server=True)
            ids.append(cursor.sfqid or secrets.token_hex(8))
    except Error as error:
        if session.has_transaction and session.parameters.get("TRANSACTION_ABORT_ON_ERROR"):
            session.abandon()
            session.lock.release(session)
        return _failure(error)
    finally:
        session.end_statement()
    answer = {
        "resultIds": ",".join(ids),
        "queryId": secrets.token_hex(8),
        "statementTypeId": MULTI_STATEMENT_TYPE,
        "parameters": [],
        "rowtype": [],
        "rowset": [],
        "finalDatabaseName": session.database,
        "finalSchemaName": session.schema,
    }
    return JSONResponse({"data": answer, "success": True})
