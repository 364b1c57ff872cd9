"""A cluster of three primaries with a replica each."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from itertools import count
from types import TracebackType
from typing import Any, Self

from redis.exceptions import RedisError, ResponseError

from bridge.lab.redis_server import RedisServer
from bridge.store.nodes.slots import SLOTS, slot_of
from tests.support.topology.watched import asked
from tests.support.worker import until

__all__ = ["Clustered"]

PRIMARIES = 3
BUS = 10_000  # how far the port of the cluster bus is from that for clients
MIGRATE_TIMEOUT_MS = 5_000


class Clustered:
    """An async context manager; it is whole when it opens. ``arguments`` are of each node."""

    def __init__(self, *, node_timeout_ms: int = 1000, arguments: Sequence[str] = ()) -> None:
        self.nodes: list[RedisServer] = []
        self._arguments = [
            *("--cluster-enabled", "yes", "--cluster-node-timeout", str(node_timeout_ms)),
            *("--cluster-replica-validity-factor", "0", "--cluster-migration-barrier", "100", *arguments),
        ]
        self._stack = AsyncExitStack()
        self._frozen: set[RedisServer] = set()

    @property
    def awake(self) -> list[RedisServer]:
        """Those that can be asked."""
        return [one for one in self.nodes if one.running and one not in self._frozen]

    @property
    def url(self) -> str:
        """What a worker is told: two of the nodes."""
        return f"redis+cluster://{','.join(f'127.0.0.1:{one.port}' for one in self.nodes[:2])}"

    async def __aenter__(self) -> Self:
        for _ in range(2 * PRIMARIES):
            await self.add_node()
        share = -(-SLOTS // PRIMARIES)
        for number, node in enumerate(self.nodes[:PRIMARIES]):
            mine = range(number * share, min(SLOTS, (number + 1) * share))
            await asked(node, "CLUSTER", "ADDSLOTS", *map(str, mine))
        await until(self._met, "the nodes know each other", every=0.05)
        for replica, primary in zip(self.nodes[PRIMARIES:], self.nodes[:PRIMARIES], strict=True):
            await asked(replica, "CLUSTER", "REPLICATE", await node_id(primary))
        await self.whole()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for one in self.nodes:
            if one.running:
                one.resume()
        await self._stack.aclose()

    async def add_node(self) -> RedisServer:
        """An empty node more; it has met the first one."""
        node = RedisServer(port=free_port(), arguments=self._arguments)
        await self._stack.enter_async_context(node)
        if self.nodes:
            first = self.nodes[0].port
            await asked(node, "CLUSTER", "MEET", "127.0.0.1", str(first), str(first + BUS))
            if len(self.nodes) >= 2 * PRIMARIES:
                await until(partial(self._takes_part, node), "the new node takes part")
        self.nodes.append(node)
        return node

    async def remove_node(self, node: RedisServer) -> None:
        """One that has no slots leaves for good."""
        gone = await node_id(node)
        self.nodes.remove(node)
        await node.kill()
        for other in self.nodes:
            await asked(other, "CLUSTER", "FORGET", gone)

    def freeze(self, node: RedisServer) -> None:
        """It answers nobody, and knows nothing of the time that passes."""
        self._frozen.add(node)
        node.pause()

    async def owner(self, slot: int) -> RedisServer:
        """Who serves a slot, once the living agree on one of them: not all hear of a failover at the same time."""
        found: list[RedisServer] = []

        async def known() -> bool:
            for node in self.awake:
                with suppress(RedisError, OSError):
                    for first, last, (_, port, *_), *_ in await asked(node, "CLUSTER", "SLOTS"):
                        if first <= slot <= last:
                            found.extend(one for one in self.awake if one.port == port)
            return bool(found)

        await until(known, f"somebody who lives serves slot {slot}")
        return found[-1]

    async def key_on(self, node: RedisServer, beginning: str = "key") -> str:
        """A key that this one has."""
        ranges = await asked(self.awake[0], "CLUSTER", "SLOTS")
        mine = [range(first, last + 1) for first, last, (_, port, *_), *_ in ranges if port == node.port]
        names = (f"{beginning}-{number}" for number in count())
        return next(one for one in names if any(slot_of(one) in some for some in mine))

    async def primaries(self) -> list[RedisServer]:
        """Those that serve slots."""
        ports = {port for _, _, (_, port, *_), *_ in await asked(self.awake[0], "CLUSTER", "SLOTS")}
        return [one for one in self.nodes if one.port in ports]

    @asynccontextmanager
    async def halfway(self, slot: int, *keys: str) -> AsyncIterator[tuple[RedisServer, RedisServer]]:
        """A slot that is on its way, with only these keys moved; gives both, and all of it arrives after."""
        source = await self.owner(slot)
        target = next(one for one in await self.primaries() if one is not source)
        await self._set_out(slot, source, target)
        await self._migrate(source, target, keys)
        try:
            yield source, target
        finally:
            await self._arrive(slot, source, target)

    async def move_slot(self, slot: int, to: RedisServer, pause_seconds: float = 0.0) -> None:
        """As redis-cli does it: key after key, while clients go on. ``pause_seconds`` after each key."""
        source = await self.owner(slot)
        if source is to:
            return
        await self._set_out(slot, source, to)
        await self._arrive(slot, source, to, pause_seconds)

    async def whole(self) -> None:
        """Bring back what is away, and wait until all agree again and each primary has a replica."""
        self._frozen.clear()
        for one in self.nodes:
            if one.running:
                one.resume()
            else:
                await one.start()
        await until(self._agreed, "every node is of one mind, and every replica in sync", every=0.1)

    async def settled(self) -> None:
        """Wait until all that can be asked are of one mind, and name nobody who cannot."""

        async def agreed() -> bool:
            with suppress(RedisError, OSError):
                maps = [_owners(await asked(node, "CLUSTER", "SLOTS")) for node in self.awake]
                owners = [{(first, last, port) for first, last, port, _ in one} for one in maps]
                ports = {node.port for node in self.awake}
                states = [await asked(node, "CLUSTER", "INFO") for node in self.awake]
                served = all(port in ports for _, _, port in owners[0])
                return served and all(one == owners[0] for one in owners) and all(b"state:ok" in one for one in states)
            return False

        await until(agreed, "the living are of one mind", every=0.05)

    async def another_takes_over(self, than: RedisServer, key: str) -> None:
        """Wait until another node takes writes of this key."""

        async def taken() -> bool:
            for node in self.awake:
                with suppress(RedisError, OSError):  # any other node but the one that has the key points there
                    if node is not than:
                        return bool(await asked(node, "SET", key, "1") == b"OK")
            return False

        await until(taken, "another node takes over")

    async def _takes_part(self, node: RedisServer) -> bool:
        return b"cluster_state:ok" in await asked(node, "CLUSTER", "INFO")

    async def _set_out(self, slot: int, source: RedisServer, target: RedisServer) -> None:
        async def set_out() -> bool:
            with suppress(ResponseError):  # one of them may not have heard yet that the other is a primary by now
                await asked(target, "CLUSTER", "SETSLOT", str(slot), "IMPORTING", await node_id(source))
                await asked(source, "CLUSTER", "SETSLOT", str(slot), "MIGRATING", await node_id(target))
                return True
            return False

        await until(set_out, f"slot {slot} sets out", every=0.05)

    async def _migrate(self, source: RedisServer, target: RedisServer, keys: Sequence[str]) -> None:
        place = ("127.0.0.1", str(target.port), "", "0", str(MIGRATE_TIMEOUT_MS))

        async def gone() -> bool:
            with suppress(ResponseError):  # the target may not have heard yet that the cluster is well again
                return await asked(source, "MIGRATE", *place, "KEYS", *keys) in (b"OK", b"NOKEY")
            return False

        await until(gone, f"{keys} have moved", every=0.05)

    async def _arrive(self, slot: int, source: RedisServer, target: RedisServer, pause_seconds: float = 0.0) -> None:
        while keys := await asked(source, "CLUSTER", "GETKEYSINSLOT", str(slot), "1"):
            await self._migrate(source, target, [key.decode() for key in keys])
            await asyncio.sleep(pause_seconds)
        for node in (target, source, *(one for one in self.awake if one not in (target, source))):
            with suppress(RedisError, OSError):  # a replica need not be told
                await asked(node, "CLUSTER", "SETSLOT", str(slot), "NODE", await node_id(target))

    async def _met(self) -> bool:
        told = [await asked(node, "CLUSTER", "NODES") for node in self.nodes]
        return all(one.count(b" connected") == len(self.nodes) and b"handshake" not in one for one in told)

    async def _agreed(self) -> bool:
        try:
            states = [await asked(node, "CLUSTER", "INFO") for node in self.nodes]
            maps = [_owners(await asked(node, "CLUSTER", "SLOTS")) for node in self.nodes]
            roles = [await asked(node, "ROLE") for node in self.nodes]
            nodes = [await asked(node, "CLUSTER", "NODES") for node in self.nodes]
        except (RedisError, OSError):
            return False
        agreed = (
            all(b"cluster_state:ok" in one for one in states)
            and all(one == maps[0] for one in maps)
            and all(role[3] == b"connected" for role in roles if role[0] == b"slave")
            and not any(b"fail" in one or b"handshake" in one for one in nodes)
        )
        with suppress(RedisError, OSError):
            return agreed and not await self._share_replicas(maps[0])
        return False

    async def _share_replicas(self, owners: list[tuple[int, int, int, tuple[int, ...]]]) -> bool:
        """A primary that comes back follows whoever took one of its slots last. Tells whether one has too many."""
        replicas = {port: followers for _, _, port, followers in owners}
        lonely = [port for port, followers in replicas.items() if not followers]
        spare = [followers[0] for followers in replicas.values() if len(followers) > 1]
        by_port = {node.port: node for node in self.nodes}
        for primary, replica in zip(lonely, spare, strict=False):
            await asked(by_port[replica], "CLUSTER", "REPLICATE", await node_id(by_port[primary]))
        return bool(lonely and spare)


async def node_id(node: RedisServer) -> str:
    """The name of a node within its cluster."""
    name: bytes = await asked(node, "CLUSTER", "MYID")
    return name.decode()


def _owners(reply: Any) -> list[tuple[int, int, int, tuple[int, ...]]]:
    """First and last slot, the port of the primary, those of its replicas."""
    ranges = [(first, last, primary[1], [one[1] for one in replicas]) for first, last, primary, *replicas in reply]
    return sorted((first, last, primary, tuple(sorted(replicas))) for first, last, primary, replicas in ranges)


def free_port() -> int:
    """One whose cluster bus has a free port too."""
    while True:
        with socket.socket() as probe, socket.socket() as bus:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
            if port + BUS > 65_535:
                continue
            with suppress(OSError):
                bus.bind(("127.0.0.1", port + BUS))
                return port
