"""Which sessions there are: what several origins want, merged by rules that a person can be told. Pure.

1. A name stands for one session. Where two origins give it different ids, the one named first in `Origin` wins.
2. A session is read into a place once. Where two names would read it into the same place, the first one wins.
3. A session that somebody names, under whatever name, is not discovered besides.
4. Who loses is refused in words, and comes in by itself once what stood against it has gone.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from bridge.errors import ConfigurationError
from bridge.model.place import Session

__all__ = ["Change", "Conflict", "Merged", "Origin", "Roster", "change_between", "merge"]


class Origin(StrEnum):
    """Who wants a session. The first of those that disagree wins."""

    CONFIGURED = "configured"  # this worker's own settings
    REGISTERED = "registered"  # added at run time, kept in Redis
    DISCOVERED = "discovered"  # found at the lens API


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflict:
    """A session that was refused, and why, in words."""

    session: Session
    origin: Origin
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """What is to be read, by name; who wanted it first; and what was refused."""

    sessions: Mapping[str, Session] = field(default_factory=dict)
    origins: Mapping[str, Origin] = field(default_factory=dict)
    conflicts: tuple[Conflict, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """From one list to the next. A name that stands for another session now disappears and appears."""

    appeared: tuple[Session, ...] = ()
    disappeared: tuple[Session, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.appeared or self.disappeared)


PlaceOf = Callable[[Session], str]
"""The key of a session's place. Raises ConfigurationError where it cannot have one."""


def merge(wanted: Mapping[Origin, Iterable[Session]], place_of: PlaceOf) -> Merged:
    """Make one list of what all origins want."""
    sessions: dict[str, Session] = {}
    origins: dict[str, Origin] = {}
    readers: dict[str, str] = {}  # place -> name
    conflicts: list[Conflict] = []
    for origin in Origin:
        named = {one.session_id for one in sessions.values()} if origin is Origin.DISCOVERED else frozenset()
        for one in wanted.get(origin, ()):
            if one.session_id in named:
                continue
            if known := sessions.get(one.name):
                if known != one:
                    reason = f"the name {one.name} is {origins[one.name]} for {known.session_id}"
                    conflicts.append(Conflict(session=one, origin=origin, reason=reason))
                continue
            try:
                place = place_of(one)
            except ConfigurationError as error:
                conflicts.append(Conflict(session=one, origin=origin, reason=str(error)))
                continue
            if other := readers.get(place):
                reason = f"{other}, which is {origins[other]}, reads {one.session_id} into the same place"
                conflicts.append(Conflict(session=one, origin=origin, reason=reason))
                continue
            sessions[one.name], origins[one.name], readers[place] = one, origin, one.name
    return Merged(sessions=sessions, origins=origins, conflicts=tuple(conflicts))


def change_between(before: Mapping[str, Session], after: Mapping[str, Session]) -> Change:
    """What has to be done to come from one list to the next, and nothing besides."""
    return Change(
        appeared=tuple(one for name, one in after.items() if before.get(name) != one),
        disappeared=tuple(one for name, one in before.items() if after.get(name) != one),
    )


class Roster:
    """The list in force. ``on_change`` hears of each change, and ``on_conflict`` of each refusal that is new."""

    def __init__(
        self,
        place_of: PlaceOf,
        *,
        on_change: Callable[[Change], None] = lambda change: None,
        on_conflict: Callable[[Conflict], None] = lambda conflict: None,
    ) -> None:
        self.on_change = on_change
        self.on_conflict = on_conflict
        self._place_of = place_of
        self._places: dict[Session, str] = {}  # to make the names of keys is most of the work, and they stay
        self._wanted: dict[Origin, tuple[Session, ...]] = {}
        self._merged = Merged()

    @property
    def sessions(self) -> Mapping[str, Session]:
        """What is to be read, by name."""
        return self._merged.sessions

    @property
    def origins(self) -> Mapping[str, Origin]:
        """Who wants it, by name."""
        return self._merged.origins

    @property
    def conflicts(self) -> tuple[Conflict, ...]:
        """What was refused."""
        return self._merged.conflicts

    def put(self, origin: Origin, sessions: Collection[Session]) -> Change:
        """From now on this origin wants these, in the place of what it wanted before."""
        before = self._merged
        self._wanted[origin] = tuple(sessions)
        self._places = {one: self._places[one] for each in self._wanted.values() for one in each if one in self._places}
        self._merged = merge(self._wanted, self._place)
        for conflict in set(self.conflicts) - set(before.conflicts):
            self.on_conflict(conflict)
        if change := change_between(before.sessions, self.sessions):
            self.on_change(change)
        return change

    def _place(self, session: Session) -> str:
        if (place := self._places.get(session)) is None:
            place = self._places[session] = self._place_of(session)
        return place
