"""The HTTP server for probes, Prometheus and people. It only reads, and everything it says is masked."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Any, Self

import structlog
from aiohttp import web

from bridge.masking import Secrets
from bridge.settings import AdminSettings, MetricsDetail
from bridge.telemetry.connections import Connections
from bridge.telemetry.http_server import Address, HttpServer
from bridge.telemetry.metrics import Metrics
from bridge.telemetry.page.assets import CONTENT_SECURITY_POLICY
from bridge.telemetry.page.document import page_slices
from bridge.telemetry.page.rates import Rates
from bridge.telemetry.status import WorkerStatus

__all__ = ["AdminServer"]

log = structlog.get_logger()

_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_SLICE_SECONDS, _LONGEST_SLICE_SECONDS = 0.002, 0.01  # of writing an answer, before it is others' turn
_COMPRESS_CHUNK_BYTES = 64 * 1024  # larger bodies are compressed in a thread


class AdminServer:
    """``/livez``, ``/readyz``, ``/metrics``, ``/status`` and ``/``, as an async context manager."""

    def __init__(
        self,
        settings: AdminSettings,
        status: WorkerStatus,
        secrets: Secrets,
        detail: MetricsDetail = MetricsDetail.AUTO,
    ) -> None:
        self._settings = settings
        self._status = status
        self._metrics = Metrics(status, detail)
        self._secrets = secrets
        self._rates = Rates()
        address = Address(
            host=settings.host,
            port=settings.port,
            settings="admin.host and admin.port (BRIDGE_ADMIN__HOST, BRIDGE_ADMIN__PORT)",
        )
        self._server = HttpServer(self._application(), address, Connections(), _HEADERS)

    @property
    def port(self) -> int:
        """The port listened on, also where the settings leave the choice to the system."""
        return self._server.port

    def tell(self, detail: MetricsDetail) -> None:
        """Tell so much of each session from the next scrape on."""
        self._metrics.detail = detail

    async def start(self) -> None:
        """Listen. Raises ConfigurationError where address or port cannot be had."""
        await self._server.start()
        log.info("admin.opened", host=self._settings.host, port=self.port)

    async def close(self) -> None:
        """Stop listening; requests being answered get a second."""
        await self._server.close()

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
        return application

    async def _livez(self, _: web.Request) -> web.Response:
        """That the event loop answers is all that a restart could mend; Redis and the source do not matter here."""
        return self._json({"live": True})

    async def _readyz(self, _: web.Request) -> web.Response:
        reason = self._status.not_ready
        if reason is None:
            return self._json({"ready": True})
        return self._json({"ready": False, "reason": reason}, status=503)

    async def _show_metrics(self, request: web.Request) -> web.Response:
        slices, content_type = self._metrics.slices(request.headers.get("Accept", ""))
        return await _written(slices, content_type)

    async def _show_status(self, _: web.Request) -> web.Response:
        return await _written(self._masked(self._status.json_slices()), "application/json; charset=utf-8")

    async def _show_page(self, request: web.Request) -> web.Response:
        rates = self._rates.at(time.monotonic(), self._status)
        page = page_slices(self._status, rates, time.time(), every="all" in request.query)
        return await _written(self._masked(page), "text/html; charset=utf-8")

    def _masked(self, slices: Iterable[str]) -> Iterator[bytes]:
        """Piece by piece: what comes from outside stands within one."""
        return (self._secrets.mask(part).encode(errors="replace") for part in slices)

    def _json(self, content: dict[str, Any], status: int = 200) -> web.Response:
        text = self._secrets.mask(json.dumps(content, indent=2)) + "\n"
        return web.Response(text=text, status=status, content_type="application/json")


async def _written(slices: Iterable[bytes], content_type: str) -> web.Response:
    """An answer that is made while others have their turn: a thousand sessions take some tens of milliseconds.

    Not in a thread: that would take the interpreter from the event loop for 5 ms each time; slices leave it after two.
    """
    parts: list[bytes] = []
    began, slice_seconds = time.monotonic(), _SLICE_SECONDS
    for part in slices:
        parts.append(part)
        if (now := time.monotonic()) - began > slice_seconds:
            await asyncio.sleep(0)
            began = time.monotonic()
            # As long as the others took, so that a busy worker's page is ready in time too.
            slice_seconds = min(max(_SLICE_SECONDS, began - now), _LONGEST_SLICE_SECONDS)
    response = web.Response(
        body=b"".join(parts), headers={"Content-Type": content_type}, zlib_executor_size=_COMPRESS_CHUNK_BYTES
    )
    response.enable_compression()
    return response
