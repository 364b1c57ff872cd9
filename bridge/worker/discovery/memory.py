"""What was found, kept in Redis for a worker that starts while the API does not tell, and for people's commands."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress

from bridge.errors import SinkFault
from bridge.model.found import FIELD, key_of_found, parse_found, render_found
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
        key, text = _key(settings), render_found(found)
        now = time.monotonic()
        if self._kept == (key, text) and now - self._kept_at < _REFRESH_SECONDS:
            return
        with suppress(SinkFault):  # the commits and the leases meet it too, and say so
            route = self._link.to(key)
            await route.call("HSET", key, FIELD, text)
            await route.call("PEXPIRE", key, int(_KEPT_SECONDS * 1000))
            self._kept, self._kept_at = (key, text), now

    async def recall(self, settings: Settings) -> dict[str, str]:
        """What was kept under the same rules. Raises SinkFault."""
        key = _key(settings)
        return parse_found(await self._link.to(key).call("HGET", key, FIELD))


def _key(settings: Settings) -> str:
    discovery = settings.discovery
    return key_of_found(settings.source.base_url, discovery.lens_ids, discovery.statuses)
