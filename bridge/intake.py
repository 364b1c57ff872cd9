"""From SSE events to records: keys, replays, dead letters, gaps. Pure: no clock, no I/O.

The intake knows the place *received*; the place *committed* follows it, batch by batch. All rules about ids are here.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bridge.envelopes import CONTROL_TYPES, STREAM_END, STREAM_HEARTBEAT, Fault, type_of
from bridge.events import DeadLetter, DeadLetterReason, GapReason, Place, Record
from bridge.replay import ContentReplay, Verdict
from bridge.secrets import Secrets
from bridge.sse import ServerSentEvent
from bridge.window import Window, digest_of, hash8

__all__ = ["HOLD_SECONDS", "Intake", "Taken"]

Kind = str | Fault
"""The type of a lens event, or why it has none."""

HOLD_SECONDS = 2.0
"""How long events may be kept back while it is undecided whether they are a replay. Replays come in one burst."""

HOLD_BYTES = 8 * 1024 * 1024
"""How much may be kept back: a window full of embeddings would be 400 MB, and come again with each reconnect."""


@dataclass(slots=True, kw_only=True)
class Taken:
    """What a chunk of events came to."""

    records: list[Record] = field(default_factory=list)
    types: dict[str, int] = field(default_factory=dict)
    heartbeats: int = 0
    duplicates: int = 0
    conflicts: int = 0
    masked: int = 0
    overrun: bool = False
    ended: bool = False


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
    ) -> None:
        self.cursor = place.cursor
        self._ordinal = place.ordinal
        self._begun = place.seq > 0
        self._window = window
        self._secrets = secrets
        self._markers = markers
        self._max_dead_letter_bytes = max_dead_letter_bytes
        # Of this connection: the id we stand behind, how many events without an id came since, and whether those
        # are being sent for a second time.
        self._at = place.cursor
        self._position = place.ordinal
        self._replaying = False
        self._cursor_at_open = place.cursor
        self._cursor_digest = b""  # kept apart from the window, which a long replay empties
        self._fresh = False
        self._content: ContentReplay | None = None
        self._held: list[tuple[ServerSentEvent, float]] = []
        self._held_bytes = 0
        self._gap_open = False

    @property
    def holding(self) -> bool:
        """Events are kept back; call `release` when they have waited for `HOLD_SECONDS`."""
        return bool(self._held)

    def opened(self, *, resumed: bool) -> None:
        """A connection stands. ``resumed``: it was asked to go on after ``cursor``."""
        self._at, self._cursor_at_open, self._fresh = self.cursor, self.cursor, False
        self._cursor_digest = (self.cursor and self._window.get(self.cursor)) or b""
        prefix = f"{self.cursor or 0}#"
        remembered = self._window.tail_of(prefix, self._ordinal)
        by_position = resumed and len(remembered) == self._ordinal
        self._position = 0 if by_position else self._ordinal
        self._replaying = by_position
        # What an earlier connection left undecided stays held: its replay begins anew, or what comes proves it new.
        if by_position or not remembered:
            self._content = None
        else:
            self._content = ContentReplay(remembered)

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

    def release(self) -> Taken:
        """Publish what is held: it has waited long enough, or the worker stops."""
        taken = Taken()
        self._content = None
        self._release_into(taken)
        return taken

    def accept(self, events: Sequence[ServerSentEvent], received_at: float) -> Taken:
        """Take in the events of one chunk, received at ``received_at`` (Unix seconds)."""
        taken = Taken()
        types = taken.types
        if self._echoes(events):
            events = self._masked(events, taken)
        for event in events:
            kind = _kind_of(event)
            if isinstance(kind, str):
                if kind in CONTROL_TYPES:
                    self._control(kind, taken)
                    continue
                label = kind
            else:
                label = ""
            types[label] = types.get(label, 0) + 1
            if event.id:
                self._with_id(event, event.id, kind, received_at, taken)
            else:
                self._without_id(event, kind, received_at, taken)
        return taken

    def _control(self, kind: str, taken: Taken) -> None:
        if kind == STREAM_HEARTBEAT:
            taken.heartbeats += 1
            self._content = None  # the source is idle, so whatever it replayed is over
            self._release_into(taken)
        elif kind == STREAM_END:
            taken.ended = True

    def _with_id(self, event: ServerSentEvent, key: str, kind: Kind, received_at: float, taken: Taken) -> None:
        if self._held:
            self._content = None
            self._release_into(taken)
        digest = digest_of(event.raw)
        known = self._window.get(key)
        if known is None and key == self._cursor_at_open and digest == self._cursor_digest:
            known = digest
        if known is None:
            self.cursor, self._ordinal = key, 0
            self._at, self._position, self._replaying = key, 0, False
            self._publish(event, key, kind, digest, received_at, taken)
            return
        reused = f"{key}~{hash8(digest)}"
        if known == digest or self._window.get(reused) == digest:
            taken.duplicates += 1
            if self._fresh and key == self._cursor_at_open:
                # What was published since the connection opened lay before the cursor: the window was too small for it.
                taken.overrun = True
                self.cursor, self._ordinal = key, 0
            self._at, self._position, self._replaying = key, 0, True
            return
        taken.conflicts += 1
        if key != self.cursor:
            self.cursor, self._ordinal = key, 0
        self._at, self._position, self._replaying = key, self._ordinal, False
        self._publish(event, reused, kind, digest, received_at, taken)

    def _without_id(self, event: ServerSentEvent, kind: Kind, received_at: float, taken: Taken) -> None:
        digest = digest_of(event.raw)
        if self._held and self._content is None:
            self._release_into(taken)
        if self._content is not None:
            match self._content.offer(digest):
                case Verdict.HELD:
                    self._hold(event, received_at, taken)
                    return
                case Verdict.REPLAYED:
                    taken.duplicates += len(self._held) + 1
                    self._drop_held()
                    self._content = None
                    return
                case Verdict.NEW:
                    self._content = None
                    self._release_into(taken)
        self._place_without_id(event, kind, digest, received_at, taken)

    def _hold(self, event: ServerSentEvent, received_at: float, taken: Taken) -> None:
        assert self._content is not None
        self._held.append((event, received_at))
        self._held_bytes += len(event.raw)
        if self._held_bytes <= HOLD_BYTES:
            return
        if self._content.proven:  # so much of it came again, in order and byte for byte: that is no coincidence
            taken.duplicates += len(self._held)
            self._drop_held()
        else:
            self._content = None
            self._release_into(taken)

    def _drop_held(self) -> None:
        self._held, self._held_bytes = [], 0

    def _place_without_id(
        self, event: ServerSentEvent, kind: Kind, digest: bytes, received_at: float, taken: Taken
    ) -> None:
        at_cursor = self._at == self.cursor
        if self._replaying:
            key = self._key(self._position + 1, digest)
            if self._window.get(key) == digest:
                self._position += 1
                taken.duplicates += 1
                return
            self._replaying = False
            if at_cursor:
                self._position = self._ordinal
        self._position += 1
        while self._window.get(key := self._key(self._position, digest)) is not None:
            self._position += 1  # the server counts its ids in circles; a key must not come twice
        if at_cursor:
            self._ordinal = self._position
        self._publish(event, key, kind, digest, received_at, taken)

    def _key(self, position: int, digest: bytes) -> str:
        return f"{self._at or 0}#{position}-{hash8(digest)}"

    def _publish(
        self, event: ServerSentEvent, key: str, kind: Kind, digest: bytes, received_at: float, taken: Taken
    ) -> None:
        self._window.remember(key, digest)
        self._begun = self._fresh = True
        self._gap_open = False
        if isinstance(kind, Fault):
            record = self._dead_letter(event, key, kind, digest, received_at)
        else:
            record = Record(key, kind, event.raw, received_at, event.event, digest, self.cursor, self._ordinal)
        taken.records.append(record)

    def _dead_letter(self, event: ServerSentEvent, key: str, fault: Fault, digest: bytes, received_at: float) -> Record:
        size = event.oversize_bytes or len(event.raw)
        kept = event.raw[: self._max_dead_letter_bytes]
        dead = DeadLetter(fault.reason, fault.detail, truncated=len(kept) < size)
        return Record(key, "", kept, received_at, event.event, digest, self.cursor, self._ordinal, dead)

    def _release_into(self, taken: Taken) -> None:
        held = self._held
        self._drop_held()
        for event, received_at in held:
            self._place_without_id(event, _kind_of(event), digest_of(event.raw), received_at, taken)

    def _echoes(self, events: Sequence[ServerSentEvent]) -> bool:
        """Whether a secret stands anywhere in these events. Asked once for all of them, since asking is what costs."""
        if not events:
            return False
        names, raws, _, ids, _ = zip(*events, strict=True)
        contains = self._secrets.contains
        return contains(b"\n".join(raws)) or contains("\n".join((*ids, *set(names))).encode())

    def _masked(self, events: Sequence[ServerSentEvent], taken: Taken) -> list[ServerSentEvent]:
        secrets = self._secrets
        masked = []
        for event in events:
            # An id that holds the key can neither be stored nor sent back: such an event counts as one without an id.
            safe_id = None if event.id and secrets.contains(event.id.encode()) else event.id
            safe = event._replace(event=secrets.mask(event.event), raw=secrets.mask_bytes(event.raw), id=safe_id)
            taken.masked += safe != event
            masked.append(safe)
        return masked

    def _marker(self, kind: str, detail: Mapping[str, object], at: float) -> list[Record]:
        if not self._markers:
            return []
        data = json.dumps(detail, ensure_ascii=False).encode()
        key = f"bridge-{kind}-{uuid.uuid4().hex[:16]}"
        return [Record(key, f"bridge.{kind}", data, at, "message", b"", self.cursor, self._ordinal)]


def _kind_of(event: ServerSentEvent) -> Kind:
    if event.oversize_bytes:
        return Fault(DeadLetterReason.OVERSIZE, f"{event.oversize_bytes} bytes, more than source.max_event_bytes")
    return type_of(event.raw)
