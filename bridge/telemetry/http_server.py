"""An HTTP server that lasts: an aiohttp application behind bounded connections, each of which carries one request."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from aiohttp import web
from aiohttp.typedefs import Handler

from bridge.errors import ConfigurationError
from bridge.telemetry.connections import Connections
from bridge.telemetry.listening import listen

__all__ = ["Address", "HttpServer"]

_CLOSE_SECONDS = 1.0  # for requests that are being answered


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where to listen, and what a person calls the settings that say so. Port 0 takes a free one."""

    host: str
    port: int
    settings: str


class HttpServer:
    """Serves an application. ``headers`` go with every answer; ``options`` are those of aiohttp's server."""

    def __init__(
        self,
        application: web.Application,
        address: Address,
        connections: Connections,
        headers: Mapping[str, str],
        **options: Any,
    ) -> None:
        self.connections = connections
        self._address = address
        self._headers = {**headers, "Connection": "close", "Server": "lens-bridge"}  # no versions of Python and aiohttp
        application.middlewares.insert(0, self._note_request)
        application.on_response_prepare.append(self._add_headers)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=_CLOSE_SECONDS, **options)
        self._servers: list[asyncio.Server] = []

    @property
    def port(self) -> int:
        """The port listened on, also where the settings leave the choice to the system."""
        if not self._servers:
            raise RuntimeError("the server does not listen")
        return int(self._servers[0].sockets[0].getsockname()[1])

    async def start(self) -> None:
        """Listen. Raises ConfigurationError where address or port cannot be had."""
        host, port = self._address.host, self._address.port
        await self._runner.setup()
        assert self._runner.server is not None
        self.connections.make = self._runner.server
        try:
            for one in await listen(host, port):
                loop = asyncio.get_running_loop()
                self._servers.append(await loop.create_server(self.connections, sock=one))
        except OSError as error:
            await self.close()
            reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
            raise ConfigurationError(
                f"{self._address.settings}: cannot listen on {host}:{port}: {reason}; set another one"
            ) from error

    def refuse(self) -> None:
        """Take no more connections; those that are open stay."""
        for server in self._servers:
            server.close()

    async def close(self) -> None:
        """Stop listening; requests being answered get a second."""
        self.refuse()
        self._servers = []
        await self._runner.cleanup()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @web.middleware
    async def _note_request(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        self.connections.asked(request.transport)
        return await handler(request)

    async def _add_headers(self, _: web.Request, response: web.StreamResponse) -> None:
        response.headers.update(self._headers)
        response.force_close()  # one request each: a silent one is then known to have nothing more to say
