"""The way to Redis that commits and leases share, whatever stands behind the address: it connects when needed, and says
why where it can't.

``link.to(key)`` is the way to the server that has a key; of a single Redis or a primary that Sentinels watch it is the
same for all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Container
from contextlib import suppress
from typing import Any, Protocol

from bridge.errors import Meaning, SinkFault
from bridge.masking import Secrets
from bridge.model.redis_address import Topology
from bridge.settings import RedisSettings
from bridge.store.connection import Argument, Hear, pack
from bridge.store.nodes.access import Access
from bridge.store.nodes.cluster import Cluster
from bridge.store.nodes.node import Node, Told
from bridge.store.nodes.sentinel import WatchedPrimary
from bridge.store.nodes.server import QUESTIONS, ServerFacts, facts_of
from bridge.store.nodes.slots import slot_of
from bridge.store.script import Script

__all__ = ["Argument", "RedisLink", "Route", "Script", "inspected"]


class _Servers(Protocol):
    """What stands behind an address."""

    async def nodes(self) -> list[Node]:
        """Those that take writes. Raises SinkFault where they cannot be found."""

    async def send(self, packed: bytes, slot: int, script: Script | None = None) -> Any:
        """Send to the one that has the slot. Raises SinkFault."""

    def post(self, packed: bytes, slot: int, script: Script, hear: Hear) -> asyncio.Future[object]:
        """The same, sent at once where the connection stands; what then fails is not tried again."""

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

    def post(self, script: Script, packed: bytes, hear: Hear) -> asyncio.Future[object]:
        """As `run`, without a wait before it is sent where the connection stands, and without a task.

        Neither is a script loaded then nor a redirection followed: the kind of the SinkFault says that `run` would.
        ``hear`` is called with the future, mostly in the very step in which the reply comes; it must not raise.
        """
        return self._servers.post(packed, self._slot, script, hear)

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
        self._access = Access(settings, secrets)
        super().__init__(_servers(self._access, on_change), slot_of(""))

    def use(self, settings: RedisSettings) -> None:
        """Take users, passwords and certificates from these from the next connection on; all else stays as it was."""
        self._access.use(settings)

    async def nodes(self) -> list[Node]:
        """The servers that take writes. Raises SinkFault where they cannot be found."""
        return await self._servers.nodes()

    async def inspect(self, known: Container[str] = ()) -> list[ServerFacts]:
        """What the servers that take writes say of themselves, but those whose place is ``known``.

        Those that cannot be reached are left out. Raises SinkFault where it cannot be found out who they are.
        """
        found = []
        for node in await self.nodes():
            with suppress(SinkFault):
                if facts := await inspected(node, known):
                    found.append(facts)
        return found

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

    async def nodes(self) -> list[Node]:
        return [self._node]

    async def send(self, packed: bytes, slot: int, script: Script | None = None) -> Any:
        return await (self._node.run(script, packed) if script else self._node.send(packed))

    def post(self, packed: bytes, slot: int, script: Script, hear: Hear) -> asyncio.Future[object]:
        return self._node.post(script, packed, hear)

    async def aclose(self) -> None:
        await self._node.aclose()


async def inspected(node: Node, known: Container[str] = ()) -> ServerFacts | None:
    """What a server says of itself; None where its place is ``known``. Raises SinkFault where it can't be reached."""
    where = (await node.connection()).where
    if where in known:
        return None
    replies: dict[tuple[str, ...], Any] = {}
    refused: set[str] = set()
    for question in QUESTIONS:
        if question[0] in refused:
            continue  # servers keep a log of who tried what he may not
        try:
            replies[question] = await node.send(pack(*question))
        except SinkFault as fault:
            if fault.kind.meaning is Meaning.UNKNOWN:
                raise
            refused.add(question[0])
    return facts_of(where, replies)


def _servers(access: Access, on_change: Told) -> _Servers:
    match access.address.topology:
        case Topology.SINGLE:
            return _OneServer(access, on_change)
        case Topology.SENTINEL:
            return WatchedPrimary(access, on_change)
        case Topology.CLUSTER:
            return Cluster(access, on_change)
