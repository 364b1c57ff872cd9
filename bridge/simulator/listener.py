"""One listening socket that can be closed and opened again on the same port."""

from __future__ import annotations

import ssl

from aiohttp import web

__all__ = ["Listener"]


class Listener:
    """Serves an application. Port 0 takes a free one; ``port`` then tells which."""

    def __init__(self, app: web.Application, host: str, port: int, tls: ssl.SSLContext | None = None) -> None:
        self.host = host
        self.port = port
        self.scheme = "http" if tls is None else "https"
        self._tls = tls
        # handler_cancellation: the only way to see that a client left while nothing is being sent to it.
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=1.0)
        self._site: web.TCPSite | None = None

    @property
    def url(self) -> str:
        """Scheme, host and port."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"

    async def start(self) -> None:
        """Listen. Raises OSError where the port is taken."""
        await self._runner.setup()
        await self.accept()

    async def accept(self) -> None:
        """Accept connections again, if they are refused now."""
        if self._site is None:
            site = web.TCPSite(self._runner, self.host, self.port, ssl_context=self._tls)
            await site.start()
            self._site = site
            self.port = self._runner.addresses[0][1]

    async def refuse(self) -> None:
        """Close the listening socket; open connections stay."""
        if self._site is not None:
            site, self._site = self._site, None
            await site.stop()

    async def stop(self) -> None:
        """Close everything."""
        await self._runner.cleanup()
