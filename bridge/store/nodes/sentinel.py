"""Which server is the primary, as the Sentinels of a service tell: asked together, outvoted where they differ.

A Sentinel may be cut off and name a primary of yesterday, or name anything at all. So the word of most of those that
are configured counts, and the server itself has to agree that it is a primary (Redis documentation, "Guidelines for
Redis clients with support for Redis Sentinel"). One that was frozen may still believe so; what it acknowledges then and
forgets later is found by the chain of commits.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from bridge.errors import FaultKind, Meaning, SinkFault
from bridge.model.redis_address import Endpoint
from bridge.store.connection import Connection, Hear, pack
from bridge.store.nodes.access import Access
from bridge.store.nodes.node import Node, Told
from bridge.store.script import Script

__all__ = ["Vote", "WatchedPrimary", "candidates", "elected", "vote_in"]

_PAUSE_SECONDS = 0.1  # between two looks for a primary: that is how long its being there may go unnoticed
_DIVIDED_SECONDS = 2.5  # the leader of a failover names the new primary first; the others hear of it within two
_SLOW_SECONDS = 1.0  # without an answer: time to ask whether it is somebody else's turn
_RECHECK_SECONDS = 0.5  # about as long is one written to that was replaced and not told yet: it will forget that
_PASSING_SOON = (FaultKind.UNREACHABLE, FaultKind.TIMEOUT, FaultKind.PRIMARY_DOWN, FaultKind.LOADING)


@dataclass(frozen=True, slots=True)
class Vote:
    """What a Sentinel says. ``epoch`` rises with each failover; 0 where it may not be asked."""

    endpoint: Endpoint
    epoch: int = 0


def elected(votes: Sequence[Vote], sentinels: int) -> Endpoint | None:
    """The server that most of all ``sentinels`` name, whether they answered or not. Pure."""
    count = Counter(vote.endpoint for vote in votes)
    return next((one for one, number in count.items() if 2 * number > sentinels), None)


def candidates(votes: Sequence[Vote], sentinels: int) -> list[Endpoint]:
    """Whom to try: the one that is elected, else each that is named, the likeliest first. Pure.

    That is the one with more votes, then the one of the later failover.
    """
    if winner := elected(votes, sentinels):
        return [winner]
    count = Counter(vote.endpoint for vote in votes)
    latest = {one: max(vote.epoch for vote in votes if vote.endpoint == one) for one in count}
    return sorted(count, key=lambda one: (-count[one], -latest[one]))


class WatchedPrimary:
    """The way to the primary of a service, wherever it is by now."""

    def __init__(self, access: Access, on_change: Told) -> None:
        self._access = access
        self._node = Node(self._connect, on_change)
        self._sentinels = {one: Node(partial(access.open_sentinel, one), _unheard) for one in access.address.endpoints}
        self._primary: Endpoint | None = None
        self._divided_since: float | None = None  # of the loop's clock
        self._watcher: asyncio.Task[None] | None = None
        service = access.address.service
        self._question = pack("SENTINEL", "GET-MASTER-ADDR-BY-NAME", service)
        self._question_of_epoch = pack("SENTINEL", "MASTER", service)  # may well be forbidden

    async def nodes(self) -> list[Node]:
        """The one."""
        return [self._node]

    async def send(self, packed: bytes, slot: int, script: Script | None = None) -> Any:
        """Send to the primary. Raises SinkFault."""
        return await (self._node.run(script, packed) if script else self._node.send(packed))

    def post(self, packed: bytes, slot: int, script: Script, hear: Hear) -> asyncio.Future[object]:
        """Send to the primary, at once where the connection stands."""
        return self._node.post(script, packed, hear)

    async def aclose(self) -> None:
        """Close the connection; calls under way fail."""
        if self._watcher:
            self._watcher.cancel()
            await asyncio.gather(self._watcher, return_exceptions=True)
        await asyncio.gather(*(node.aclose() for node in (self._node, *self._sentinels.values())))

    async def _connect(self) -> Connection:
        """Looks until there is a primary, for as long as one connection may take. Raises SinkFault."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._access.patience_seconds
        while True:
            try:
                async with asyncio.timeout_at(deadline):
                    connection = await self._find()
                break
            except TimeoutError:
                service, seconds = self._access.address.service, self._access.patience_seconds
                detail = f"no primary of {service} was found within {seconds:g} s - ask a Sentinel: SENTINEL MASTERS"
                raise SinkFault(FaultKind.UNREACHABLE, detail) from None
            except SinkFault as fault:
                if fault.kind not in _PASSING_SOON or loop.time() + _PAUSE_SECONDS >= deadline:
                    raise
            await asyncio.sleep(_PAUSE_SECONDS)
        if self._watcher is None:
            self._watcher = asyncio.create_task(self._watch(), name="watch the primary")
        return connection

    async def _find(self) -> Connection:
        named = await self._candidates()
        self._note_division(named)
        refused: SinkFault | None = None
        for endpoint in named:
            try:
                connection = await self._enter(endpoint)
            except SinkFault as fault:
                refused = refused or fault
            else:
                self._primary = endpoint
                return connection
        assert refused is not None
        raise refused

    def _note_division(self, named: Sequence[Endpoint]) -> None:
        """Raises SinkFault where the Sentinels are divided, and have not been so for long: they tell each other."""
        now = asyncio.get_running_loop().time()
        if len(named) == 1:
            self._divided_since = None
        elif self._divided_since is None:
            self._divided_since = now
        if self._divided_since is not None and now - self._divided_since < _DIVIDED_SECONDS:
            service = self._access.address.service
            detail = f"the Sentinels name {' and '.join(map(str, named))} as the primary of {service}; this passes"
            raise SinkFault(FaultKind.PRIMARY_DOWN, detail)

    async def _enter(self, endpoint: Endpoint) -> Connection:
        """Open and see that it is a primary. One that hangs is waited for only while it is still named."""
        attempt = asyncio.create_task(self._open_primary(endpoint), name=f"enter {endpoint}")
        try:
            while not (await asyncio.wait({attempt}, timeout=_SLOW_SECONDS))[0]:
                if endpoint not in await self._candidates():
                    detail = f"Redis at {endpoint} hangs, and the Sentinels name another primary by now"
                    raise SinkFault(FaultKind.PRIMARY_DOWN, detail)
            return attempt.result()
        except BaseException:
            await _let_go(attempt)
            raise

    async def _open_primary(self, endpoint: Endpoint) -> Connection:
        connection = await self._access.open(endpoint)
        try:
            role = await connection.post(pack("ROLE"))
        except SinkFault as fault:
            if connection.broken:
                raise
            if fault.kind.meaning is Meaning.PASSES:  # it loads its data, say
                connection.close()
                raise
            return connection  # it may not be asked: then the Sentinels' word has to do
        except BaseException:
            connection.close()
            raise
        if role[0] != b"master":
            connection.close()
            detail = f"Redis at {endpoint} is a replica, though it is named as the primary; a failover is under way"
            raise SinkFault(FaultKind.PRIMARY_DOWN, detail)
        return connection

    async def _candidates(self) -> list[Endpoint]:
        return candidates(await self._votes(), len(self._sentinels))

    async def _votes(self) -> list[Vote]:
        """Ask all Sentinels; not longer than it takes to hear most of them say the same. Raises SinkFault."""
        asked = {asyncio.create_task(self._vote(one), name=f"ask {one}") for one in self._sentinels}
        votes: list[Vote] = []
        faults: list[str] = []
        loop = asyncio.get_running_loop()
        patience = loop.time() + _SLOW_SECONDS
        try:
            while asked:
                # Once somebody has answered, those that hang are waited for no longer.
                left = max(0.0, patience - loop.time()) if votes else None
                done, asked = await asyncio.wait(asked, timeout=left, return_when=asyncio.FIRST_COMPLETED)
                for one in done:
                    told = one.result()
                    votes += [told] if isinstance(told, Vote) else []
                    faults += [] if isinstance(told, Vote) else [told]
                if not done or elected(votes, len(self._sentinels)):
                    break
        finally:
            for one in asked:
                one.cancel()
        if not votes:
            raise SinkFault(FaultKind.UNREACHABLE, f"no Sentinel names the primary: {'; '.join(faults)}")
        return votes

    async def _vote(self, sentinel: Endpoint) -> Vote | str:
        """Or why there is none to be had."""
        named, master = await asyncio.gather(
            *(self._sentinels[sentinel].send(one) for one in (self._question, self._question_of_epoch)),
            return_exceptions=True,
        )
        return vote_in(named, master, sentinel, self._access.address.service)

    async def _watch(self) -> None:
        """Leave a primary that is one no longer and would not say so: it hangs, was cut off, or is told last."""
        while True:
            await asyncio.sleep(_RECHECK_SECONDS)
            connection, primary = self._node.standing, self._primary
            if connection is None or primary is None:
                continue
            with suppress(SinkFault, TimeoutError):
                async with asyncio.timeout(self._access.patience_seconds):
                    successor = await self._successor(primary)
                if successor and connection is self._node.standing:
                    connection.give_up(f"{successor} is the primary of {self._access.address.service} by now")

    async def _successor(self, primary: Endpoint) -> Endpoint | None:
        """Whom most Sentinels name instead, and who agrees."""
        named = elected(await self._votes(), len(self._sentinels))
        if named is None or named == primary:
            return None
        (role,) = await self._access.ask(named, pack("ROLE"))
        return named if isinstance(role, list) and role[0] == b"master" else None


def vote_in(named: object, master: object, sentinel: Endpoint, service: str) -> Vote | str:
    """What a Sentinel's answers say, to who the primary is and to all about it; or why that is no vote. Pure."""
    match named:
        case [bytes(host), bytes(port)] if port.isdigit():
            return Vote(Endpoint(host.decode(errors="replace").lower(), int(port)), _epoch(master))
        case None:
            return f"the Sentinel at {sentinel} knows no service {service} - check redis.url"
        case SinkFault(detail=detail) if (
            "unknown command" not in detail
        ):  # in its words: it has users and passwords of its own
            detail = re.sub(r"\bredis\.(username|password)", r"redis.sentinel_\1", detail)
            return detail.replace("Redis at", "the Sentinel at", 1)
    return f"what answers at {sentinel} is no Sentinel - name the Sentinels in redis.url, or write redis:// there"


def _unheard(error: str | None) -> None:
    """Which Sentinel answers is of interest only where none does."""


def _epoch(master: Any) -> int:
    if not isinstance(master, list):
        return 0
    told = dict(zip(master[::2], master[1::2], strict=False)).get(b"config-epoch", b"")
    return int(told) if told.isdigit() else 0


async def _let_go(attempt: asyncio.Task[Connection]) -> None:
    attempt.cancel()
    (outcome,) = await asyncio.gather(attempt, return_exceptions=True)
    if isinstance(outcome, Connection):
        outcome.close()
