"""From what the API lists to what is to be read. Pure.

1. A session is begun with when it is listed, of a lens that is wanted and in a status that is wanted. From then on it
   stays, whatever its status becomes.
2. One that is listed no more, or as over, stays for `Rules.ended_seconds` and for as long as it is read: then it is due
   to be asked after by its id. An answer may lack a session for a while, and the end of one should be read and seen.
3. A name stands for one session: for the one that has it while that is listed or read, then for the youngest.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from bridge.model.found import name_of
from bridge.model.keys import NAME_PATTERN
from bridge.model.outcomes import Listed
from bridge.model.place import Session

__all__ = ["NOBODY", "Known", "Roll", "Rules", "called", "due", "recalled", "without"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Which sessions are wanted. No lens, or no status, stands for all of them."""

    lens_ids: frozenset[str] = frozenset()
    statuses: frozenset[str] = frozenset()  # as `Listed.status` spells them
    name: str = "<session_id>"
    ended_seconds: float = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A session that was found. ``missing_since`` is when an answer lacked it first, None while it is listed."""

    session: Session
    lens_id: str
    missing_since: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Roll:
    """What is to be read, by session id; and what is wanted and cannot be read, with the reason in words."""

    known: Mapping[str, Known] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)

    @property
    def sessions(self) -> tuple[Session, ...]:
        """What is to be read."""
        return tuple(one.session for one in self.known.values())


NOBODY = Roll()
"""Before the first answer."""


def called(roll: Roll, listed: Iterable[Listed], rules: Rules, now: float, reading: Container[str] = ()) -> Roll:
    """The roll after an answer at ``now`` (monotonic seconds); ``reading`` are the ids that are read right now."""
    living: dict[str, Listed] = {}
    for row in sorted(listed, key=_age):
        if not row.over:
            living.setdefault(row.session_id, row)
    known: dict[str, Known] = {}
    refused: dict[str, str] = {}
    holders: dict[str, str] = {}  # of names
    for one in (
        *_kept(roll, living, rules, now, reading),
        *_new(roll, living, rules),
        *_gone(roll, living, rules, now),
    ):
        session_id = one.session.session_id
        if session_id in known:
            continue
        if problem := _problem(one.session):
            refused[session_id] = problem
        elif other := holders.get(one.session.name):
            if session_id in living:
                refused[session_id] = (
                    f"the name {one.session.name} is that of {other} until it is over; "
                    "put <session_id> into discovery.name (BRIDGE_DISCOVERY__NAME) to read both"
                )
        else:
            known[session_id] = one
            holders[one.session.name] = session_id
    return Roll(known=known, refused=refused)


def recalled(found: Mapping[str, str], rules: Rules) -> Roll:
    """The roll that begins with what somebody found by the same rules: lens ids by session id."""
    listed = (Listed(session_id=one, lens_id=lens) for one, lens in found.items())
    return called(NOBODY, listed, replace(rules, statuses=frozenset()), 0.0)


def due(roll: Roll, rules: Rules, now: float, reading: Container[str] = ()) -> list[str]:
    """The ids that were missing for so long that they are to be asked after, and let go of where they are over."""
    return [
        session_id
        for session_id, one in roll.known.items()
        if one.missing_since is not None
        and now - one.missing_since >= rules.ended_seconds
        and session_id not in reading
    ]


def without(roll: Roll, ids: Collection[str]) -> Roll:
    """The roll without these."""
    return replace(roll, known={session_id: one for session_id, one in roll.known.items() if session_id not in ids})


def _kept(
    roll: Roll, living: Mapping[str, Listed], rules: Rules, now: float, reading: Container[str]
) -> Iterator[Known]:
    """Known ones that are listed, then those that are still read."""
    listed = (living[session_id] for session_id in roll.known if session_id in living)
    yield from (_known(row, rules) for row in listed if _of_a_wanted_lens(row, rules))
    yield from (one for one in _gone(roll, living, rules, now) if one.session.session_id in reading)


def _new(roll: Roll, living: Mapping[str, Listed], rules: Rules) -> Iterator[Known]:
    """The youngest first: of several that would have one name it is the one that is meant."""
    for session_id, row in living.items():
        # One that was refused is waiting since then, whatever its status has become.
        its_time = not rules.statuses or row.status in rules.statuses or session_id in roll.refused
        if session_id not in roll.known and _of_a_wanted_lens(row, rules) and its_time:
            yield _known(row, rules)


def _gone(roll: Roll, living: Mapping[str, Listed], rules: Rules, now: float) -> Iterator[Known]:
    for session_id, one in roll.known.items():
        if session_id not in living and (not rules.lens_ids or one.lens_id in rules.lens_ids):
            since = now if one.missing_since is None else one.missing_since
            session = Session(name=name_of(rules.name, session_id, one.lens_id), session_id=session_id)
            yield replace(one, session=session, missing_since=since)


def _known(row: Listed, rules: Rules) -> Known:
    session = Session(name=name_of(rules.name, row.session_id, row.lens_id), session_id=row.session_id)
    return Known(session=session, lens_id=row.lens_id)


def _of_a_wanted_lens(row: Listed, rules: Rules) -> bool:
    return not rules.lens_ids or row.lens_id in rules.lens_ids


def _problem(session: Session) -> str | None:
    """They end up in keys and in a URL."""
    for what, text in (("id", session.session_id), ("name", session.name)):
        if not re.fullmatch(NAME_PATTERN, text):
            return f"its {what} {text[:128]!r} is not 1 to 128 of A-Z a-z 0-9 . _ : -"
    return None


def _age(row: Listed) -> tuple[float, str, str, str]:
    return row.seconds, row.session_id, row.lens_id, row.status
