"""The way into a cluster: one connection to each node that has keys of ours, and the map of who has which.

Redirections are followed here, since a server that sends one has written nothing. All else is for who calls to decide.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from bridge.errors import FaultKind, SinkFault
from bridge.model.redis_address import Endpoint
from bridge.store.connection import Hear
from bridge.store.nodes.access import Access
from bridge.store.nodes.node import Node, Told, heard
from bridge.store.nodes.slots import SlotMap
from bridge.store.nodes.survey import survey
from bridge.store.replies import Redirected
from bridge.store.script import Script

__all__ = ["Cluster"]

T = TypeVar("T")

_PAUSE_SECONDS = 0.1  # between two looks at the map: that is how long a failover may go unnoticed
_SLOW_SECONDS = 1.0  # without an answer: time to ask the others whether the slots are elsewhere by now
_MOST_REDIRECTIONS = 8  # of one call; a slot moves once, and a node that has just joined may still point back
_PASSING_SOON = (FaultKind.UNREACHABLE, FaultKind.TIMEOUT, FaultKind.CLUSTER_DOWN, FaultKind.LOADING)
_SHAKES_THE_MAP = (*_PASSING_SOON, FaultKind.READ_ONLY, FaultKind.PRIMARY_DOWN)


class Cluster:
    """Sends each call to the node that has its slot, together with those of all other sessions there."""

    def __init__(self, access: Access, on_change: Told) -> None:
        self._access = access
        self._on_change = on_change
        self._nodes: dict[Endpoint, Node] = {}
        self._lacking: dict[Endpoint | None, str] = {}  # which node cannot be reached and why; None for all of them
        self._map: SlotMap | None = None
        self._doubted = True  # what the map says need not be so any more
        self._looking: asyncio.Task[SlotMap] | None = None
        self._looked_at = float("-inf")
        self._searches: dict[int, asyncio.Task[Endpoint]] = {}
        self._watcher: asyncio.Task[None] | None = None

    async def nodes(self) -> list[Node]:
        """Those that serve slots. Raises SinkFault."""
        slots = self._map or await self._look()
        return [self._node(one) for one in sorted(slots.owners())]

    async def send(self, packed: bytes, slot: int, script: Script | None = None) -> Any:
        """Send to the node that has the slot. Raises SinkFault; nothing is sent twice but behind a redirection."""
        to: Endpoint | None = None
        asking = False
        for _ in range(_MOST_REDIRECTIONS):
            endpoint = to or await self._serving(slot)
            node = self._node(endpoint)
            try:
                if script:
                    return await node.run(script, packed, asking=asking)
                return await node.send(packed, asking=asking)
            except Redirected as fault:
                last = fault
                to, asking = Endpoint(fault.host or endpoint.host, fault.port), fault.kind is FaultKind.ASK
                if self._map and not asking:
                    self._map.move(slot, to)
                    self._doubt()  # where one slot went, others may have gone
            except SinkFault as fault:
                if fault.kind in _SHAKES_THE_MAP:
                    self._doubt()
                raise
        raise SinkFault(FaultKind.CLUSTER_DOWN, f"the nodes of the cluster point at each other: {last.detail}")

    def post(self, packed: bytes, slot: int, script: Script, hear: Hear) -> asyncio.Future[object]:
        """Send to the node that has the slot, at once where its connection stands; then no redirection is followed."""
        owner = self._map.owner(slot) if self._map else None
        standing = self._node(owner).standing if owner else None
        if standing is None or script.confirmation:
            task: asyncio.Future[object] = asyncio.ensure_future(self.send(packed, slot, script))
            task.add_done_callback(hear)
            return task
        return standing.post(packed, hear)

    async def aclose(self) -> None:
        """Close all connections; calls under way fail."""
        tasks = [one for one in (self._watcher, self._looking, *self._searches.values()) if one]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(node.aclose() for node in self._nodes.values()))

    def _node(self, endpoint: Endpoint) -> Node:
        if endpoint not in self._nodes:
            self._nodes[endpoint] = Node(partial(self._access.open, endpoint), partial(self._note, endpoint))
        return self._nodes[endpoint]

    async def _serving(self, slot: int) -> Endpoint:
        """The node that has the slot, connected. Raises SinkFault."""
        owner = self._map.owner(slot) if self._map else None
        if owner and self._node(owner).standing:
            return owner
        if slot not in self._searches:
            search = asyncio.create_task(self._search(slot), name=f"find slot {slot}")
            search.add_done_callback(lambda done: self._searched(slot, done))
            self._searches[slot] = search
        return await _shared(self._searches[slot])

    def _searched(self, slot: int, search: asyncio.Task[Endpoint]) -> None:
        del self._searches[slot]
        heard(search)

    async def _search(self, slot: int) -> Endpoint:
        """Looks until the slot is served, for as long as one connection may take."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._access.patience_seconds
        while True:
            try:
                return await self._found(slot)
            except SinkFault as fault:
                if fault.kind not in _PASSING_SOON or loop.time() + _PAUSE_SECONDS >= deadline:
                    raise
            self._doubted = True
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _found(self, slot: int) -> Endpoint:
        slots = self._map if self._map and not self._doubted else await self._look()
        owner = slots.owner(slot)
        if owner is None:
            raise SinkFault(FaultKind.CLUSTER_DOWN, f"no node of the cluster serves slot {slot}; this passes")
        attempt = asyncio.ensure_future(self._node(owner).connection())
        try:
            while not (await asyncio.wait({attempt}, timeout=_SLOW_SECONDS))[0]:
                if (await self._look()).owner(slot) != owner:
                    detail = f"Redis at {owner} hangs, and another node has its slots by now"
                    raise SinkFault(FaultKind.CLUSTER_DOWN, detail)
            attempt.result()
        finally:
            attempt.cancel()  # the waiting alone: others may still want that connection
            await asyncio.gather(attempt, return_exceptions=True)
        return owner

    def _doubt(self) -> None:
        self._doubted = True
        asyncio.ensure_future(self._look()).add_done_callback(heard)

    async def _look(self) -> SlotMap:
        """A new map, the same for all who ask at the same time. Raises SinkFault."""
        if self._looking is None:
            self._looking = asyncio.create_task(self._look_around(), name="look at the cluster")
            self._looking.add_done_callback(heard)
        return await _shared(self._looking)

    async def _look_around(self) -> SlotMap:
        loop = asyncio.get_running_loop()
        try:
            await asyncio.sleep(self._looked_at + _PAUSE_SECONDS - loop.time())
            self._looked_at = loop.time()
            self._map = await survey(self._access, self._map.endpoints if self._map else ())
            self._doubted = False
        except SinkFault as fault:
            self._note(None, fault.detail)
            raise
        finally:
            self._looking = None
        self._forget_leavers(self._map)
        if None in self._lacking:
            self._note(None, None)
        if self._watcher is None:
            self._watcher = asyncio.create_task(self._watch(), name="watch the cluster")
        return self._map

    async def _watch(self) -> None:
        """Leave a node that hangs once others have its slots; a call under way would wait for all of its time."""
        while True:
            await asyncio.sleep(_SLOW_SECONDS / 2)
            hanging = [
                (endpoint, connection)
                for endpoint, node in self._nodes.items()
                if (connection := node.standing) and connection.waits_seconds > _SLOW_SECONDS
            ]
            if hanging:
                with suppress(SinkFault):
                    owners = (await self._look()).owners()
                    for endpoint, connection in hanging:
                        if endpoint not in owners:
                            connection.give_up("other nodes have its slots by now")

    def _note(self, endpoint: Endpoint | None, error: str | None) -> None:
        if error is not None:
            if self._lacking.get(endpoint) != error:
                self._lacking[endpoint] = error
                self._on_change(error)
            return
        self._lacking.pop(endpoint, None)
        if not self._lacking:
            self._on_change(None)

    def _forget_leavers(self, slots: SlotMap) -> None:
        owners = slots.owners()
        for endpoint in [one for one, node in self._nodes.items() if one not in owners and node.idle]:
            self._nodes.pop(endpoint).close()
            if endpoint in self._lacking:
                self._note(endpoint, None)


async def _shared(task: asyncio.Task[T]) -> T:
    """Its outcome, for one of many who wait; who gives up leaves it to the rest."""
    try:
        return await asyncio.shield(task)
    except SinkFault as fault:
        raise SinkFault(fault.kind, fault.detail) from fault
