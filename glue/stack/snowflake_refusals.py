"""Answers of the local Snowflake that refuse: a code of its own, as Snowflake's; mostly HTTP status 200."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

SESSION_EXPIRED = "390112", "Your session has expired. Please login again."
"""To a client whose session is not there: it asks for a new token, with its master token."""
NOT_RENEWED = "390114", "Authentication token has expired.  The user must authenticate again."


def refusal(code: str, text: str, status: int = 200) -> Response:
    """Return the answer with a code and a text."""
    content = {"data": {}, "code": code, "message": text, "success": False}
    return JSONResponse(content, status_code=status)


async def renew(_request: Request) -> Response:
    """Renew no session: one that is gone here has been idle for longer than its master token is valid."""
    return refusal(*NOT_RENEWED)
