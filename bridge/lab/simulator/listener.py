"""One listening socket that can be closed and opened again on the same port."""

from __future__ import annotations

import asyncio

from aiohttp import web

__all__ = ["Listener"]


class Listener:
    """Serves an application. Port 0 takes a free one; ``port`` then tells which."""

    def __init__(self, app: web.Application, host: str, port: int) -> None:
        self.host = host
        self.port = port
        # handler_cancellation: the only way to see that a client left while nothing is being sent to it.
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=1.0)
        self._site: web.TCPSite | None = None
        self._again: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """Scheme, host and port."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    async def start(self) -> None:
        """Listen. Raises OSError where the port is taken."""
        await self._runner.setup()
        await self.accept()

    async def accept(self) -> None:
        """Accept connections again, if they are refused now."""
        self._forget_again()
        if self._site is None:
            site = web.TCPSite(self._runner, self.host, self.port)
            await site.start()
            self._site = site
            self.port = self._runner.addresses[0][1]

    async def refuse(self, seconds: float | None = None) -> None:
        """Close the listening socket, for some time or until `accept`; open connections stay."""
        self._forget_again()
        if self._site is not None:
            site, self._site = self._site, None
            await site.stop()
        if seconds is not None:
            self._again = asyncio.create_task(self._accept_after(seconds), name="simulator accepts again")

    async def stop(self) -> None:
        """Close everything."""
        self._forget_again()
        await self._runner.cleanup()

    async def _accept_after(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        self._again = None  # this task itself, which `accept` would cancel
        await self.accept()

    def _forget_again(self) -> None:
        if self._again is not None:
            self._again.cancel()
            self._again = None
