"""How fast each transport below httpx reads one-event chunks: the choice in `bridge.source.client`, measured."""

from __future__ import annotations

import asyncio
import sys
import time

import httpx
from httpx_aiohttp import AiohttpTransport


async def read(url: str, size_bytes: int, transport: httpx.AsyncBaseTransport | None) -> float:
    """Seconds to read ``size_bytes`` of a body."""
    async with (
        httpx.AsyncClient(transport=transport, timeout=30, trust_env=False) as client,
        client.stream("GET", url) as response,
    ):
        began, left = time.perf_counter(), size_bytes
        async for chunk in response.aiter_raw():
            left -= len(chunk)
            if left <= 0:
                break
        return time.perf_counter() - began


async def _both(url: str, size_bytes: int) -> tuple[float, float]:
    own = await read(url, size_bytes, None)
    return own, await read(url, size_bytes, AiohttpTransport(trust_env=False))


if __name__ == "__main__":
    print(*asyncio.run(_both(sys.argv[1], int(sys.argv[2]))))
