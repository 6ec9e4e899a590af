"""The dashboard's numbers for programs: /api/bars/{symbol}, /api/symbols, /api/health, /metrics."""

from typing import Any

import msgspec
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, generate_latest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from webapp import metrics
from webapp.health import age_ms
from webapp.hub import Hub

MOST_DIGITS = 18


def routes(hub: Hub) -> list[Route]:
    """Return the routes, served from the hub's cache."""

    def bars(request: Request) -> Response:
        symbol = request.path_params["symbol"]
        if hub.cache.newest(symbol) is None:
            return _json({"error": f"no bars of {symbol}"}, 404)
        try:
            since_ms = _number(request, "since_ms")
            limit = _number(request, "limit")
        except ValueError as error:
            return _json({"error": str(error)}, 400)
        found = hub.cache.bars(symbol, since_ms)
        if limit is not None:
            found = found[-limit:] if limit else []
        return _json(
            {
                "symbol": symbol,
                "bars": [
                    msgspec.structs.asdict(c.bar) | {"append_ms": c.append_ms, "receive_ms": c.receive_ms}
                    for c in found
                ],
            }
        )

    def symbols(request: Request) -> Response:
        return _json({"symbols": hub.cache.symbols()})

    def health(request: Request) -> Response:
        condition, badges, facts = hub.board()
        return _json(
            {
                "condition": condition,
                "error": facts.error,
                "age_ms": age_ms(facts),
                "filled": round(facts.filled, 3),
                "symbols": hub.cache.symbol_count,
                "bars": facts.bar_count,
                "backlog": facts.backlog,
                "latency": facts.latencies,
                "dead_letters": dict(hub.dead_letters()),
                "badges": badges,
                "problems": list(hub.problems),
            }
        )

    def prometheus(request: Request) -> Response:
        _, _, facts = hub.board()
        age = age_ms(facts)
        metrics.AGE.set(float("nan") if age is None else age / 1000)
        metrics.BACKLOG.set(facts.backlog)
        metrics.CACHED.set(facts.bar_count)
        metrics.SYMBOLS.set(hub.cache.symbol_count)
        metrics.FILLED.set(facts.filled)
        metrics.CONNECTED.set(facts.is_connected)
        return Response(generate_latest(REGISTRY), media_type=CONTENT_TYPE_LATEST)

    return [
        Route("/api/bars/{symbol:path}", _on_loop(bars)),
        Route("/api/symbols", _on_loop(symbols)),
        Route("/api/health", _on_loop(health)),
        Route("/metrics", _on_loop(prometheus)),
    ]


def _on_loop(answer: Any) -> Any:
    """Answer on the event loop, where the cache belongs; Starlette would take a thread."""

    async def endpoint(request: Request) -> Response:
        response: Response = answer(request)
        return response

    return endpoint


def _number(request: Request, name: str) -> int | None:
    text = request.query_params.get(name)
    if text is None:
        return None
    if not text.isdecimal() or not text.isascii() or len(text) > MOST_DIGITS:
        raise ValueError(
            f"{name}: expected a whole number of {MOST_DIGITS} digits at most, not {text[:40]!r}"
        )
    return int(text)


def _json(content: object, status: int = 200) -> Response:
    return Response(
        msgspec.json.encode(content),
        status,
        media_type="application/json",
        headers={"cache-control": "no-store"},
    )
