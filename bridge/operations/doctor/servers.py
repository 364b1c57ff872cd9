"""Redis: is it there, who is it, does it fit, may we. Asked by the worker's own ways in, and judged elsewhere."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Sequence
from dataclasses import replace

from bridge.errors import FaultKind, SinkFault
from bridge.masking import Secrets
from bridge.model.keys import SessionKeys
from bridge.model.redis_address import Endpoint, Topology
from bridge.operations.doctor.fitness import clock_line, durability_lines, sentinel_line, server_lines, slots_line
from bridge.operations.doctor.lines import Level, Line, Tell, fault, from_words, ok, warn
from bridge.operations.doctor.network import connect, is_address, reason_of, resolve, speaks_plainly
from bridge.operations.doctor.services import service_lines
from bridge.operations.doctor.trial import ask_permissions, try_out
from bridge.settings import Settings
from bridge.store.connection import pack
from bridge.store.fleet.registry import certainly_ahead
from bridge.store.link import RedisLink, inspected
from bridge.store.nodes.access import Access
from bridge.store.nodes.node import Node
from bridge.store.nodes.sentinel import Vote, vote_in
from bridge.store.nodes.slots import SlotMap, slot_of
from bridge.store.nodes.survey import survey

__all__ = ["Servers"]

_MOST_TRIALS = 8  # of a cluster's nodes: each has users and limits of its own


class Servers:
    """``keys``: of the sessions; one of those on each node is where things are tried out."""

    def __init__(self, settings: Settings, secrets: Secrets, link: RedisLink, keys: Sequence[SessionKeys]) -> None:
        self._settings = settings
        self._access = Access(settings.redis, secrets)
        self._link = link
        self._keys = keys
        self._tries_durability = True  # until a server tells that it cannot be had

    async def examine(self, tell: Tell, *, trial: bool) -> bool:
        """Whether Redis can be asked anything. ``trial``: also write, to throw-away keys."""
        address = self._access.address
        for line in service_lines(address):
            tell(line)
        if not await self._reached(address.endpoints, tell):
            return False
        try:
            if address.topology is Topology.SENTINEL:
                line = sentinel_line(*await self._votes(address.endpoints), address.service)
                tell(line)
                if line.level is Level.FAULT:
                    return False
            slots = None
            if address.topology is Topology.CLUSTER:
                slots = await survey(self._access, ())
                tell(slots_line(slots))
            if not await self._met(tell):
                return False
            await self._tried(slots, tell, trial=trial)
        except SinkFault as error:
            tell(await self._explained(error))
            return False
        return True

    async def _reached(self, endpoints: Sequence[Endpoint], tell: Tell) -> bool:
        """Names and ports. One of several may be away."""
        seconds = self._access.patience_seconds
        outcomes = await asyncio.gather(*(_reach(one, seconds) for one in endpoints))
        level = Level.FAULT if all(isinstance(one, str) for one in outcomes) else Level.WARN
        for outcome in outcomes:
            if isinstance(outcome, str):
                tell(from_words(level, "redis.network", outcome))
        answering = [one for one, outcome in zip(endpoints, outcomes, strict=True) if not isinstance(outcome, str)]
        if answering:
            slowest = max(one for one in outcomes if not isinstance(one, str))
            tell(ok("redis.network", f"{', '.join(map(str, answering))}: connected within {slowest * 1000:.1f} ms"))
        return bool(answering)

    async def _votes(self, sentinels: Sequence[Endpoint]) -> tuple[list[Vote], list[str]]:
        told = await asyncio.gather(*map(self._vote, sentinels))
        return [one for one in told if isinstance(one, Vote)], [one for one in told if isinstance(one, str)]

    async def _vote(self, sentinel: Endpoint) -> Vote | str:
        service = self._access.address.service
        named: object
        try:
            connection = await self._access.open_sentinel(sentinel)
            try:
                named = await connection.post(pack("SENTINEL", "GET-MASTER-ADDR-BY-NAME", service))
            finally:
                connection.close()
        except SinkFault as error:
            named = error
        return vote_in(named, None, sentinel, service)

    async def _met(self, tell: Tell) -> bool:
        """Each server that takes writes: logged in to, asked what it is."""
        met = False
        for node in await self._link.nodes():
            try:
                where = (await node.connection()).where
                ahead = await _ahead(node)
                facts = await inspected(node)
            except SinkFault as error:
                tell(await self._explained(error))
                continue
            met = True
            if facts is not None:
                short = list(durability_lines(self._settings.redis, facts))
                self._tries_durability = self._tries_durability and not short
                for line in (*server_lines(facts, self._settings), *short):
                    tell(line)
            if ahead is not None:
                tell(clock_line("redis.clock", f"Redis at {where}", ahead))
        return met

    async def _explained(self, error: SinkFault) -> Line:
        """No connection comes about. A server without TLS just waits for the rest of what it cannot read."""
        if self._access.address.tls and error.kind is FaultKind.UNREACHABLE:
            for one in self._access.address.endpoints:
                if await speaks_plainly(one.host, one.port, self._access.patience_seconds):
                    scheme = self._settings.redis.url.get_secret_value().partition("://")[0]
                    plain = re.sub(r"^(redis|valkey)s", r"\1", scheme, flags=re.IGNORECASE)
                    return fault(
                        "redis.connection", f"{one} speaks Redis without TLS", f"write {plain}:// in redis.url"
                    )
        line = from_words(Level.FAULT, "redis.connection", error.detail)
        return line if line.remedy else replace(line, remedy="check redis.url")

    async def _tried(self, slots: SlotMap | None, tell: Tell, *, trial: bool) -> None:
        for keys in self._one_of_each_node(slots):
            if trial:
                await try_out(self._link, self._settings, keys, tell, durability=self._tries_durability)
            elif (lines := await ask_permissions(self._link, self._settings, keys)) is not None:
                for line in lines:
                    tell(line)
            else:
                tell(
                    warn(
                        "redis.permissions",
                        "not known: ACL DRYRUN cannot be asked here, and nothing was to be tried out",
                        "leave out --no-trial",
                    )
                )

    def _one_of_each_node(self, slots: SlotMap | None) -> list[SessionKeys]:
        if slots is None:
            return list(self._keys[:1])
        chosen: dict[Endpoint | None, SessionKeys] = {}
        for keys in self._keys:
            chosen.setdefault(slots.owner(slot_of(keys.state)), keys)
        return [keys for owner, keys in chosen.items() if owner][:_MOST_TRIALS]


async def _ahead(node: Node) -> float | None:
    """By how many seconds its clock is ahead; None where it may not be asked. Raises SinkFault: it lets nobody in."""
    began, sent = time.monotonic(), time.time()
    try:
        seconds, microseconds = await node.send(pack("TIME"))
    except SinkFault as error:
        if error.kind is FaultKind.NO_PERMISSION:
            return None
        raise
    return certainly_ahead(int(seconds) + int(microseconds) / 1e6 - sent, time.monotonic() - began)


async def _reach(endpoint: Endpoint, seconds: float) -> float | str:
    """How many seconds a connection took, or why there is none."""
    host, port = endpoint.host, endpoint.port
    if not endpoint.is_socket and not is_address(host):
        try:
            await resolve(host, seconds)
        except OSError as error:
            return f"the name {host} leads nowhere: {reason_of(error)} - check redis.url, and the name server"
    try:
        return (await connect(host, port, seconds)).seconds
    except OSError as error:
        what = "is that the path of its socket" if endpoint.is_socket else "does Redis run there, and is the way open"
        return f"{endpoint}: {reason_of(error)} - check redis.url: {what}?"
