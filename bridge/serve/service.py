"""The process of ``lens-bridge serve``: builds it from its settings and runs it until a signal."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self

import structlog
from aiohttp import web
from redis.asyncio import RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from bridge import __version__
from bridge.masking import Secrets
from bridge.operations.redis_client import Client, open_client, whereabouts
from bridge.serve.catalogue import Catalogue
from bridge.serve.figures import Figures, Refusal, exposition
from bridge.serve.http.doors import TokenKeeper, check_openness
from bridge.serve.http.endpoint import HEADERS, Endpoint
from bridge.serve.hub import Hub
from bridge.serve.reading import ReadFault, Reads
from bridge.settings import ServeSettings, Settings
from bridge.telemetry.connections import Connections, Limits
from bridge.telemetry.http_server import Address, HttpServer
from bridge.worker.process import collect_garbage_seldom, heed_signals, raise_descriptor_limit, tell_shortage_once

__all__ = ["StreamServer", "serve"]

log = structlog.get_logger()

_LOOK_SECONDS = 1.0
_MOST_REDIS_CONNECTIONS = 10_000  # one for each stream that is read, and a few
_DRAIN_SECONDS = 5.0  # for readers that are slow to take the end of a stream
_TELL_SECONDS = 60.0
_ADMIN_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
_TEXT = "text/plain; version=0.0.4; charset=utf-8"
_OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"


async def serve(settings: Settings, secrets: Secrets) -> None:
    """Serve until a signal. Raises ConfigurationError for what only a person can mend; Redis may come and go."""
    stop = asyncio.Event()
    raise_descriptor_limit(settings.serve.max_connections)
    collect_garbage_seldom()
    tell_shortage_once(asyncio.get_running_loop())
    with heed_signals(stop, asyncio.Event(), who="serve"):
        async with StreamServer(settings, secrets):
            await stop.wait()
    log.info("serve.stopped")


class StreamServer:
    """All of it, as an async context manager; leaving it ends every stream in good order."""

    def __init__(self, settings: Settings, secrets: Secrets) -> None:
        check_openness(settings.serve)
        self._settings = settings
        self._tokens = TokenKeeper(settings.serve, secrets)
        self.figures = Figures(version=__version__)
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Raises ConfigurationError."""
        async with self._stack:
            await self._open(self._stack)
            self._stack = self._stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._streams.refuse()
        await self._endpoint.stop(_DRAIN_SECONDS)
        await self._stack.aclose()

    @property
    def port(self) -> int:
        """Of the streams."""
        return self._streams.port

    @property
    def admin_port(self) -> int:
        """Of probes and metrics."""
        return self._admin.port

    async def _open(self, stack: AsyncExitStack) -> None:
        settings, own, figures = self._settings, self._settings.serve, self.figures
        client = await stack.enter_async_context(open_client(settings.redis, most_connections=_MOST_REDIS_CONNECTIONS))
        _retry_here_alone(client)
        reads = Reads(client)
        hub = Hub(reads, own, figures)
        stack.callback(hub.close)
        connections = Connections(
            limits=Limits(connections=own.max_connections, per_address=own.max_connections_per_address),
            on_refused=_Refusals(figures),
        )
        catalogue = Catalogue(client, reads, settings)
        self._endpoint = Endpoint(own, catalogue, hub, self._tokens, figures, connections)
        # A handler ends with its client's connection, not with the next heartbeat that cannot be written.
        self._streams = HttpServer(
            self._endpoint.application(), _streams_address(own), connections, HEADERS, handler_cancellation=True
        )
        probes = _admin_application(figures, connections)
        self._admin = HttpServer(probes, _admin_address(settings), Connections(), _ADMIN_HEADERS)
        await stack.enter_async_context(self._admin)
        await stack.enter_async_context(self._streams)
        stack.callback(
            asyncio.create_task(_watch(reads, figures, whereabouts(settings.redis)), name="watch Redis").cancel
        )
        log.info(
            "serve.opened", host=own.host, port=self.port, admin_port=self.admin_port, token_asked=self._tokens.asked
        )


def _streams_address(own: ServeSettings) -> Address:
    named = "serve.host and serve.port (BRIDGE_SERVE__HOST, BRIDGE_SERVE__PORT)"
    return Address(host=own.host, port=own.port, settings=named)


def _admin_address(settings: Settings) -> Address:
    named = "admin.host and serve.admin_port (BRIDGE_ADMIN__HOST, BRIDGE_SERVE__ADMIN_PORT)"
    return Address(host=settings.admin.host, port=settings.serve.admin_port, settings=named)


def _retry_here_alone(client: Client) -> None:
    """Who reads tries again by itself, at once when Redis is back; of a cluster the client has to follow slots."""
    if not isinstance(client, RedisCluster):
        client.set_retry(Retry(NoBackoff(), 0))


async def _watch(reads: Reads, figures: Figures, where: str) -> None:
    """Know whether Redis answers, and say when that changes."""
    away: bool | None = None
    while True:
        try:
            await reads.ping()
            if away is not False:
                log.info("redis.reached", at=where)
            figures.redis_error, away = None, False
        except ReadFault as error:
            if not away:
                hint = (
                    "streams stay open and go on when it is back; check redis.url (BRIDGE_REDIS__URL) if it never was"
                )
                log.error("redis.unreachable", at=where, error=str(error), hint=hint)
            figures.redis_error, away = str(error), True
        await asyncio.sleep(_LOOK_SECONDS)


class _Refusals:
    """Counts connections that were closed for a limit, and says so once a minute."""

    def __init__(self, figures: Figures) -> None:
        self._figures = figures
        self._told_at = float("-inf")

    def __call__(self, of_address: bool) -> None:
        self._figures.refusals[Refusal.ADDRESS if of_address else Refusal.CONNECTIONS] += 1
        if time.monotonic() - self._told_at >= _TELL_SECONDS:
            self._told_at = time.monotonic()
            setting = "serve.max_connections_per_address" if of_address else "serve.max_connections"
            log.warning("connections.refused", limit=setting)


def _admin_application(figures: Figures, connections: Connections) -> web.Application:
    async def live(_: web.Request) -> web.Response:
        return web.json_response({"live": True})

    async def ready(_: web.Request) -> web.Response:
        if figures.redis_error is None:
            return web.json_response({"ready": True})
        return web.json_response({"ready": False, "reason": "Redis does not answer"}, status=503)

    async def metrics(request: web.Request) -> web.Response:
        figures.connections = len(connections)
        openmetrics = "application/openmetrics-text" in request.headers.get("Accept", "")
        body = "".join(exposition(figures, openmetrics=openmetrics)).encode()
        return web.Response(body=body, headers={"Content-Type": _OPENMETRICS if openmetrics else _TEXT})

    made = web.Application()
    made.add_routes([web.get("/livez", live), web.get("/readyz", ready), web.get("/metrics", metrics)])
    return made
