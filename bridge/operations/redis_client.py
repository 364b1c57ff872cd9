"""A Redis client for the commands that only read. The worker's own way is `bridge.store.link`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, TypeAlias

from redis.asyncio import Redis, RedisCluster, Sentinel
from redis.asyncio.cluster import ClusterNode
from redis.exceptions import RedisClusterException, RedisError

from bridge.errors import BridgeError, ConfigurationError
from bridge.model.redis_address import Topology
from bridge.settings import RedisSettings

__all__ = ["Client", "check_contact", "open_client", "whereabouts"]

Client: TypeAlias = "Redis | RedisCluster"
"""Of one server, of the primary that Sentinels name, or of a cluster; it answers in bytes."""


def open_client(settings: RedisSettings, *, most_connections: int | None = None) -> AbstractAsyncContextManager[Client]:
    """A client for what ``redis.url`` names; nothing is sent yet. Raises ConfigurationError for a bad password file.

    ``most_connections``: at once, to each node; redis-py's own choice is a hundred.
    """
    address = settings.address
    given = settings.password.get_secret_value() if settings.password else address.password
    options = _options(settings) | {
        "username": settings.username or address.username or None,
        "password": _password(settings.password_file, "redis.password_file", given),
    }
    if most_connections:
        options["max_connections"] = most_connections
    match address.topology:
        case Topology.CLUSTER:
            nodes = [ClusterNode(one.host, one.port) for one in address.endpoints]
            # A slot that nobody serves concerns those who ask for it.
            return _closing(RedisCluster(startup_nodes=nodes, require_full_coverage=False, **options))
        case Topology.SENTINEL:
            sentinels = [
                Redis(host=one.host, port=one.port, **_sentinel_options(settings)) for one in address.endpoints
            ]
            asked: Any = Sentinel  # which has no types
            named = asked([], db=address.database, **options)
            named.sentinels = sentinels
            return _closing(named.master_for(address.service), *sentinels)
        case Topology.SINGLE:
            (endpoint,) = address.endpoints
            place: dict[str, Any] = {"host": endpoint.host, "port": endpoint.port}
            if endpoint.is_socket:
                place = {"unix_socket_path": endpoint.host}
            return _closing(Redis(db=address.database, **place, **options))


@asynccontextmanager
async def _closing(client: Client, *others: Redis) -> AsyncIterator[Client]:
    """A client of the primary alone would leave those open with which it asks the Sentinels."""
    async with AsyncExitStack() as stack:
        for one in (*others, client):
            stack.push_async_callback(one.aclose)
        yield client


async def check_contact(client: Client, settings: RedisSettings) -> None:
    """Raises BridgeError where Redis does not answer: one that was never there is a mistake, not an outage."""
    try:
        if isinstance(client, RedisCluster):
            await client.initialize()
        else:
            await client.ping()
    except (RedisError, RedisClusterException, OSError) as error:
        raise BridgeError(
            f"cannot read Redis at {whereabouts(settings)}: {str(error).rstrip('.') or type(error).__name__}"
            " - check redis.url (BRIDGE_REDIS__URL, --redis-url) and the password"
        ) from error


def whereabouts(settings: RedisSettings) -> str:
    """The address without what is secret in it."""
    scheme = settings.url.get_secret_value().partition("://")[0]
    return f"{scheme}://{','.join(map(str, settings.address.endpoints))}"


def _options(settings: RedisSettings) -> dict[str, Any]:
    options: dict[str, Any] = {
        "socket_timeout": settings.timeout_seconds,
        "socket_connect_timeout": settings.connect_timeout_seconds,
        "socket_keepalive": True,
        "decode_responses": False,
    }
    if settings.address.tls:
        files = {
            "ssl_ca_certs": settings.ca_file,
            "ssl_certfile": settings.cert_file,
            "ssl_keyfile": settings.key_file,
        }
        options |= {"ssl": True, **{name: str(file) for name, file in files.items() if file}}
    return options


def _sentinel_options(settings: RedisSettings) -> dict[str, Any]:
    given = settings.sentinel_password.get_secret_value() if settings.sentinel_password else ""
    return _options(settings) | {
        "username": settings.sentinel_username,
        "password": _password(settings.sentinel_password_file, "redis.sentinel_password_file", given),
    }


def _password(file: Path | None, setting: str, given: str) -> str | None:
    if file is None:
        return given or None
    try:
        return file.read_text(encoding="utf-8").strip()
    except UnicodeDecodeError:
        raise ConfigurationError(f"{setting} {file}: not UTF-8 text - write the password into it as UTF-8") from None
    except OSError as error:
        raise ConfigurationError(f"{setting} {file}: {error.strerror}") from error
