"""The way to Redis that commits and leases share, whatever stands behind the address: it connects when needed, and says
why where it can't.

``link.to(key)`` is the way to the server that has a key; of a single Redis or a primary that Sentinels watch it is the
same for all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from bridge.masking import Secrets
from bridge.settings import RedisSettings
from bridge.settings.redis_address import Topology
from bridge.store.connection import Argument, pack
from bridge.store.nodes.access import Access
from bridge.store.nodes.cluster import Cluster
from bridge.store.nodes.node import Node, Told
from bridge.store.nodes.sentinel import WatchedPrimary
from bridge.store.nodes.slots import slot_of
from bridge.store.script import Script

__all__ = ["Argument", "RedisLink", "Route", "Script"]


class _Servers(Protocol):
    """What stands behind an address."""

    @property
    def nodes(self) -> list[Node]:
        """Those that take writes, as far as is known."""

    async def send(self, packed: bytes, slot: int, script: Script | None = None) -> Any:
        """Send to the one that has the slot. Raises SinkFault."""

    async def aclose(self) -> None:
        """Close all connections; calls under way fail."""


class Route:
    """The way to the server that has a key, and all others of its hash slot."""

    def __init__(self, servers: _Servers, slot: int) -> None:
        self._servers = servers
        self._slot = slot

    async def call(self, *arguments: Argument) -> Any:
        """Send one command. Raises SinkFault; after `timeout` or `unreachable` it may still have been carried out."""
        return await self._servers.send(pack(*arguments), self._slot)

    async def run(self, script: Script, packed: bytes) -> Any:
        """Send a packed script call; loads the script where Redis has forgotten it. Raises SinkFault."""
        return await self._servers.send(packed, self._slot, script)

    async def send(self, packed: bytes) -> Any:
        """Send packed bytes and wait for the one reply. Raises SinkFault."""
        return await self._servers.send(packed, self._slot)


class RedisLink(Route):
    """``on_change`` hears None when all connections that are needed stand, and the reason when one does not.

    Itself it is the way to any server, for what concerns no key.
    """

    def __init__(
        self, settings: RedisSettings, secrets: Secrets, on_change: Callable[[str | None], None] = lambda error: None
    ) -> None:
        super().__init__(_servers(Access(settings, secrets), on_change), slot_of(""))

    @property
    def nodes(self) -> list[Node]:
        """The servers that take writes, as far as is known."""
        return self._servers.nodes

    def to(self, key: str) -> Route:
        """The way to the server that has a key."""
        return Route(self._servers, slot_of(key))

    async def aclose(self) -> None:
        """Close the connections; calls under way fail."""
        await self._servers.aclose()


class _OneServer:
    """The way to a server that is always the same."""

    def __init__(self, access: Access, on_change: Told) -> None:
        (endpoint,) = access.address.endpoints
        self._node = Node(lambda: access.open(endpoint), on_change)

    @property
    def nodes(self) -> list[Node]:
        return [self._node]

    async def send(self, packed: bytes, slot: int, script: Script | None = None) -> Any:
        return await (self._node.run(script, packed) if script else self._node.send(packed))

    async def aclose(self) -> None:
        await self._node.aclose()


def _servers(access: Access, on_change: Told) -> _Servers:
    match access.address.topology:
        case Topology.SINGLE:
            return _OneServer(access, on_change)
        case Topology.SENTINEL:
            return WatchedPrimary(access, on_change)
        case Topology.CLUSTER:
            return Cluster(access, on_change)
