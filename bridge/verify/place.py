"""Follows the place that a session's entries imply, and compares it with the one that is committed. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from bridge.verify.entries import NUMBER, Entry, Letter, accuse, aliases, position, reuse_of, without_id
from bridge.verify.report import FaultKind, Findings

__all__ = ["DeadLetters", "PlaceCheck", "State", "main_of", "since_of", "state_of"]

PHASES = ("active", "ended", "gone")

DOUBTS = 1000  # ids remembered that may be the server's own or a lie

Places = frozenset[tuple[str, int]]
"""Ids to resume after (``0`` for none), each with the number of events without an id since."""

NOWHERE: Places = frozenset((("0", 0),))


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """The committed place as it stands in the state hash. ``filtered``: so many events moved it and left no entry."""

    cursor: str | None
    seq: int
    ordinal: int
    filtered: int = 0


def state_of(fields: dict[bytes, bytes], findings: Findings) -> State | None:
    """The place that a state hash tells; None where there is none, or where it makes no sense."""
    if not fields:
        return None
    numbers = {}
    for name in ("seq", "ordinal", "commits", "filtered"):
        raw = fields.get(name.encode(), b"0")
        if not NUMBER.fullmatch(raw):
            findings.fault(FaultKind.STATE_MISMATCH, f"{name} of the state is no number")
            return None
        numbers[name] = int(raw)
    if (phase := fields.get(b"phase", b"active").decode(errors="backslashreplace")) not in PHASES:
        findings.fault(FaultKind.STATE_MISMATCH, f"the state has the phase {phase}")
    cursor = fields.get(b"cursor", b"").decode(errors="backslashreplace")
    return State(cursor=cursor or None, seq=numbers["seq"], ordinal=numbers["ordinal"], filtered=numbers["filtered"])


def main_of(fields: Mapping[bytes, bytes]) -> str | None:
    """The stream that what is routed nowhere goes to, where a state tells: that of a session with routes."""
    return fields[b"streams"].decode(errors="replace").split("\n")[0] if b"streams" in fields else None


def since_of(fields: Mapping[bytes, bytes]) -> dict[str, int]:
    """The other streams that a session writes to now, each with the number since which it does."""
    try:
        told = json.loads(fields.get(b"routed", b"{}"))
        return {key: since for key, since in told.items() if since >= 0}
    except (ValueError, TypeError, AttributeError):
        return {}


@dataclass(slots=True)
class DeadLetters:
    """A session's dead letters, oldest first.

    ``removed_until``: some may have been trimmed or purged that were written up to then (milliseconds of Redis's clock,
    -1 for none), so the lack of one before that says nothing.
    """

    letters: list[Letter] = field(default_factory=list)
    removed_until: int = -1

    def with_(self, replayed: Iterable[Letter]) -> DeadLetters:
        """The same with those that have become entries since, where they stood."""
        letters = sorted((*self.letters, *replayed), key=lambda letter: position(letter.entry))
        return DeadLetters(letters, self.removed_until)


class PlaceCheck:
    """Takes events in stream order, no markers."""

    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        self._tail: Entry | None = None
        self._cursor: frozenset[str] = frozenset()  # what the last id may be called; empty where that is not known
        self._ordinal = 0
        self._anchor: frozenset[str] = frozenset()  # what the last event without an id came after, or the last id
        self._anchored = 0
        self._fitting: Places = NOWHERE  # the places that would fit after the last event
        self._at_least: Places = frozenset()  # the same, where dead letters before it may have counted on
        self._counted = False  # the last event came without an id, or repeats the last one: it leaves the cursor
        self._moved = False  # a person has moved the place
        self._marked = False  # and a marker was written since the last event: it may have passed what stood there
        self._since = 0  # when the cursor was set
        self._tail_since = 0  # the same, as it was before the last event
        self._doubts: list[Entry] = []
        self._backward: list[tuple[Entry, int, str]] = []  # ordinals that fell, each with when its cursor was set

    def begin(self) -> None:
        """The first entry is the session's first one ever, so nothing came before it."""
        self._cursor = self._anchor = frozenset(("0",))

    def add(self, entry: Entry) -> None:
        """Take in the next event."""
        self._marked = False
        self._tail_since = self._since
        own = _places(aliases(entry.id), 0)
        parts = without_id(entry.id, entry.hash8)
        if parts is not None and parts.made:
            after = aliases(parts.after)
            if after & self._cursor:
                if parts.ordinal <= self._ordinal and len(self._backward) < DOUBTS:
                    said = f"ordinal {parts.ordinal} after {self._ordinal}"
                    self._backward.append((entry._replace(data=b""), self._since, said))
                self._ordinal = parts.ordinal
            elif not self._cursor and parts.after == "0":
                self._cursor, self._ordinal = after, parts.ordinal
            self._anchor, self._anchored, self._counted = after, parts.ordinal, True
            self._fitting = own | _places(after, parts.ordinal)
            self._at_least = frozenset() if after & self._cursor else _places(self._cursor, self._ordinal)
        elif parts is not None and aliases(parts.after) & self._anchor and parts.ordinal > self._anchored:
            if len(self._doubts) < DOUBTS:
                self._doubts.append(entry._replace(data=b""))
            self._anchored, self._counted = parts.ordinal, True
            self._fitting, self._at_least = own, frozenset()
        else:
            self._with_id(entry, own)
        self._tail = entry._replace(data=b"")

    def rewind(self, marker: Entry, to: str) -> None:
        """A person has moved the place here. Until an event follows, it may also be the one that the entries tell."""
        self._tail_since = self._since = position(marker.entry)[0]
        self._cursor = self._anchor = aliases(to)
        self._ordinal = self._anchored = 0
        self._counted = False
        self._fitting |= _places(self._cursor, 0)
        self._moved = self._marked = True
        self._tail = marker._replace(data=b"")

    def mark(self) -> None:
        """A marker was written: with it, what came again since a place was moved back may have been passed."""
        self._marked = self._moved

    def stands_at(self, last_id: str | None) -> bool:
        """Whether this is the id of the last event, as far as it is known."""
        return last_id is None or not self._cursor or last_id in self._cursor or last_id in self._anchor

    def conclude(
        self, state: State | None, dead: DeadLetters, knows: Callable[[str], bool], server_ids: Collection[str]
    ) -> None:
        """Judge. ``knows``: whether an event stands in the stream under an id. ``server_ids``: known to be its own."""
        for doubt in self._doubts:
            if doubt.id not in server_ids:
                accuse(self._findings, FaultKind.CHANGED, "the end of its id is no hash of its data", doubt)
        for entry, since, said in self._backward:
            if not _cursor_may_have_moved(dead, since, position(entry.entry)[0]):
                accuse(self._findings, FaultKind.OUT_OF_ORDER, said, entry)
        if state is None or (self._tail is None and state.seq):
            return  # trimmed, all of it: nothing is left to compare with
        found = (state.cursor or "0", state.ordinal)
        fitting, at_least = self._allowed(dead)
        if found in fitting or any(found[0] == cursor and found[1] >= ordinal for cursor, ordinal in at_least):
            return
        buried = {letter.id for letter in dead.letters}
        if self._marked and not state.ordinal and state.cursor and (knows(state.cursor) or state.cursor in buried):
            return  # what stood there came again, and the place has passed it
        unknown_since = self._tail_since if self._counted else max(self._at, 0)
        if dead.removed_until >= unknown_since and self._may_be_beyond(found, knows, unset=state.cursor is None):
            return
        fits = any(found[0] == cursor for cursor, _ in fitting | at_least)
        said = f"the state says ordinal {state.ordinal}" if fits else f"the cursor is {state.cursor or 'none'}"
        if self._tail is None:
            self._findings.fault(FaultKind.STATE_MISMATCH, f"there is no event, but {said}")
        else:
            accuse(self._findings, FaultKind.STATE_MISMATCH, f"the last event, but {said}", self._tail)

    def _with_id(self, entry: Entry, own: Places) -> None:
        reuse = reuse_of(entry.id, entry.hash8)
        if reuse is not None and reuse.made:
            base = aliases(reuse.base)
            again, unknown = bool(base & self._cursor), not self._cursor
            self._counted = True
            self._since = self._since if again else position(entry.entry)[0]
            self._ordinal = self._ordinal if again else 0
            self._cursor = base | aliases(entry.id)
            self._fitting = own | _places(base, self._ordinal)
            self._at_least = _places(base, self._ordinal) if again or unknown else frozenset()
        else:
            self._cursor, self._ordinal = aliases(entry.id), 0
            self._counted, self._since = False, position(entry.entry)[0]
            self._fitting, self._at_least = own, frozenset()
        self._anchor, self._anchored = self._cursor, self._ordinal

    @property
    def _at(self) -> int:
        return position(self._tail.entry)[0] if self._tail else -1

    def _allowed(self, dead: DeadLetters) -> tuple[Places, Places]:
        """The places that fit after the last event and the dead letters, and those that are the least."""
        letter = dead.letters[-1] if dead.letters else None
        written = position(letter.entry)[0] if letter else -1
        fitting, at_least = (self._fitting, self._at_least) if written <= self._at else (frozenset(), frozenset())
        if letter is not None and written >= self._at:  # in one commit both have one time, so either may be the last
            after, beyond = self._after_letter(letter)
            fitting, at_least = fitting | after, at_least | beyond
        last = max(self._at, written)
        counted = self._counted or (letter is not None and written >= self._at and _counts(letter))
        since = self._tail_since if self._counted else self._since
        if counted:
            before = dead.letters[:-1] if written > self._at else dead.letters
            between = [one for one in before if since <= position(one.entry)[0] <= last]
            movers = [one for one in between if not self._counts_on(one)]
            if movers or dead.removed_until >= since:
                moved = fitting.union(at_least, *(part for one in between for part in self._after_letter(one)))
                at_least = frozenset((cursor, 0) for cursor, _ in moved)
        return fitting, at_least

    def _counts_on(self, letter: Letter) -> bool:
        parts = without_id(letter.id, letter.hash8)
        return parts is not None and bool(aliases(parts.after) & self._cursor)

    def _after_letter(self, letter: Letter) -> tuple[Places, Places]:
        own, here = _places(aliases(letter.id), 0), _places(self._cursor, self._ordinal)
        if parts := without_id(letter.id, letter.hash8):
            after = aliases(parts.after)
            elsewhere = not after & self._cursor  # it came after an older id, so the place stayed where it was
            return own | _places(after, parts.ordinal), here if elsewhere else frozenset()
        if reuse := reuse_of(letter.id, letter.hash8):
            return own, _places(aliases(reuse.base), 0)
        return own, frozenset()

    def _may_be_beyond(self, found: tuple[str, int], knows: Callable[[str], bool], *, unset: bool) -> bool:
        """The place may be that of a dead letter which is no longer there: further on, but never further back."""
        cursor, ordinal = found
        if any(cursor == one and ordinal >= least for one, least in self._fitting):
            return True
        return not unset and not any(knows(one) for one in aliases(cursor))


def _places(cursors: Sequence[str] | frozenset[str], ordinal: int) -> Places:
    return frozenset((cursor, ordinal) for cursor in cursors)


def _counts(letter: Letter) -> bool:
    """It may have left the cursor where it was."""
    return (without_id(letter.id, letter.hash8) or reuse_of(letter.id, letter.hash8)) is not None


def _cursor_may_have_moved(dead: DeadLetters, since: int, at: int) -> bool:
    """A dead letter lies between, or may have: then the id after which events count is not known."""
    return dead.removed_until >= since or any(since <= position(one.entry)[0] <= at for one in dead.letters)
