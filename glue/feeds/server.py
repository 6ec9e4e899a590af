"""The HTTP side of a feed: `GET /ticks`, `GET /health`."""

import asyncio
import errno
import re
import signal
import time
from collections.abc import AsyncIterator, Callable

import structlog
from aiohttp import web

from glue.core.ticks import is_symbol
from glue.errors import TapelineError
from glue.feeds.feed import Feed
from glue.feeds.stream import Stream
from glue.feeds.tape import TapeDropped

_KEEP_UP_S = 0.1
_LONG_CATCH_UP_S = 600
_SHUTDOWN_S = 0.5
_PARAMETERS = ("since_ms", "symbol")
_WHOLE_NUMBER = re.compile(r"-?\d{1,18}", re.ASCII)
log = structlog.get_logger()


class FeedServer:
    """Serves one feed to any number of clients at once."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._started_s = time.monotonic()
        self._streams: dict[Stream, asyncio.Task[object] | None] = {}
        self._is_stopping = False
        self._lines_served = 0

    def app(self) -> web.Application:
        """Build the aiohttp application."""
        app = web.Application()
        app.router.add_get("/ticks", self._ticks, allow_head=False)
        app.router.add_get("/health", self._health)
        app.cleanup_ctx.append(self._keep_up)
        app.on_shutdown.append(self._stop)
        return app

    async def _ticks(self, request: web.Request) -> web.StreamResponse:
        since_ms, symbols = self._parameters(request)
        try:
            await self._catch_up()
        except TapelineError as error:
            raise _refusal(web.HTTPServiceUnavailable, str(error)) from None
        response = web.StreamResponse(
            headers={"Content-Type": "application/x-ndjson", "Cache-Control": "no-store"}
        )
        try:
            stream = Stream(self._feed, response.write, since_ms=since_ms, symbols=symbols)
        except TapeDropped as error:
            raise _refusal(
                web.HTTPGone, str(error), parameter="since_ms", oldest_since_ms=error.oldest_since_ms
            ) from None
        client = log.bind(client=request.remote, since_ms=since_ms, symbols=",".join(symbols) or None)
        client.info("client connected")
        self._streams[stream] = asyncio.current_task()
        outcome = "client gone"
        try:
            await response.prepare(request)
            await stream.run()
            await response.write_eof()
            outcome = "feed ended"
        except ConnectionResetError:
            pass
        except TapeDropped:
            outcome = "client too slow: what comes next for it is no longer kept"
            _cut(request)
        except TapelineError as error:
            client.error("feed failed", reason=str(error))
            outcome = "feed failed"
            _cut(request)
        finally:
            del self._streams[stream]
            self._lines_served += stream.lines_sent
            if self._is_stopping:
                outcome = "server stops"
            client.info("client disconnected", reason=outcome, lines=stream.lines_sent)
        return response

    async def _health(self, _request: web.Request) -> web.Response:
        feed = self._feed
        symbols = feed.source.symbols
        if symbols is None and feed.shared is not None:
            symbols = feed.shared.encoder.symbols or None
        return web.json_response(
            {
                "status": "failed" if feed.shared is not None and feed.shared.failure else "ok",
                "feed_id": feed.feed_id,
                "mode": feed.mode,
                "speed": feed.speed,
                "symbols": symbols,
                "clients": len(self._streams),
                "lines_served": self._lines_served + sum(stream.lines_sent for stream in self._streams),
                "uptime_s": round(time.monotonic() - self._started_s, 3),
            }
        )

    def _parameters(self, request: web.Request) -> tuple[int | None, list[str]]:
        query = request.query
        for name in query:
            if name not in _PARAMETERS:
                raise _bad(name, f"unknown parameter {name[:40]!r}; known are {', '.join(_PARAMETERS)}")
        since = query.getall("since_ms", [])
        if len(since) > 1:
            raise _bad("since_ms", "since_ms may be given once")
        if since and not _WHOLE_NUMBER.fullmatch(since[0]):
            raise _bad("since_ms", f"since_ms must be whole milliseconds since 1970, got {since[0][:40]!r}")
        symbols = [symbol for value in query.getall("symbol", []) for symbol in value.split(",")]
        known = self._feed.source.symbols
        for symbol in symbols:
            if not is_symbol(symbol):
                raise _bad("symbol", f"symbol: {symbol[:40]!r} is no symbol")
            if known is not None and symbol not in known:
                shown = ", ".join(known[:20]) + (", ..." if len(known) > 20 else "")
                raise _bad("symbol", f"symbol {symbol} is not in this feed; it has {shown}")
        return int(since[0]) if since else None, symbols

    async def _stop(self, _app: web.Application) -> None:
        self._is_stopping = True
        for task in self._streams.values():
            if task is not None:
                task.cancel()

    async def _catch_up(self) -> None:
        """Live: make the lines due by now, so that the tape tells what is in the past."""
        feed, tape = self._feed, self._feed.shared
        if not feed.is_live or tape is None:
            return
        while (tape.last_due_ms or 0) <= feed.now_ms() and tape.grow():
            feed.trim()
            await asyncio.sleep(0)

    async def _keep_up(self, _app: web.Application) -> AsyncIterator[None]:
        """Run the clock of a live feed, also while nobody listens."""
        task = asyncio.create_task(self._run_clock()) if self._feed.is_live else None
        yield
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _run_clock(self) -> None:
        behind_s = round((self._feed.now_ms() - self._feed.first_wall_ms) / 1000)
        if behind_s > _LONG_CATCH_UP_S:
            log.info("catching up with the wall clock; clients wait for it", behind_s=behind_s)
        try:
            while True:
                await self._catch_up()
                self._feed.trim()
                await asyncio.sleep(_KEEP_UP_S)
        except TapelineError as error:
            log.error("feed failed", reason=str(error))  # noqa: TRY400 - a trace tells a user nothing


def _refusal(kind: type[web.HTTPException], text: str, **more: str | int) -> web.HTTPException:
    body = web.json_response({"error": text, **more}).text
    return kind(text=body, content_type="application/json")


def _bad(parameter: str, text: str) -> web.HTTPException:
    return _refusal(web.HTTPBadRequest, text, parameter=parameter)


def _cut(request: web.Request) -> None:
    """Break the connection so that the client cannot take it for a clean end."""
    if request.transport is not None:
        request.transport.abort()


async def serve(feed: Feed, host: str, port: int, announce: Callable[[str], None]) -> None:
    """Serve a feed until SIGINT or SIGTERM; tell `announce` the URL once clients can connect.

    Raises:
        TapelineError: the address cannot be listened on.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(signum, stop.set)
    runner = web.AppRunner(
        FeedServer(feed).app(),
        access_log=None,
        handle_signals=False,
        handler_cancellation=True,
        shutdown_timeout=_SHUTDOWN_S,
    )
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        try:
            await site.start()
        except OSError as error:
            raise TapelineError(_listen_problem(error, host, port)) from None
        announce(_url(host, site.port))
        await stop.wait()
    finally:
        await runner.cleanup()


def _listen_problem(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"port {port} of {host} is in use; choose another with --port or MOCK_API_PORT (0 = any free one)"
        )
    reason = error.strerror or str(error)
    return f"cannot listen on {host}, port {port}: {reason}; see --host and --port"


def _url(host: str, port: int) -> str:
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
    return f"http://{shown}:{port}/ticks"
