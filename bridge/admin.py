"""The HTTP server for probes, Prometheus and people. It only reads, and everything it says is masked."""

from __future__ import annotations

import asyncio
import json
import os
import time
from types import TracebackType
from typing import Any, Self

import structlog
from aiohttp import web

from bridge.admin_page import CONTENT_SECURITY_POLICY, Rates, render_page
from bridge.errors import ConfigurationError
from bridge.metrics import Metrics
from bridge.secrets import Secrets
from bridge.settings import AdminSettings
from bridge.status import WorkerStatus

__all__ = ["AdminServer"]

log = structlog.get_logger()

_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Server": "lens-bridge",  # instead of the versions of Python and aiohttp
}
_CLOSE_SECONDS = 1.0  # for requests that are being answered
_COMPRESS_CHUNK_BYTES = 64 * 1024  # larger bodies are compressed in a thread


class AdminServer:
    """``/livez``, ``/readyz``, ``/metrics``, ``/status`` and ``/``, as an async context manager."""

    def __init__(self, settings: AdminSettings, status: WorkerStatus, metrics: Metrics, secrets: Secrets) -> None:
        self._settings = settings
        self._status = status
        self._metrics = metrics
        self._secrets = secrets
        self._rates = Rates()
        self._runner: web.AppRunner | None = None

    @property
    def port(self) -> int:
        """The port listened on, also where the settings leave the choice to the system."""
        if self._runner is None:
            raise RuntimeError("the server does not listen")
        return int(self._runner.addresses[0][1])

    async def start(self) -> None:
        """Listen. Raises ConfigurationError where address or port cannot be had."""
        host, port = self._settings.host, self._settings.port
        runner = web.AppRunner(self._application(), access_log=None, shutdown_timeout=_CLOSE_SECONDS)
        await runner.setup()
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            await runner.cleanup()
            reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
            raise ConfigurationError(
                f"admin.host and admin.port (BRIDGE_ADMIN__HOST, BRIDGE_ADMIN__PORT): cannot listen on {host}:{port}: "
                f"{reason}; set another one"
            ) from error
        self._runner = runner
        log.info("admin.opened", host=host, port=self.port)

    async def close(self) -> None:
        """Stop listening; requests being answered get a second."""
        if self._runner is not None:
            runner, self._runner = self._runner, None
            await runner.cleanup()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def _application(self) -> web.Application:
        application = web.Application()
        application.add_routes(  # a GET route answers HEAD too, and refuses all else with 405
            [
                web.get("/livez", self._livez),
                web.get("/readyz", self._readyz),
                web.get("/metrics", self._show_metrics),
                web.get("/status", self._show_status),
                web.get("/", self._show_page),
            ]
        )
        application.on_response_prepare.append(_add_headers)
        return application

    async def _livez(self, _: web.Request) -> web.Response:
        """That the event loop answers is all that a restart could mend; Redis and the source do not matter here."""
        return self._json({"live": True})

    async def _readyz(self, _: web.Request) -> web.Response:
        reason = _not_ready(self._status)
        if reason is None:
            return self._json({"ready": True})
        return self._json({"ready": False, "reason": reason}, status=503)

    async def _show_metrics(self, request: web.Request) -> web.Response:
        # In a thread: a thousand sessions have 100,000 series, and the event loop has events to move.
        body, content_type = await asyncio.to_thread(self._metrics.render, request.headers.get("Accept", ""))
        response = web.Response(
            body=body, headers={"Content-Type": content_type}, zlib_executor_size=_COMPRESS_CHUNK_BYTES
        )
        response.enable_compression()
        return response

    async def _show_status(self, _: web.Request) -> web.Response:
        return self._json(self._status.as_json())

    async def _show_page(self, _: web.Request) -> web.Response:
        now = time.time()
        page = render_page(self._status, self._rates.at(time.monotonic(), self._status), _not_ready(self._status), now)
        return web.Response(text=self._secrets.mask(page), content_type="text/html")

    def _json(self, content: dict[str, Any], status: int = 200) -> web.Response:
        text = self._secrets.mask(json.dumps(content, indent=2)) + "\n"
        return web.Response(text=text, status=status, content_type="application/json")


def _not_ready(status: WorkerStatus) -> str | None:
    if status.ready:
        return None
    if status.stopping:
        return "the worker is stopping"
    if not status.redis_reachable:
        return f"Redis is not reachable: {status.redis_error or 'no reason known'}"
    return "the worker has not registered in Redis yet"


async def _add_headers(_: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(_HEADERS)
