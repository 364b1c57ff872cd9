"""redis-py's clients for an address: one server, the primary that Sentinels name, or a cluster.

None of them tries again by itself: a read that is sent twice would be given entries that nobody sees.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import redis
import redis.asyncio
from redis.asyncio.cluster import ClusterNode as AsyncClusterNode
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode
from redis.retry import Retry

from bridge.consumer.core.faults import ConsumerError
from bridge.consumer.core.limits import Limits
from bridge.model.redis_address import RedisAddress, Topology, redis_address

__all__ = ["AsyncClient", "Client", "open_async_client", "open_client", "place_of"]

Client: TypeAlias = "redis.Redis | redis.RedisCluster"
AsyncClient: TypeAlias = "redis.asyncio.Redis | redis.asyncio.RedisCluster"

_CONNECT_SECONDS, _ANSWER_SECONDS = 5.0, 5.0


def open_client(url: str, limits: Limits) -> tuple[Client, Sequence[redis.Redis]]:
    """A client, and those with which it asks the Sentinels, to be closed with it.

    Nothing is sent yet, but to a cluster, which is asked for its slots. Raises ConsumerError for a bad address.
    """
    address = _address(url)
    options = _options(address, limits) | {"retry": Retry(NoBackoff(), 0)}
    match address.topology:
        case Topology.CLUSTER:
            options.pop("retry")
            nodes = [ClusterNode(one.host, one.port) for one in address.endpoints]  # type: ignore[no-untyped-call]
            retry = Retry(NoBackoff(), 0)
            return redis.RedisCluster(startup_nodes=nodes, require_full_coverage=False, retry=retry, **options), ()
        case Topology.SENTINEL:
            named: Any = redis.Sentinel([], db=address.database, **options)  # type: ignore[no-untyped-call]
            sentinel = {key: value for key, value in options.items() if key not in ("username", "password")}
            named.sentinels = [redis.Redis(host=one.host, port=one.port, **sentinel) for one in address.endpoints]
            found: redis.Redis = named.master_for(address.service, retry=options["retry"])
            return found, named.sentinels
        case Topology.SINGLE:
            return redis.Redis(db=address.database, **_place(address), **options), ()


def open_async_client(url: str, limits: Limits) -> tuple[AsyncClient, Sequence[redis.asyncio.Redis]]:
    """The same for asyncio. Raises ConsumerError for a bad address."""
    address = _address(url)
    options = _options(address, limits) | {"retry": AsyncRetry(NoBackoff(), 0)}
    match address.topology:
        case Topology.CLUSTER:
            nodes = [AsyncClusterNode(one.host, one.port) for one in address.endpoints]
            return redis.asyncio.RedisCluster(startup_nodes=nodes, require_full_coverage=False, **options), ()
        case Topology.SENTINEL:
            asked: Any = redis.asyncio.Sentinel  # which has no types
            named = asked([], db=address.database, **options)
            sentinel = {key: value for key, value in options.items() if key not in ("username", "password")}
            named.sentinels = [
                redis.asyncio.Redis(host=one.host, port=one.port, **sentinel) for one in address.endpoints
            ]
            found: redis.asyncio.Redis = named.master_for(address.service)
            return found, named.sentinels
        case Topology.SINGLE:
            return redis.asyncio.Redis(db=address.database, **_place(address), **options), ()


def place_of(source: str | Client | AsyncClient) -> str:
    """Where it leads, without its secrets. Raises ConsumerError for a bad address, or a client that answers in text."""
    if isinstance(source, str):
        return f"{source.partition('://')[0]}://{','.join(map(str, _address(source).endpoints))}"
    if source.get_encoder().decode_responses:
        raise ConsumerError("a consumer needs a client that answers in bytes: decode_responses=False")
    return "the client's address"


def _address(url: str) -> RedisAddress:
    try:
        return redis_address(url)
    except ValueError as error:
        raise ConsumerError(f"the address of Redis {error}") from None


def _place(address: RedisAddress) -> dict[str, Any]:
    (endpoint,) = address.endpoints
    if endpoint.is_socket:
        return {"unix_socket_path": endpoint.host}
    return {"host": endpoint.host, "port": endpoint.port}


def _options(address: RedisAddress, limits: Limits) -> dict[str, Any]:
    options: dict[str, Any] = {
        "username": address.username or None,
        "password": address.password or None,
        "socket_timeout": limits.block_seconds + _ANSWER_SECONDS,
        "socket_connect_timeout": _CONNECT_SECONDS,
        "protocol": 2,
        "decode_responses": False,
    }
    if not any(one.is_socket for one in address.endpoints):
        options["socket_keepalive"] = True
    return options | {"ssl": True} if address.tls else options
