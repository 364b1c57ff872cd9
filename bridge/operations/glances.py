"""What can be seen in Redis of sessions and of workers, from outside: ten thousand of them in well under a second."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from bridge.errors import BridgeError
from bridge.model.keys import WORKERS_KEY, SessionKeys
from bridge.store.link import RedisLink, Script
from bridge.store.nodes.slots import slot_of

__all__ = ["Glance", "glance", "live_workers", "resolved"]

_GLANCE = Script.of(files("bridge.store").joinpath("scripts/glance.lua").read_text())
_AT_ONCE = 250  # sessions in one call: it holds up commits for about a millisecond
_UNDER_WAY = 16  # calls at a time

_WHOLE, _DECIMAL = re.compile("[0-9]{1,18}"), re.compile(r"[0-9]{1,12}(\.[0-9]{1,9})?")
_RECORD = re.compile(r"(?P<owner>\S+) (?P<digest>[0-9a-f]{16}) (?P<releases>[0-9]+) (?P<ttl_ms>[0-9]{1,9})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Glance:
    """A session's committed place and who reads it. ``updated_at`` is Unix seconds, 0 where it has no place yet.

    ``owner``: the worker that has the lease now; None where nobody has.
    """

    owner: str | None = None
    seq: int = 0
    cursor: str | None = None
    phase: str | None = None
    updated_at: float = 0.0
    token: str = ""


async def glance(link: RedisLink, sessions: Sequence[SessionKeys], *, clustered: bool) -> list[Glance]:
    """Look at sessions, in the order given. ``clustered``: only keys of one slot can be asked for together.

    Raises SinkFault.
    """
    groups: dict[int, list[int]] = {}
    for at, keys in enumerate(sessions):
        groups.setdefault(slot_of(keys.state) if clustered else at // _AT_ONCE, []).append(at)
    found: list[Glance] = [Glance()] * len(sessions)
    gate = asyncio.Semaphore(_UNDER_WAY * (_UNDER_WAY if clustered else 1))

    async def look(group: Sequence[int]) -> None:
        keys = [key for at in group for key in (sessions[at].state, sessions[at].lease)]
        async with gate:
            rows = await link.to(keys[0]).run(_GLANCE, _GLANCE.pack(keys, ()))
        for at, row in zip(group, rows, strict=True):
            found[at] = _glance(row)

    parts = [group[at : at + _AT_ONCE] for group in groups.values() for at in range(0, len(group), _AT_ONCE)]
    await asyncio.gather(*map(look, parts))
    return found


async def live_workers(link: RedisLink) -> list[str]:
    """The owners, as they stand in leases, of all workers whose last word is fresh. Raises SinkFault."""
    route = link.to(WORKERS_KEY)
    rows, (seconds, microseconds) = await asyncio.gather(
        route.call("ZRANGE", WORKERS_KEY, 0, -1, "WITHSCORES"), route.call("TIME")
    )
    now = int(seconds) + int(microseconds) / 1e6
    live = set()
    for record, score in zip(rows[::2], rows[1::2], strict=True):
        said = _RECORD.fullmatch(record.decode(errors="replace"))
        # One from the future was written under another clock, or by somebody else.
        if said and now < float(score) <= now + int(said["ttl_ms"]) / 1000 + 1:
            live.add(said["owner"])
    return sorted(live)


def resolved(worker: str, live: Iterable[str]) -> str:
    """The owner that a person means by ``worker``: its worker.id, or how it begins, a pod's name say.

    Raises BridgeError, in words, where that is none or several.
    """
    known = list(live)
    meant = [one for one in known if worker in (one, one.rpartition("/")[0])]
    meant = meant or [one for one in known if one.startswith(worker)]
    if len(meant) == 1:
        return meant[0]
    names = ", ".join(known) or "none"
    if meant:
        raise BridgeError(f"{len(meant)} workers are called {worker}; give more of the name: {', '.join(meant)}")
    raise BridgeError(f"no live worker is called {worker}; those that live: {names}")


def _glance(row: Sequence[Any]) -> Glance:
    token, _, seq, cursor, phase, updated_at, holder = (None if one is None else _text(one) for one in row)
    return Glance(
        owner=holder,
        seq=int(seq) if seq and _WHOLE.fullmatch(seq) else 0,
        cursor=cursor or None,
        phase=phase,
        updated_at=_seconds(updated_at),
        token=token or "",
    )


def _seconds(text: str | None) -> float:
    """What was written by hand must not stop the looking: what is no time is none."""
    return min(float(text), time.time() + 1e9) if text and _DECIMAL.fullmatch(text) else 0.0


def _text(raw: bytes) -> str:
    return raw.decode(errors="backslashreplace")
