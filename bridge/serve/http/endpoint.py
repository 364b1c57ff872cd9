"""The HTTP side: ``GET /streams`` says what there is, ``GET /streams/NAME`` gives it as Server-Sent Events."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Mapping
from urllib.parse import quote

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler

from bridge.serve.catalogue import Catalogue, Offer
from bridge.serve.figures import Ending, Figures, Refusal
from bridge.serve.frames import begin
from bridge.serve.http.doors import TokenKeeper, cors_headers
from bridge.serve.http.sending import Sender, SlowReaderError
from bridge.serve.hub import Hub
from bridge.serve.reader import Reader
from bridge.serve.reading import ReadFault
from bridge.serve.wishes import TOKEN_PARAMETER, Wish, WishError, wish_of
from bridge.settings import ServeSettings
from bridge.telemetry.connections import Connections

__all__ = ["HEADERS", "Endpoint"]

log = structlog.get_logger()

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "cross-origin",  # who may read is for CORS to say
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_STREAM_HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-cache, no-store, no-transform",
    "X-Accel-Buffering": "no",  # nginx would keep events back
}
_UNKEPT = {"Cache-Control": "no-store"}
_NONE: Mapping[str, str] = {}
_NOTHING = (
    "no session is known here, or serve.streams lets none through: "
    "give this server the workers' sessions (BRIDGE_SESSIONS, --sessions, or their file by --config)"
)
_STATUS = {Refusal.TOKEN: 401, Refusal.UNKNOWN: 404, Refusal.REQUEST: 400, Refusal.UNAVAILABLE: 503}


class Endpoint:
    """Answers requests. ``connections`` are those that they come over."""

    def __init__(
        self,
        settings: ServeSettings,
        catalogue: Catalogue,
        hub: Hub,
        tokens: TokenKeeper,
        figures: Figures,
        connections: Connections,
    ) -> None:
        self._settings, self._catalogue, self._hub = settings, catalogue, hub
        self._tokens, self._figures, self._connections = tokens, figures, connections
        self._open: set[asyncio.Task[object]] = set()
        self._stopping = False

    def application(self) -> web.Application:
        """What is served."""
        made = web.Application(middlewares=[self._guard])
        made.on_response_prepare.append(self._add_cors)
        made.add_routes(
            [
                web.get("/streams", self._list, allow_head=False),
                web.get("/streams/{name:[^/]+}", self._stream, allow_head=False),
            ]
        )
        return made

    async def stop(self, grace_seconds: float) -> None:
        """End every stream in good order, so that each reader comes again, here or elsewhere, behind what it has."""
        self._stopping = True
        for task in self._open:
            task.cancel()
        if self._open:
            await asyncio.wait(set(self._open), timeout=grace_seconds)

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Tokens and origins, for every path: who has no token learns of none."""
        if _preflight(request):
            return web.Response(status=204)
        if not self._tokens.takes(given := self._token_of(request)):
            challenge = {"WWW-Authenticate": 'Bearer realm="lens-bridge"'}
            told = "this is not the token" if given else "send the token as Authorization: Bearer ..."
            return self._refused(Refusal.TOKEN, told, challenge)
        try:
            return await handler(request)
        except web.HTTPException as error:
            where = "; GET /streams lists what there is" if error.status == 404 else ""
            return _told(error.status, error.reason.lower() + where, _allowed(error))

    async def _add_cors(self, request: web.Request, response: web.StreamResponse) -> None:
        """To refusals too: a page should see what is wrong."""
        response.headers.update(cors_headers(self._settings, request.headers, preflight=_preflight(request)))

    def _token_of(self, request: web.Request) -> str | None:
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return given.strip()
        return request.query.get(TOKEN_PARAMETER) if self._settings.token_in_query else None

    async def _list(self, request: web.Request) -> web.Response:
        offers = [_described(one) for one in await self._catalogue.all()]
        text = json.dumps({"streams": offers} if offers else {"streams": [], "hint": _NOTHING}, indent=2) + "\n"
        return web.Response(text=text, content_type="application/json", headers=_UNKEPT)

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        try:
            offer = await self._catalogue.find(request.match_info["name"])
        except ReadFault:
            # An EventSource gives up at this; it is answered so only where the name is not known from the settings.
            why = "Redis does not answer, and says not whether there is such a stream"
            return self._refused(Refusal.UNAVAILABLE, why, {"Retry-After": "5"})
        if offer is None:
            told = "there is no such stream; GET /streams lists them" if await self._catalogue.all() else _NOTHING
            return self._refused(Refusal.UNKNOWN, told)
        try:
            wish = wish_of(request.query.items(), request.headers.get("Last-Event-ID"), offer.only)
        except WishError as error:
            return self._refused(Refusal.REQUEST, str(error))
        return await self._send(request, offer, wish)

    async def _send(self, request: web.Request, offer: Offer, wish: Wish) -> web.StreamResponse:
        """Until one of both sides ends it. What is sent next is asked for only when the last of it is on its way."""
        response = web.StreamResponse(headers=_STREAM_HEADERS)
        self._connections.lasts(request.transport)
        figures, ending = self._figures.of(offer.name), Ending.LEFT
        task = asyncio.current_task()
        assert task is not None, "a handler runs in a task"
        self._open.add(task)
        figures.readers += 1
        try:
            sender = Sender(request, response, self._settings.write_timeout_seconds, figures)
            await response.prepare(request)
            async with self._hub.tail(offer.stream_key) as tail:
                reader = Reader(tail, wish, figures)
                try:
                    ending = await self._feed(sender, reader)
                finally:
                    await reader.close()
        except SlowReaderError:
            ending = Ending.SLOW
        except ConnectionError:
            ending = Ending.LEFT
        except asyncio.CancelledError:
            if not self._stopping:
                raise  # the client has closed it
            ending = Ending.STOPPED
        except Exception:
            ending = Ending.FAILED
            raise
        finally:
            self._open.discard(task)
            figures.readers -= 1
            self._figures.endings[ending] += 1
        return response

    async def _feed(self, sender: Sender, reader: Reader) -> Ending:
        settings = self._settings
        # Each its own, so that readers that were cut off together do not come back together.
        await sender.send(begin(settings.retry_seconds * random.uniform(1, 2)))
        ends_at = time.monotonic() + (settings.max_stream_seconds or float("inf"))
        while not self._stopping:
            left = ends_at - time.monotonic()
            if left <= 0:
                return Ending.EXPIRED
            await sender.send(await reader.next(min(settings.heartbeat_seconds, left)))
        return Ending.STOPPED

    def _refused(self, reason: Refusal, text: str, headers: Mapping[str, str] = _NONE) -> web.Response:
        self._figures.refusals[reason] += 1
        return _told(_STATUS[reason], text, headers)


def _preflight(request: web.Request) -> bool:
    """A browser asks whether it may ask; it sends no token with that."""
    return request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers


def _told(status: int, text: str, headers: Mapping[str, str]) -> web.Response:
    body = json.dumps({"error": text}) + "\n"
    return web.Response(status=status, text=body, content_type="application/json", headers={**headers, **_UNKEPT})


def _allowed(error: web.HTTPException) -> dict[str, str]:
    return {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}


def _described(offer: Offer) -> dict[str, object]:
    path = f"/streams/{quote(offer.name, safe=':')}"
    return {"name": offer.name, "path": path, "stream": offer.stream_key, "session_ids": list(offer.session_ids)}
