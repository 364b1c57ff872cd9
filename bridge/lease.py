"""Who reads which session: leases with a fencing token, and the register of live workers.

A lease's time to live says when another worker may take over; who may write is said by the token alone, compared whole
at every commit. So a worker that was paused past its lease cannot harm: its next commit is refused.
"""

from __future__ import annotations

import time
import uuid
from importlib.resources import files
from typing import Any, NamedTuple

from bridge.errors import SinkFault
from bridge.events import Claim, Phase, Place
from bridge.keys import WORKERS_KEY, SessionKeys
from bridge.link import Argument, RedisLink, Script
from bridge.outcomes import Fenced, HeldBy, Lost
from bridge.recovery import Seed, Trace, seed_from_traces, trace_of
from bridge.window import Window

__all__ = ["Leases", "Registration"]

_LUA = files("bridge")
_ACQUIRE = Script.of(_LUA.joinpath("acquire.lua").read_text())
_RENEW = Script.of(_LUA.joinpath("renew.lua").read_text())
_RELEASE = Script.of(_LUA.joinpath("release.lua").read_text())
_REGISTER = Script.of(_LUA.joinpath("register.lua").read_text())
_FIND = Script.of(_LUA.joinpath("find.lua").read_text())

# How far back in a stream to look for a session's last entries; how many at once, where each may be an embedding of
# 200 KB; and how many of them are enough.
_MAX_PAGES, _PAGE_ENTRIES, _ENOUGH_ENTRIES = 100, 100, 1000


class Registration(NamedTuple):
    """``workers`` live now. ``forgotten``: Redis no longer knew of this one."""

    workers: int
    forgotten: bool


class Leases:
    """Takes, renews and gives back leases for one worker."""

    def __init__(self, link: RedisLink, worker_id: str, ttl_seconds: float) -> None:
        self._link = link
        # Two workers may be given one name by mistake; they must still not take each other for themselves.
        self.owner = f"{worker_id}/{uuid.uuid4().hex[:8]}"
        self._ttl_seconds = ttl_seconds

    async def acquire(
        self, keys: SessionKeys, seed: Seed | None = None, *, begin: bool = True, window_alone: bool = False
    ) -> Claim | HeldBy | None:
        """Take a free lease, or one that is ours already, with a new token.

        Where Redis has no place, ``seed`` is set up (with ``window_alone`` its window, where Redis has none); else the
        session begins anew, or with ``begin`` off is left alone (None). Raises SinkFault.
        """
        arguments: list[Argument] = [self.owner, self._ttl_ms, uuid.uuid4().hex[:12], f"{time.time():.3f}"]
        if seed:
            place = seed.place
            mode = "window" if window_alone else "seed"
            arguments += [mode, place.cursor or "", place.ordinal, place.seq, place.commits, *seed.window]
        else:
            arguments.append("begin" if begin else "wait")
        packed = _ACQUIRE.pack((keys.lease, keys.state, keys.seen), arguments)
        reply = await self._link.run(_ACQUIRE, packed)
        try:
            return _claim(reply)
        except ValueError as error:
            detail = f"{keys.state} or {keys.seen} holds what the bridge did not write ({error})"
            raise SinkFault("damaged", f"{detail} - delete both: the place is then read off the stream") from error

    async def renew(self, keys: SessionKeys, token: str) -> int | Fenced | Lost:
        """Keep a lease; tells how many commits Redis knows of, which an idle session can only learn here.

        Raises SinkFault.
        """
        packed = _RENEW.pack((keys.lease, keys.state), (self.owner, self._ttl_ms, token))
        match await self._link.run(_RENEW, packed):
            case int(commits):
                return commits
            case b"FENCED":
                return Fenced()
            case b"LOST":
                return Lost()
            case reply:
                raise SinkFault("reply", f"Redis gave an answer to a renewal that it should not know: {reply!r:.100}")

    async def release(self, keys: SessionKeys, token: str) -> None:
        """Give a lease back, if it is still ours. Raises SinkFault."""
        await self._link.run(_RELEASE, _RELEASE.pack((keys.lease, keys.state), (self.owner, token)))

    async def find_seed(self, keys: SessionKeys, session_id: str) -> Seed | None:
        """The place that a session's own entries tell, for a state that was lost. Raises SinkFault."""
        traces: list[Trace] = []
        begin = "+"
        for _ in range(_MAX_PAGES):
            packed = _FIND.pack((keys.events,), (begin, _PAGE_ENTRIES, session_id))
            found, last, looked_at = await self._link.run(_FIND, packed)
            try:
                traces += [trace_of(dict(zip(fields[::2], fields[1::2], strict=True))) for fields in found]
            except (KeyError, ValueError) as error:
                detail = f"{keys.events} holds an entry of {session_id} that the bridge did not write ({error!r})"
                raise SinkFault("damaged", f"{detail} - delete it with XDEL") from error
            if looked_at < _PAGE_ENTRIES or len(traces) >= _ENOUGH_ENTRIES:
                break
            begin = f"({last.decode()}"
        return seed_from_traces(traces[::-1])

    async def register(self) -> Registration:
        """Say that this worker lives. Raises SinkFault."""
        packed = _REGISTER.pack((WORKERS_KEY,), (self.owner, f"{self._ttl_seconds:.3f}"))
        workers, added = await self._link.run(_REGISTER, packed)
        return Registration(workers=workers, forgotten=bool(added))

    async def sign_off(self) -> None:
        """Leave the register. Raises SinkFault."""
        await self._link.run(_REGISTER, _REGISTER.pack((WORKERS_KEY,), (self.owner, 0)))

    @property
    def _ttl_ms(self) -> int:
        return int(self._ttl_seconds * 1000)


def _claim(reply: Any) -> Claim | HeldBy | None:
    """Raises ValueError where the place was damaged."""
    match reply:
        case [b"NEW"]:
            return None
        case [b"HELD", bytes(owner), int(left)]:
            return HeldBy(owner=owner.decode(errors="replace"), remaining_seconds=left / 1000)
        case [b"OK", token, cursor, ordinal, seq, commits, phase, list(window), seeded]:
            Window(0, window)  # to see that it can be read
            place = Place(cursor=cursor.decode() or None, ordinal=int(ordinal), seq=int(seq), commits=int(commits))
            return Claim(
                token=token.decode(),
                place=place,
                phase=Phase(phase.decode()),
                window=tuple(window),
                seeded=bool(seeded),
            )
    raise SinkFault("reply", f"Redis gave an answer to a lease request that it should not know: {reply!r:.100}")
