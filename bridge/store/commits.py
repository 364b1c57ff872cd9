"""Commit a batch and the place after it into Redis, as one script call."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from importlib.resources import files
from itertools import chain
from typing import cast

from bridge.delivery.filters import Router
from bridge.delivery.window import Seal
from bridge.errors import FaultKind, SinkFault
from bridge.model.keys import SessionKeys
from bridge.model.labels import Phase
from bridge.model.outcomes import AlreadyCommitted, CommitResult, Committed, Fenced, Lost, RolledBack
from bridge.model.place import Place, Session
from bridge.model.records import Piece, Record, Run
from bridge.settings import EntryFormat, StreamSettings
from bridge.store.connection import Hear, pack
from bridge.store.durability import Durability
from bridge.store.link import Argument, Route, Script
from bridge.store.packing import LARGE_BYTES, pack_large

__all__ = ["COMMIT", "HEADER", "RedisSink", "commit_script"]

_SCRIPTS = files("bridge.store").joinpath("scripts")


@cache  # each session has a sink
def commit_script(*, extended: bool = False, keeping: bool = False) -> Script:
    """The commit, behind what it calls. To define that costs a third of a microsecond each time, so who does not need
    it goes without: ``extended``, entries with more than the plain fields; ``keeping``, unread entries are kept."""
    append = _read("extended.lua") if extended else "local append = redis.pcall\n"
    return Script.of(append + (_read("retention.lua") if keeping else "") + _read("commit.lua"))


def _read(name: str) -> str:
    return _SCRIPTS.joinpath(name).read_text()


COMMIT = commit_script()
"""That of a worker whose settings are the default."""

_TOUCH = Script.of(_SCRIPTS.joinpath("touch.lua").read_text())

HEADER = (
    *("token", "expected", "follows", "mark", "session_id", "name", "cursor", "ordinal", "phase", "now"),
    *("max_length", "max_age_ms", "unread_cap", "max_letters", "blob", "keep_blobs"),
)
"""The arguments before the records, in the order in which the script unpacks them."""

_CE_SOURCE = "/lens/sessions/"
"""What a CloudEvent comes from: the session, as a reference relative to the API's base URL. Not that URL itself, which
the vendor moves, and which may name an internal host: an event's source and id are the same whoever reads it."""


class RedisSink:
    """Implements the session's `Sink` for one session's keys."""

    def __init__(
        self,
        link: Route,
        keys: SessionKeys,
        session: Session,
        settings: StreamSettings,
        durability: Durability | None = None,
        *,
        traced: bool = False,
    ) -> None:
        self._link = link
        self._durability = durability if durability and durability.confirmation else None
        confirmation = self._durability.confirmation if self._durability else b""
        cloudevents = settings.format is EntryFormat.CLOUDEVENTS
        self._extended = cloudevents or traced
        self._source = _CE_SOURCE + session.session_id if cloudevents else ""
        script = commit_script(extended=self._extended, keeping=settings.keep_unread)
        self._commit, self._touch = (
            replace(script, confirmation=confirmation),
            replace(_TOUCH, confirmation=confirmation),
        )
        self._keys = (keys.events, keys.state, keys.seen, keys.dead_letter, *keys.streams[1:])
        self._router = Router.of(keys)
        self._call = ("EVALSHA", *self._commit.named(self._keys))
        self._session = (session.session_id, session.name)
        max_age = settings.max_age_seconds
        self._trims: tuple[Argument, ...] = (
            settings.max_length or "",
            "" if max_age is None else int(max_age * 1000),
            (settings.hard_max_length or 0) if settings.keep_unread else "",
            settings.max_dead_letters,
        )

    def pack(
        self,
        token: str,
        place: Place,
        after: Place,
        batch: Sequence[Piece],
        seal: Seal,
        phase: Phase,
        traceparent: str = "",
    ) -> bytes:
        """The commit that follows ``place``, appends ``batch`` and stands at the cursor and mark of ``after``.

        To be sent again unchanged until its outcome is known: the script tells whether it had landed. ``traceparent``
        goes into each entry, where this sink is a traced one.
        """
        arguments: list[Argument] = [
            *self._call,
            *(token, place.commits, place.mark, after.mark, *self._session, _text(after.cursor or "")),  # as HEADER
            *(after.ordinal, phase, f"{time.time():.3f}", *self._trims, seal.blob, seal.keep),
        ]
        if self._router and (targets := self._router.targets(batch)):
            arguments += (b"k", targets)
        data_bytes = events = 0
        received_at, stamp = 0.0, b""
        for record in batch:
            if record.received_at != received_at:  # the same for all events of a chunk
                received_at = record.received_at
                stamp = b"%.3f" % received_at
            if isinstance(record, Run):
                events += len(record)
                data_bytes += record.data_bytes
                _add_run(arguments, record, stamp)
                continue
            events += 1
            data_bytes += len(record.data)
            if record.dead is not None:
                _add_dead_letter(arguments, record, stamp)
            elif record.skip is not None:
                _add_marker(arguments, record, record.skip, stamp)
            elif record.event == "message":
                arguments += (b"e", _text(record.key), _text(record.type), record.data, stamp)
            else:
                arguments += (b"n", _text(record.key), _text(record.type), record.data, stamp, _text(record.event))
        if self._extended:
            arguments += (self._source, traceparent)
        return pack_large(arguments) if data_bytes > LARGE_BYTES * events else pack(*arguments)

    def pack_replay(self, token: str, place: Place, mark: str, phase: Phase, traceparent: str = "") -> bytes:
        """The commit that follows ``place`` and publishes those dead letters that the state asks for, and no more.

        Where it lands, its ``seq`` tells how many of them were still there.
        """
        return pack(
            *self._call,
            *(token, place.commits, place.mark, mark, *self._session, _text(place.cursor or "")),  # as HEADER
            *(place.ordinal, phase, f"{time.time():.3f}", *self._trims, b"", 0),
            b"l",
            *((self._source, traceparent) if self._extended else ()),
        )

    async def commit(self, packed: bytes) -> CommitResult:
        """Send it. Raises SinkFault where Redis did not carry it out, or did not say whether it did."""
        reply = await self._link.run(self._commit, packed)
        if self._durability is None:
            return _result(reply)
        result = _result(reply[0])
        if isinstance(result, AlreadyCommitted | RolledBack):
            # What had landed was written on another connection, and on this one there is nothing yet to be waited for.
            reply = await self._link.run(self._touch, _TOUCH.pack(self._keys[1:2], (f"{time.time():.3f}",)))
        self._durability.check(reply[1])
        return result

    def post(self, packed: bytes, hear: Hear) -> asyncio.Future[object]:
        """Send it behind what was posted before, without waiting: the reply is for `read`, or a SinkFault.

        ``hear`` is called with it, mostly in the very step in which it comes.
        """
        return self._link.post(self._commit, packed, hear)

    def read(self, reply: object) -> CommitResult:
        """What a reply means. Raises SinkFault where the script gives none such, and where it is not safe enough."""
        if self._durability is None:
            return _result(reply)
        told, confirmation = cast("tuple[object, object]", reply)
        result = _result(told)
        if isinstance(result, Committed):
            self._durability.check(confirmation)
        return result


def _add_run(arguments: list[Argument], run: Run, stamp: bytes) -> None:
    type, count = run.types[0], len(run)
    if type and run.types.count(type) == count:
        arguments += (b"r", count, stamp, type)
        arguments += chain.from_iterable(zip(run.keys, run.datas, strict=True))
    else:
        arguments += (b"r", count, stamp, b"")
        arguments += chain.from_iterable(zip(run.keys, run.types, run.datas, strict=True))


def _add_marker(arguments: list[Argument], record: Record, skip: int, stamp: bytes) -> None:
    if record.type:
        arguments += (b"m", _text(record.key), record.type, record.data, stamp, skip)
    elif skip:  # markers are turned off
        arguments += (b"s", skip)
    else:  # an event that was filtered out
        arguments.append(b"f")


def _add_dead_letter(arguments: list[Argument], record: Record, stamp: bytes) -> None:
    dead = record.dead
    assert dead is not None
    arguments += (b"d", _text(record.key), _text(record.type), record.data, stamp, _text(record.event))
    arguments += (dead.reason.value, dead.detail, "1" if dead.truncated else "0")


def _text(text: str) -> str:
    # JSON may hold half of a surrogate pair, which UTF-8 cannot; such a thing must not stop the stream.
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _result(reply: object) -> CommitResult:
    match reply:
        case [b"OK", int(seq), int(length)]:
            return Committed(seq=seq, length=length)
        case [b"OK", int(seq), int(length), int(unread)]:
            return Committed(seq=seq, length=length, unread_trimmed=unread)
        case [b"OK", int(seq), int(length), bytes(trouble)]:
            return Committed(seq=seq, length=length, not_trimmed=trouble.decode(errors="replace"))
        case [b"ALREADY", int(seq), int(length), bytes(mark)]:
            return AlreadyCommitted(seq=seq, length=length, mark=mark.decode())
        case [b"FENCED", int(commits)]:
            return Fenced(commits=commits)
        case [b"ROLLED_BACK", int(commits), bytes(mark), int(seq), int(length)]:
            return RolledBack(commits=commits, mark=mark.decode(), seq=seq, length=length)
        case [b"LOST"]:
            return Lost()
    raise SinkFault(FaultKind.REPLY, f"Redis gave an answer to a commit that it should not know: {reply!r:.100}")
