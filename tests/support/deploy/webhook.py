"""Where alerts arrive: an HTTP server that keeps what an Alertmanager sends."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Any, Self

from aiohttp import web

__all__ = ["Webhook"]


class Webhook:
    """An async context manager. ``alerts`` has every alert received, with ``arrived`` in monotonic seconds."""

    def __init__(self) -> None:
        self.alerts: list[dict[str, Any]] = []
        self.url = ""
        application = web.Application()
        application.add_routes([web.post("/alerts", self._take)])
        self._runner = web.AppRunner(application, access_log=None)

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/alerts"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._runner.cleanup()

    def of(self, name: str, status: str = "firing") -> list[dict[str, Any]]:
        """The alerts of one name, oldest first."""
        return [one for one in self.alerts if one["labels"]["alertname"] == name and one["status"] == status]

    async def _take(self, request: web.Request) -> web.Response:
        message = await request.json()
        arrived = time.monotonic()
        self.alerts += [{**one, "arrived": arrived} for one in message["alerts"]]
        return web.Response()
