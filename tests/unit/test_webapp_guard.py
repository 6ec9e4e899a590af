"""Who may come in: basic auth, the cookie that stands for it, and pages of other origins."""

import asyncio
import base64

import pytest

from webapp.guard import COOKIE, Guard
from webapp.server import is_loopback

LOGIN = b"Basic " + base64.b64encode("ann:pässword".encode())


async def _app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})


def ask(guard, path="/", kind="http", **headers):
    sent = []

    async def receive():
        return {"type": f"{kind}.connect"}

    async def send(message):
        sent.append(message)

    given = [(name.encode().replace(b"_", b"-"), value) for name, value in headers.items()]
    asyncio.run(guard({"type": kind, "path": path, "headers": given}, receive, send))
    return sent[0]


def test_without_a_login_everybody_may_come_in():
    assert ask(Guard(_app))["status"] == 200


def test_with_a_login_it_is_asked_for():
    refused = ask(Guard(_app, "ann", "pässword"))
    assert refused["status"] == 401
    assert b"www-authenticate" in dict(refused["headers"])


@pytest.mark.parametrize("given", [b"", b"Basic", b"Basic xxx", b"Bearer " + LOGIN[6:], LOGIN[:-3]])
def test_a_wrong_login_is_refused(given):
    assert ask(Guard(_app, "ann", "pässword"), authorization=given)["status"] == 401


def test_a_login_opens_and_its_cookie_opens_the_live_connection_too():
    guard = Guard(_app, "ann", "pässword")
    answer = ask(guard, authorization=LOGIN)
    assert answer["status"] == 200
    cookie = dict(answer["headers"])[b"set-cookie"].split(b";")[0]
    assert ask(guard, kind="websocket", cookie=b"other=1; " + cookie)["status"] == 200
    assert ask(guard, kind="websocket")["code"] == 4401
    assert ask(guard, kind="websocket", cookie=f"{COOKIE}=guess".encode())["code"] == 4401
    assert ask(Guard(_app, "ann", "pässword"), cookie=cookie)["status"] == 401  # of another process


@pytest.mark.parametrize("path", ["/api/health", "/metrics"])
def test_health_and_metrics_are_open(path):
    assert ask(Guard(_app, "ann", "x"), path)["status"] == 200
    assert ask(Guard(_app, "ann", "x"), path + "/more")["status"] == 401


@pytest.mark.parametrize(("kind", "refused"), [("websocket", 4403), ("http", 403)])
@pytest.mark.parametrize("path", ["/", "/api/bars/WDC", "/api/health"])
def test_a_page_of_another_origin_gets_nothing(kind, refused, path):
    guard = Guard(_app)
    host = b"127.0.0.1:8050"
    assert ask(guard, path, kind, host=host)["status"] == 200
    assert ask(guard, path, kind, host=host, origin=b"http://127.0.0.1:8050")["status"] == 200
    for origin in (b"https://elsewhere.example", b"http://127.0.0.1:8051", b"null"):
        answer = ask(guard, path, kind, host=host, origin=origin)
        assert answer.get("status", answer.get("code")) == refused


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("10.0.0.7", False)],  # noqa: S104
)
def test_what_is_loopback(host, expected):
    assert is_loopback(host) is expected
