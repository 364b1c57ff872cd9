"""Commit a batch and the place after it into Redis, as one script call."""

from __future__ import annotations

import time
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from bridge.errors import SinkFault
from bridge.events import Phase, Place, Record
from bridge.keys import SessionKeys
from bridge.link import Argument, RedisLink, Script
from bridge.outcomes import AlreadyCommitted, CommitResult, Committed, Fenced, Lost, RolledBack
from bridge.settings import StreamSettings
from bridge.window import Seal

__all__ = ["COMMIT", "RedisSink"]

COMMIT = Script.of(files("bridge").joinpath("commit.lua").read_text())


class RedisSink:
    """Implements the pump's `Sink` for one session's keys."""

    def __init__(self, link: RedisLink, keys: SessionKeys, session_id: str, settings: StreamSettings) -> None:
        self._link = link
        self._keys = (keys.events, keys.state, keys.seen, keys.dead_letter)
        self._session_id = session_id
        self._max_length = settings.max_length or ""
        self._max_age_seconds = settings.max_age_seconds
        self._max_dead_letters = settings.max_dead_letters

    def pack(self, token: str, place: Place, after: Place, batch: Sequence[Record], seal: Seal, phase: Phase) -> bytes:
        """The commit that follows ``place``, appends ``batch`` and stands at the cursor of ``after``.

        To be sent again unchanged until its outcome is known: the script tells whether it had landed.
        """
        now = time.time()
        arguments: list[Argument] = [token, place.commits, self._session_id, _text(after.cursor or ""), after.ordinal]
        arguments += [phase.value, f"{now:.3f}", self._max_length, self._lowest_id(now), self._max_dead_letters]
        arguments += [seal.blob, seal.keep]
        received_at, stamp = 0.0, b""
        for record in batch:
            if record.received_at != received_at:  # the same for all events of a chunk
                received_at = record.received_at
                stamp = b"%.3f" % received_at
            if record.dead is not None:
                _add_dead_letter(arguments, record, stamp)
            elif record.event == "message":
                arguments += (b"e", _text(record.key), _text(record.type), record.data, stamp)
            else:
                arguments += (b"n", _text(record.key), _text(record.type), record.data, stamp, _text(record.event))
        return COMMIT.pack(self._keys, arguments)

    async def commit(self, packed: bytes) -> CommitResult:
        """Send it. Raises SinkFault where Redis did not carry it out, or did not say whether it did."""
        return _result(await self._link.run(COMMIT, packed))

    def _lowest_id(self, now: float) -> str:
        return "" if self._max_age_seconds is None else str(int((now - self._max_age_seconds) * 1000))


def _add_dead_letter(arguments: list[Argument], record: Record, stamp: bytes) -> None:
    dead = record.dead
    assert dead is not None
    arguments += (b"d", _text(record.key), _text(record.type), record.data, stamp, _text(record.event))
    arguments += (dead.reason.value, dead.detail, "1" if dead.truncated else "0")


def _text(text: str) -> str:
    # JSON may hold half of a surrogate pair, which UTF-8 cannot; such a thing must not stop the stream.
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _result(reply: Any) -> CommitResult:
    match reply:
        case [b"OK", int(seq), int(length)]:
            return Committed(seq=seq, length=length)
        case [b"ALREADY", int(seq), int(length)]:
            return AlreadyCommitted(seq=seq, length=length)
        case [b"FENCED"]:
            return Fenced()
        case [b"ROLLED_BACK", int(commits)]:
            return RolledBack(commits=commits)
        case [b"LOST"]:
            return Lost()
    raise SinkFault("reply", f"Redis gave an answer to a commit that it should not know: {reply!r:.100}")
