"""One transport below httpx at work. `python -m tests.benchmarks.peers.transport BASE_URL h11|aiohttp BYTES`

It reads a body of BYTES and prints, as JSON, how many seconds that took from the first of them on, and how many of CPU.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

import httpx
from httpx_aiohttp import AiohttpTransport


async def _read(url: str, transport: httpx.AsyncBaseTransport | None, body_bytes: int) -> dict[str, float]:
    async with (
        httpx.AsyncClient(transport=transport, timeout=60, trust_env=False) as client,
        client.stream("GET", url) as response,
    ):
        pieces, left = response.aiter_raw(), body_bytes
        left -= len(await anext(pieces))
        elapsed, cpu = time.monotonic(), time.process_time()
        while left > 0:
            left -= len(await anext(pieces))
        return {"elapsed": time.monotonic() - elapsed, "cpu": time.process_time() - cpu}


def main() -> None:
    """Read once."""
    base_url, choice, body_bytes = sys.argv[1:4]
    transport = AiohttpTransport(trust_env=False) if choice == "aiohttp" else None
    url = f"{base_url}/lens/sessions/consumer/lsn-bench"
    print(json.dumps(asyncio.run(_read(url, transport, int(body_bytes)))), flush=True)


if __name__ == "__main__":
    main()
