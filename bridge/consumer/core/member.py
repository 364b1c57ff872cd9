"""One member of a group: what it has in hand, what it asks for next, what becomes of each entry. Pure.

An entry is *in hand* from its delivery until it is acknowledged, given back or buried. Those in hand are kept alive by
`beat`, which runs beside the work.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from bridge.consumer.core.asking import Asking, Patience
from bridge.consumer.core.calls import Pause, Program, Word
from bridge.consumer.core.entries import Entry, NotAnEntryError, parse
from bridge.consumer.core.faults import GroupMissingError, Meaning, meaning
from bridge.consumer.core.group import Group
from bridge.consumer.core.hand import Hand
from bridge.model.keys import hash_tag

__all__ = ["Counts", "Member", "dead_letter_key"]

T = TypeVar("T")

log = logging.getLogger("bridge.consumer")

_SIGNS_OF_LIFE = 3  # in the time after which a member is taken for dead
_LOOKS = 4  # for abandoned entries, in the same time
_BUSY_SECONDS = 0.25  # before asking again for a stream that another member works on
_DETAIL_CHARACTERS = 1000
_IDS_PER_CALL = 1000  # some services refuse more than 3,999 arguments


def dead_letter_key(stream: str, group: str) -> str:
    """Where a group's dead letters stand: in the stream's own hash slot."""
    return f"lens:{{{hash_tag(stream)}}}:dead-letter:{group}"


@dataclass(slots=True)
class Counts:
    """What a member has done since it began."""

    acknowledged: int = 0
    redelivered: int = 0  # entries that came to it for a second time or more
    dead_lettered: int = 0
    trimmed: int = 0  # entries that were trimmed from the stream before anybody had acknowledged them
    last_seq: dict[str, int] = field(default_factory=dict)  # by session id: of the last entry acknowledged here


class Member:
    """``name`` is unique in the group. ``in_order``: one member of the group works on the stream at a time."""

    def __init__(self, name: str, group: Group, asking: Asking, *, in_order: bool) -> None:
        self.name = name
        self.counts = Counts()
        self.group = group
        self._asking = asking
        self._limits = asking.limits
        self._in_order = in_order
        self._dead = dead_letter_key(asking.stream, group.name)
        self._hand = Hand(in_order=in_order)
        self._kept_at = self._claim_at = self._handed_out_at = time.monotonic()
        self._cursor = "0-0"

    @property
    def beat_seconds(self) -> float:
        """How long to wait between two calls of `beat`."""
        return self._limits.claim_after_seconds / _SIGNS_OF_LIFE

    def stop(self) -> None:
        """Nothing more is fetched; safe in a signal handler."""
        self._asking.stop()

    def next(self, size: int) -> Program[list[Entry]]:
        """The next entries, at most ``size`` of them; none after a stop. What comes again comes alone."""
        while not self._asking.stopping:
            if self._hand.some_wait:
                yield from self._revalidate()
                if taken := self._hand_out(size):
                    return taken
            try:
                taken = yield from self._in_turn(size) if self._in_order else self._in_parallel(size)
                if not taken:
                    yield from self.group.tell_of_nothing()
            except GroupMissingError:
                yield from self.group.make()
            except Exception as error:
                if meaning(error) is not Meaning.PASSES:  # what passes is told of after a stop only
                    raise
            else:
                if taken:
                    return taken
        return []

    def acknowledge(self, entries: Iterable[Entry]) -> Program[None]:
        """Their work is done. Those that are not in hand any more are left out."""
        mine = [one for one in entries if one.entry_id in self._hand]
        for part in _parts(mine):
            ids = [one.entry_id for one in part]
            try:
                others = yield from self._acked(ids)
            except Exception as error:
                if not self._asking.stopping or meaning(error) is not Meaning.PASSES:
                    raise
                log.warning("stop.cut_short stream=%s entries=%d: they come again", self._asking.stream, len(part))
                return
            self._hand.let_go(ids)
            self._hand.lose(others)
            done = [one for one in part if one.entry_id not in others]
            self.counts.acknowledged += len(done)
            for one in done:
                self.counts.last_seq[one.session_id] = one.seq

    def fail(self, entries: Sequence[Entry], error: BaseException) -> Program[None]:
        """Their work failed: each comes again, alone; one that came too often goes to the dead letters."""
        mine = [one for one in entries if one.entry_id in self._hand]
        worn_out = [one for one in mine if one.deliveries >= self._limits.max_deliveries]
        if worn_out:
            kind = f"{type(error).__module__}.{type(error).__qualname__}".removeprefix("builtins.")
            for one in worn_out:
                yield from self._bury(one.entry_id, "failed", one.deliveries, kind, str(error))
        if again := [one for one in mine if one not in worn_out]:
            log.info(
                "entry.failed stream=%s entries=%d error=%s", self._asking.stream, len(again), type(error).__name__
            )
            retry = self._limits.retry_seconds
            back = [(one, one.deliveries) for one in again]
            if self._in_order:  # what stands behind comes again too, and was not tried
                back += [(one, one.deliveries - 1) for one in self._hand.put_down()]
            yield from self._release(back, max(0, self._limits.claim_after_ms - round(retry * 1000)))
            self._claim_at = min(self._claim_at, time.monotonic() + retry)
            if self._in_order:
                yield Pause(retry)

    def beat(self) -> Program[None]:
        """Tell that those in hand are worked on, let go of what others have taken over, and look at the group.

        Where the work hangs, nothing is kept: what waits behind it goes to others at once, and counts as not tried.
        """
        longest = self._limits.work_seconds
        try:
            if longest is not None and time.monotonic() - self._handed_out_at >= longest:
                waiting = [(one, one.deliveries - 1) for one in self._hand.put_down()]
                yield from self._release(waiting, self._limits.claim_after_ms, patience=Patience.NONE)
            else:
                yield from self._keep()
            yield from self.group.look()
        except GroupMissingError:
            pass
        except Exception as error:
            if meaning(error) is not Meaning.PASSES:
                raise

    def leave(self) -> Program[None]:
        """Give back what is in hand, so that others have it at once, and leave the group."""
        waiting = self._hand.put_down()
        back = [(one, one.deliveries) for one in self._hand.worked_on()]
        back += [(one, one.deliveries - 1) for one in waiting]
        if not self._asking.stopping:
            self._asking.stop()
        patience = Patience.TO_THE_END if back else Patience.NONE
        yield from self._release(back, self._limits.claim_after_ms, leave=True, patience=patience)

    def _acked(self, ids: Sequence[str]) -> Program[set[str]]:
        """Acknowledge them; gives those that are another member's by now. Side by side that is not asked: what is done
        is done, whoever did it. In order nobody else may go on while that one works."""
        if not self._in_order:
            yield from self._asking.ask("XACK", self._asking.stream, self.group.name, *ids)
            return set()
        return {one.decode() for one in (yield from self._asking.run("done", self.group.name, self.name, *ids))}

    def _keep(self) -> Program[None]:
        now = time.monotonic()
        with contextlib.suppress(GroupMissingError):
            for part in _parts(self._hand.ids()):
                gone, others = yield from self._asking.run(
                    "keep", self.group.name, self.name, *part, patience=Patience.NONE
                )
                self._hand.let_go([one.decode() for one in gone])
                self._hand.lose([one.decode() for one in others])
        self._kept_at = now

    def _in_parallel(self, size: int) -> Program[list[Entry]]:
        if time.monotonic() >= self._claim_at and (claimed := (yield from self._claim())):
            return [claimed]
        asking, limits = self._asking, self._limits
        due = self._claim_at - time.monotonic()  # what failed is not to wait for what comes
        block = min(limits.block_seconds, due) if due > 0 else limits.block_seconds
        reply = yield from asking.ask(
            *("XREADGROUP", "GROUP", self.group.name, self.name, "COUNT", max(size, limits.prefetch)),
            *("BLOCK", max(1, round(block * 1000)), "STREAMS", asking.stream, ">"),
            patience=Patience.TO_THE_STOP,
        )
        self.group.known = True
        yield from self._take_in(_entries(reply))
        return self._hand_out(size)

    def _claim(self) -> Program[Entry | None]:
        """One abandoned entry; None where none was found this time."""
        limits = self._limits
        reply = yield from self._asking.run(
            "claim", self.group.name, self.name, limits.claim_after_ms, self._cursor, patience=Patience.TO_THE_STOP
        )
        self._cursor = reply[0].decode()
        self.counts.trimmed += int(reply[1])
        if len(reply) == 2:
            if self._cursor == "0-0":
                wait = limits.claim_after_seconds / _LOOKS * (0.5 + self._asking.random())
                self._claim_at = time.monotonic() + min(wait, limits.block_seconds * (0.5 + self._asking.random()))
            return None
        _, _, entry_id, fields, deliveries = reply
        if entry_id.decode() in self._hand:  # this process has slept for longer than it thinks
            yield from self.beat()
            return None
        return (yield from self._again(entry_id.decode(), fields, int(deliveries)))

    def _in_turn(self, size: int) -> Program[list[Entry]]:
        limits, asking = self._limits, self._asking
        count = max(size, limits.prefetch)
        reply = yield from asking.run(
            "ordered", self.group.name, self.name, limits.claim_after_ms, count, patience=Patience.TO_THE_STOP
        )
        self.group.known = True
        match reply[0]:
            case b"NEW":
                yield from self._take_in([(id.decode(), _fields(flat)) for id, flat in reply[1]])
                return self._hand_out(size)
            case b"AGAIN":
                entry = yield from self._again(reply[1].decode(), reply[2], int(reply[3]))
                return [entry] if entry else []
            case b"EMPTY":
                block = max(1, round(limits.block_seconds * 1000))
                yield from asking.ask(
                    *("XREAD", "COUNT", 1, "BLOCK", block, "STREAMS", asking.stream, reply[1]),
                    patience=Patience.TO_THE_STOP,
                )
            case b"TRIMMED":
                self.counts.trimmed += 1
            case b"BUSY":
                yield Pause(min(_BUSY_SECONDS, limits.claim_after_seconds / _LOOKS) * (0.5 + asking.random()))
        return []

    def _again(self, entry_id: str, flat: Any, deliveries: int) -> Program[Entry | None]:
        """An entry that was delivered before; None where it is buried instead."""
        self.counts.redelivered += 1
        if deliveries > self._limits.max_deliveries:
            told = f"given to members {deliveries - 1} times, and never acknowledged"
            yield from self._bury(entry_id, "abandoned", deliveries - 1, "", told)
            return None
        yield from self._take_in([(entry_id, _fields(flat))], deliveries)
        return next(iter(self._hand_out(1)), None)

    def _take_in(self, found: Sequence[tuple[str, Mapping[bytes, bytes]]], deliveries: int = 1) -> Program[None]:
        stream, now = self._asking.stream, time.monotonic()
        entries, foreign = [], []
        for entry_id, fields in found:
            try:
                entries.append(parse(stream, entry_id, fields, deliveries))
            except NotAnEntryError as error:
                foreign.append((entry_id, str(error)))
        if self._hand.empty:
            self._kept_at = now
        self._hand.take_in(entries)
        if found:
            self.group.read(*found[-1])
        for entry_id, told in foreign:
            yield from self._bury(entry_id, "foreign", deliveries, "", told)

    def _hand_out(self, size: int) -> list[Entry]:
        self._handed_out_at = time.monotonic()
        return self._hand.give_out(size)

    def _revalidate(self) -> Program[None]:
        """After a sleep that nobody told of: does what waits here still belong to this member?"""
        if time.monotonic() - self._kept_at > 2 * self.beat_seconds:
            yield from self.beat()

    def _bury(self, entry_id: str, reason: str, deliveries: int, error: str, detail: str) -> Program[None]:
        told: tuple[Word, ...] = (
            *("reason", reason, "error", error, "detail", detail[:_DETAIL_CHARACTERS], "entry", entry_id),
            *("deliveries", deliveries, "group", self.group.name, "member", self.name),
        )
        text = [one.encode("utf-8", "replace") if isinstance(one, str) else one for one in told]
        try:
            moved = yield from self._asking.run("bury", self.group.name, self.name, entry_id, *text, keys=(self._dead,))
        except GroupMissingError:
            moved = 0
        self._hand.let_go([entry_id])
        if moved:
            self.counts.dead_lettered += 1
            log.warning("entry.buried stream=%s entry=%s reason=%s", self._asking.stream, entry_id, reason)

    def _release(
        self,
        back: Sequence[tuple[Entry, int]],
        idle_ms: int,
        *,
        leave: bool = False,
        patience: Patience = Patience.TO_THE_END,
    ) -> Program[None]:
        with contextlib.suppress(GroupMissingError):
            for part in _parts(back) if back or not leave else [back]:
                pairs = [word for entry, deliveries in part for word in (entry.entry_id, deliveries)]
                yield from self._asking.run(
                    "release", self.group.name, self.name, idle_ms, int(leave), *pairs, patience=patience
                )
        self._hand.let_go([entry.entry_id for entry, _ in back])


def _parts(items: Sequence[T]) -> Iterable[Sequence[T]]:
    return (items[at : at + _IDS_PER_CALL] for at in range(0, len(items), _IDS_PER_CALL))


def _entries(reply: Any) -> list[tuple[str, Mapping[bytes, bytes]]]:
    """Of XREADGROUP, in each form that redis-py and RESP give it; entries that are gone have no fields and no place."""
    if not reply:
        return []
    streams = list(reply.values()) if isinstance(reply, dict) else [one[1] for one in reply]
    found = streams[0]
    if found and isinstance(found[0], list) and found[0] and isinstance(found[0][0], list | tuple):
        found = found[0]  # RESP3, as redis-py gives it
    return [(id.decode(), _fields(fields)) for id, fields in found if fields]


def _fields(given: Any) -> Mapping[bytes, bytes]:
    return given if isinstance(given, dict) else dict(zip(given[::2], given[1::2], strict=True))
