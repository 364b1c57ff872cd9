"""What was found, kept in Redis for a worker that starts while the API does not tell."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from bridge.errors import SinkFault
from bridge.model.keys import found_key
from bridge.settings import Settings
from bridge.store.link import RedisLink

__all__ = ["Memory"]

_KEPT_SECONDS = 86_400.0  # as long as a session lives
_REFRESH_SECONDS = 600.0


class Memory:
    """Of one worker. Workers with the same rules write the same, and the last one counts: one only begins with it."""

    def __init__(self, link: RedisLink) -> None:
        self._link = link
        self._kept: tuple[str, str] | None = None  # key and text
        self._kept_at = 0.0

    async def keep(self, settings: Settings, found: Mapping[str, str]) -> None:
        """Keep these lens ids by session id. Where Redis does not take it, with the next answer."""
        key, text = _key(settings), json.dumps(found, sort_keys=True, separators=(",", ":"))
        now = time.monotonic()
        if self._kept == (key, text) and now - self._kept_at < _REFRESH_SECONDS:
            return
        with suppress(SinkFault):  # the commits and the leases meet it too, and say so
            await self._link.to(key).call("SET", key, text, "PX", int(_KEPT_SECONDS * 1000))
            self._kept, self._kept_at = (key, text), now

    async def recall(self, settings: Settings) -> dict[str, str]:
        """What was kept under the same rules. Raises SinkFault."""
        key = _key(settings)
        reply = await self._link.to(key).call("GET", key)
        try:
            found: Any = json.loads(reply) if isinstance(reply, bytes) else {}
        except ValueError:
            found = {}
        return {str(one): str(lens) for one, lens in found.items()} if isinstance(found, dict) else {}


def _key(settings: Settings) -> str:
    discovery = settings.discovery
    rules = [settings.source.base_url, sorted(discovery.lens_ids), sorted(discovery.statuses)]
    return found_key(hashlib.sha256(json.dumps(rules).encode()).hexdigest()[:16])
