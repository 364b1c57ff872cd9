"""From SSE events to records: keys, replays, dead letters, gaps. Pure: no clock, no I/O.

The intake knows the place *received*; the place *committed* follows it, batch by batch. All rules about ids are here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from bridge.delivery.batch import records_in
from bridge.delivery.echoes import echo, masked
from bridge.delivery.envelopes import (
    CONTROL_TYPES,
    STREAM_END,
    STREAM_HEARTBEAT,
    Kind,
    NotAnEnvelope,
    all_utf8,
    types_of,
)
from bridge.delivery.filters import Selection, passed_over
from bridge.delivery.markers import escaped, marker, may_need_escape
from bridge.delivery.replay import Ahead, ContentReplay, Verdict
from bridge.delivery.window import Window, digest_of, digests_of, hash8
from bridge.masking import Secrets
from bridge.model.labels import GapReason
from bridge.model.place import Place
from bridge.model.records import Accepted, DeadLetter, PlainEvents, Record, Run, ServerSentEvent

__all__ = ["HOLD_SECONDS", "Intake"]

HOLD_SECONDS = 2.0
"""How long a connection may be idle while it is undecided whether what it brought is a replay. Replays come in one
burst; while there is no connection the next one decides."""

HOLD_BYTES = 8 * 1024 * 1024
"""How much may be kept back: a window full of embeddings would be 400 MB, and come again with each reconnect."""


class Intake:
    """Turns the events of one session into records, across all its connections."""

    def __init__(
        self,
        *,
        place: Place,
        window: Window,
        secrets: Secrets,
        markers: bool = True,
        max_dead_letter_bytes: int = 65536,
        selection: Selection | None = None,
    ) -> None:
        self.cursor = place.cursor
        self._ordinal = place.ordinal
        self._begun = place.seq > 0
        self._window, self._secrets = window, secrets
        self._markers, self._selection = markers, selection or Selection()
        self._max_dead_letter_bytes = max_dead_letter_bytes
        # Of this connection: the id we stand behind, how many events without an id came since, and whether those
        # are being sent for a second time.
        self._at = self._cursor_at_open = place.cursor
        self._position = place.ordinal
        self._replaying = False
        self._arrived = False  # the id we stand behind came on this connection, not on one before it
        self._resumed = False
        self._ordinal_at_open = place.ordinal
        self._cursor_digest = b""  # kept apart from the window, which a long replay empties
        self._content: ContentReplay | None = None
        self._held: list[tuple[ServerSentEvent, float]] = []
        self._held_bytes = 0
        self._convincing = 0  # of those that are held, so many from the front: an earlier connection's, and a replay
        self._dropped = 0  # duplicates that are still to be told
        self._gap_open = Ahead.at_start(place)  # a marker has told of it
        self._ahead = Ahead(window, place)

    @property
    def holding(self) -> bool:
        """Events are kept back; call `release` when the connection has been idle for `HOLD_SECONDS`."""
        return bool(self._held)

    def opened(self, *, resumed: bool) -> None:
        """A connection stands. ``resumed``: it was asked to go on after ``cursor``."""
        self._at = self._cursor_at_open = self.cursor
        self._ordinal_at_open = self._ordinal
        self._cursor_digest = (self.cursor and self._window.get(self.cursor)) or b""
        self._arrived, self._resumed = False, resumed
        self._ahead.opened(self.cursor)
        remembered = self._window.tail_of(f"{self.cursor or 0}#", self._ordinal)
        by_position = resumed and len(remembered) == self._ordinal
        self._position = 0 if by_position else self._ordinal
        # Behind nothing at all stands who begins, and knows nothing, or whom a person has sent there.
        self._replaying = by_position or (self.cursor is None and not self._ordinal)
        # What an earlier connection left undecided stays held: its replay begins anew, or what comes proves it new.
        if self._content is not None and self._content.convincing:
            self._keep_last_replay()
        self._content = None if by_position or not remembered else ContentReplay(list(remembered.values()))

    def gap(self, reason: GapReason, *, outage_seconds: float, at: float) -> list[Record] | None:
        """What to append for a gap (nothing, with markers off); None where it is none.

        It is none before the first event, and when nothing came since the last gap.
        """
        if reason is not GapReason.STATE_LOST and (not self._begun or self._gap_open):
            return None
        self._gap_open = True
        detail = {"reason": reason.value, "last_id": self.cursor, "outage_seconds": round(outage_seconds, 3)}
        return self._marker("gap", detail, at)

    def ended(self, reason: str, *, at: float) -> list[Record]:
        """What to append at the end of the session: a marker, where anything was ever published."""
        return self._marker("session.ended", {"reason": reason}, at) if self._begun else []

    def release(self) -> Accepted:
        """Publish what is held: the connection has been idle for long enough, or the worker stops.

        What is convincingly a replay is not published by time: the next connection brings its end.
        """
        accepted = Accepted()
        if self._content is None or not self._content.convincing:
            self._release_undecided(accepted)
        return accepted

    def accept(self, events: PlainEvents | Sequence[ServerSentEvent], received_at: float) -> Accepted:
        """Take in the events of one chunk, received at ``received_at`` (Unix seconds)."""
        if isinstance(events, PlainEvents):
            if (accepted := self._accept_run(events, received_at)) is not None:
                return accepted
            events = events.events()
        accepted, self._dropped = Accepted(duplicates=self._dropped), 0
        types, kind_of = accepted.types, self._selection.kind
        events, accepted.masked = masked(self._secrets, events)
        for event in events:
            kind = kind_of(event)
            if kind in CONTROL_TYPES:
                accepted.heartbeats += kind == STREAM_HEARTBEAT
                accepted.ended |= kind == STREAM_END
                continue
            label = kind if isinstance(kind, str) else ""
            types[label] = types.get(label, 0) + 1
            if event.id:
                self._with_id(event, event.id, kind, received_at, accepted)
            else:
                self._without_id(event, kind, received_at, accepted)
        return accepted

    def _accept_run(self, events: PlainEvents, received_at: float) -> Accepted | None:
        """The same for a whole chunk at once; None where any of its events asks for more than a look at all of them.

        So none of them is a control frame, known, twice in here, held back or secret, or has a key that needs escaping:
        what is left of the rules is that each key is the event's own id.
        """
        ids, raws = events
        wanted = self._selection
        if self._held or not self._window.all_new(ids):  # asked first: a replay of large events is read once
            return None
        types = types_of(raws)
        if types is None or (wanted.strict_json and not all_utf8(raws)):
            return None
        counts, digests = Counter(types), dict(zip(ids, digests_of(raws), strict=True))
        if len(digests) < len(ids) or self._at in digests or self._cursor_at_open in digests:
            return None
        if not CONTROL_TYPES.isdisjoint(counts) or not "".join(counts).isascii() or may_need_escape(ids, counts):
            return None
        if echo(self._secrets, raws, ids) or (wanted.types and not wanted.types.takes_all(counts)):
            return None
        self._window.remember_all(digests)
        self.cursor = self._at = ids[-1]
        self._ordinal, self._position = 0, 0
        self._arrived, self._begun = True, True
        self._replaying, self._gap_open = self._window.awaits, False
        run = Run.of(ids, types, raws, list(digests.values()), received_at)
        dropped, self._dropped = self._dropped, 0
        return Accepted(records=[run], types=counts, duplicates=dropped)

    def _with_id(self, event: ServerSentEvent, id: str, kind: Kind, received_at: float, accepted: Accepted) -> None:
        if self._held:
            self._content = None
            self._release_into(accepted)
        digest = digest_of(event.raw)
        if id == self._at and not self._is_cursor_itself(id, kind, digest):
            # Ids that several events share, from a clock say: told apart by their position, as those without an id.
            accepted.conflicts += self._place_without_id(event, kind, digest, received_at, accepted)
            return
        key = _key_of(id, kind)
        known = self._window.get(key)
        if known is None and id == self._cursor_at_open and digest == self._cursor_digest:
            known = digest
        self._at, self._arrived = id, True
        if known is None:
            self.cursor, self._ordinal = id, 0
            self._position, self._replaying = 0, self._window.awaits
            self._publish(event, key, kind, digest, received_at, accepted)
            return
        reused = f"{key}~{hash8(digest)}"
        if known == digest or self._window.get(reused) == digest:
            accepted.duplicates += 1
            self._window.came_again(key if known == digest else reused)
            if self._ahead.passes(key, id):
                self.cursor, self._ordinal = id, 0
            elif id == self._cursor_at_open and id != self.cursor:
                # What was published since the connection opened lay before the cursor: the window was too small for it.
                accepted.overrun = True
                self.cursor, self._ordinal = id, self._ordinal_at_open
            self._position, self._replaying = 0, True
            return
        accepted.conflicts += 1
        if id != self.cursor:
            self.cursor, self._ordinal = id, 0
        self._position, self._replaying = self._ordinal, False
        self._publish(event, reused, kind, digest, received_at, accepted)

    def _is_cursor_itself(self, id: str, kind: Kind, digest: bytes) -> bool:
        """The first event of a connection bears the id that we stand behind: is it sent again, or another one?

        A server that resumes sends what comes *after* the id, so where both could be, it is another one.
        """
        if self._arrived:
            return False
        if not self._resumed:
            return True
        known = self._window.get(_key_of(id, kind)) or self._cursor_digest
        return known == digest and self._window.get(self._key(1, kind, digest)) != digest

    def _without_id(self, event: ServerSentEvent, kind: Kind, received_at: float, accepted: Accepted) -> None:
        digest = digest_of(event.raw)
        if self._held and self._content is None:
            self._release_into(accepted)
        if self._content is not None:
            match self._content.offer(digest):
                case Verdict.HELD:
                    self._hold(event, received_at, accepted)
                    return
                case Verdict.REPLAYED:
                    accepted.duplicates += len(self._held) + 1
                    self._drop_held()
                    self._content = None
                    return
                case Verdict.NEW:
                    self._release_into(accepted)
        self._place_without_id(event, kind, digest, received_at, accepted)

    def _hold(self, event: ServerSentEvent, received_at: float, accepted: Accepted) -> None:
        assert self._content is not None
        self._held.append((event, received_at))
        self._held_bytes += len(event.raw)
        if self._held_bytes <= HOLD_BYTES:
            return
        if self._content.convincing:  # so much of it came again, in order and byte for byte: that is no coincidence
            accepted.duplicates += len(self._held)
            self._drop_held()
        else:
            self._release_undecided(accepted)

    def _drop_held(self) -> None:
        self._held, self._held_bytes, self._convincing = [], 0, 0

    def _keep_last_replay(self) -> None:
        """Of all that connections without an end have replayed, the last is enough to publish if it was none."""
        self._drop_convincing()
        self._convincing = len(self._held)

    def _drop_convincing(self) -> None:
        self._dropped += self._convincing
        self._held_bytes -= sum(len(event.raw) for event, _ in self._held[: self._convincing])
        del self._held[: self._convincing]
        self._convincing = 0

    def _place_without_id(
        self, event: ServerSentEvent, kind: Kind, digest: bytes, received_at: float, accepted: Accepted
    ) -> bool:
        """Publish an event that its position tells apart; False where it has come before."""
        at_cursor = self._at == self.cursor
        if self._replaying:
            key = self._key(self._position + 1, kind, digest)
            if self._window.get(key) == digest:
                self._position += 1
                self._window.came_again(key)
                if at_cursor:  # further on where a person has moved the place back
                    self._ordinal = max(self._ordinal, self._position)
                accepted.duplicates += 1
                return False
            self._replaying = False
            if at_cursor:
                self._position = self._ordinal
        self._position += 1
        while self._window.get(key := self._key(self._position, kind, digest)) is not None:
            self._position += 1  # the server counts its ids in circles; a key must not come twice
        if at_cursor:
            self._ordinal = self._position
        self._publish(event, key, kind, digest, received_at, accepted)
        return True

    def _key(self, position: int, kind: Kind, digest: bytes) -> str:
        return _key_of(f"{self._at or 0}#{position}-{hash8(digest)}", kind)

    def _publish(
        self, event: ServerSentEvent, key: str, kind: Kind, digest: bytes, received_at: float, accepted: Accepted
    ) -> None:
        self._window.remember(key, digest)
        self._gap_open = False
        if isinstance(kind, NotAnEnvelope):
            record = self._dead_letter(event, key, kind, digest, received_at)
        elif (types := self._selection.types) and not types.takes(kind):
            accepted.filtered += 1
            record = passed_over(key, kind, received_at, digest, self.cursor, self._ordinal)
        else:
            record = Record(key, kind, event.raw, received_at, event.event, digest, self.cursor, self._ordinal)
        self._begun |= record.skip is None
        accepted.records.append(record)

    def _dead_letter(
        self, event: ServerSentEvent, key: str, fault: NotAnEnvelope, digest: bytes, received_at: float
    ) -> Record:
        size = event.oversize_bytes or len(event.raw)
        kept = event.raw[: self._max_dead_letter_bytes]
        dead = DeadLetter(fault.reason, fault.detail, truncated=len(kept) < size)
        return Record(key, "", kept, received_at, event.event, digest, self.cursor, self._ordinal, dead)

    def _release_into(self, accepted: Accepted) -> None:
        """What is held was no replay: publish it."""
        held, self._content = self._held, None
        self._drop_held()
        for event, received_at in held:
            self._place_without_id(event, self._selection.kind(event), digest_of(event.raw), received_at, accepted)

    def _release_undecided(self, accepted: Accepted) -> None:
        """Publish what is held, and forget it: it may be the replay, and no later one would stand the repeats in it."""
        self._drop_convincing()
        already = len(accepted.records)
        self._release_into(accepted)
        released = records_in(accepted.records[already:])
        self._window.forget(record.key for record in released)
        accepted.records[already:] = [record._replace(digest=b"") for record in released]

    def _marker(self, kind: str, detail: Mapping[str, object], at: float) -> list[Record]:
        if not self._markers:
            return []
        return [marker(kind, detail, at=at, cursor=self.cursor, ordinal=self._ordinal)]


def _key_of(key: str, kind: Kind) -> str:
    return escaped(key, kind) if isinstance(kind, str) else key
