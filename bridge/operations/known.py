"""Which sessions there are, as a command knows them: configured here, registered in Redis, found at the API."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from redis.exceptions import RedisClusterException, RedisError

from bridge.errors import ConfigurationError
from bridge.model.found import FIELD, key_of_found, parse_found, sessions_of
from bridge.model.keys import SESSIONS_KEY, SessionKeys
from bridge.model.place import Session
from bridge.model.registered import Registered
from bridge.operations.redis_client import Client
from bridge.settings import Settings

__all__ = ["known_sessions", "streams_of"]


async def known_sessions(client: Client, settings: Settings) -> list[Session]:
    """All of them. A configured name counts before a registered one, and who is named was not found besides.

    Raises ConfigurationError where there is none. What this user may not read is left out.
    """
    sessions = {one.name: Session(name=one.name, session_id=one.session_id) for one in settings.sessions}
    for name, text in (await _hash(client, SESSIONS_KEY)).items():
        with suppress(ValueError):
            if added := Registered.parse(name.decode(errors="replace"), text).session:
                sessions.setdefault(added.name, added)
    if settings.discovery.enabled:
        rules = settings.discovery
        key = key_of_found(settings.source.base_url, rules.lens_ids, rules.statuses)
        found = parse_found((await _hash(client, key)).get(FIELD.encode()))
        for one in sessions_of(found, rules.name, sessions.values()):
            sessions.setdefault(one.name, one)
    if not sessions:
        raise ConfigurationError(
            "no sessions are configured, registered or found: set BRIDGE_SESSIONS, or give --sessions or --stream"
        )
    return list(sessions.values())


async def streams_of(client: Client, keys: SessionKeys) -> tuple[str, ...]:
    """All streams that hold entries of a session, as its state tells: also those whose route was taken away."""
    return keys.streams_with((await _hash(client, keys.state)).get(b"routed"))


async def _hash(client: Client, key: str) -> dict[bytes, bytes]:
    with suppress(RedisError, RedisClusterException):
        found: Any = await client.hgetall(key)
        return dict(found)
    return {}
