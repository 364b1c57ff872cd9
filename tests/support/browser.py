"""A real browser without a screen: Chromium, told what to do over its DevTools protocol."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from tests.support.worker import until

__all__ = ["Page", "browser"]


class Page:
    """One page. ``evaluate`` runs an expression in it and gives its value."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._number = 0

    async def evaluate(self, expression: str) -> Any:
        """Raises AssertionError where it throws."""
        answer = await self._call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True, userGesture=True
        )
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    async def go(self, url: str) -> None:
        """Open an address, and wait until it is there."""
        await self._call("Page.navigate", url=url)

        async def there() -> bool:
            return bool(await self.evaluate("location.href != 'about:blank' && document.readyState == 'complete'"))

        await until(there, f"{url} is loaded")

    async def _call(self, method: str, **parameters: object) -> Any:
        self._number += 1
        await self._socket.send_json({"id": self._number, "method": method, "params": parameters})
        while True:
            answer = await self._socket.receive_json(timeout=60)
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]


@asynccontextmanager
async def browser(program: str, directory: Path) -> AsyncIterator[Page]:
    """A browser of its own, with one empty page."""
    profile = directory / "profile"
    log = (directory / "chromium.log").open("wb")
    process = await asyncio.create_subprocess_exec(
        program, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--no-proxy-server",
        f"--user-data-dir={profile}", "--remote-debugging-port=0", "about:blank",
        stdout=log, stderr=log, stdin=asyncio.subprocess.DEVNULL, start_new_session=True,
        env={**os.environ, "HOME": str(directory)},
    )  # fmt: skip
    try:
        told = profile / "DevToolsActivePort"
        await until(lambda: told.exists() and "\n" in told.read_text(), "the browser is there")
        port = told.read_text().split()[0]
        async with aiohttp.ClientSession() as http:

            async def page() -> str | None:
                async with http.get(f"http://127.0.0.1:{port}/json/list") as answer:
                    found = json.loads(await answer.text())
                return next((str(one["webSocketDebuggerUrl"]) for one in found if one["type"] == "page"), None)

            async def there() -> bool:
                return await page() is not None

            await until(there, "it has a page")
            async with http.ws_connect(str(await page()), max_msg_size=0) as socket:
                yield Page(socket)
    finally:
        if process.returncode is None:
            os.killpg(process.pid, 9)  # its own session: the browser's processes and no others
            await process.wait()
        log.close()
