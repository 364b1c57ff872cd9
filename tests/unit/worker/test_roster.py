"""One list of what several origins want: who wins, who is told why not, and that a change touches nobody else."""

from __future__ import annotations

from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import ConfigurationError
from bridge.model.place import Session
from bridge.worker.roster import Change, Conflict, Merged, Origin, Roster, change_between, merge

CONFIGURED, REGISTERED, DISCOVERED = Origin


def session(name: str, session_id: str | None = None) -> Session:
    """One of that name."""
    return Session(name=name, session_id=session_id or f"lsn-{name}")


def by_name_and_id(one: Session) -> str:
    """Each name has its own places, as with the default stream key."""
    return f"{one.name}/{one.session_id}"


def by_id(one: Session) -> str:
    """All names share one stream."""
    return one.session_id


SESSIONS = st.lists(st.builds(session, st.sampled_from("abc"), st.sampled_from("xyz")), max_size=6)
WANTED = st.dictionaries(st.sampled_from(Origin), SESSIONS)


def test_a_configured_name_wins_and_the_other_is_told_in_words() -> None:
    """Whatever was there first."""
    merged = merge({REGISTERED: [session("a", "new")], CONFIGURED: [session("a", "old")]}, by_id)
    assert merged.sessions == {"a": session("a", "old")}
    assert merged.origins == {"a": CONFIGURED}
    (conflict,) = merged.conflicts
    assert conflict == Conflict(
        session=session("a", "new"), origin=REGISTERED, reason="the name a is configured for old"
    )


def test_wanting_the_same_is_no_conflict() -> None:
    """It belongs to the first origin."""
    merged = merge({REGISTERED: [session("a")], CONFIGURED: [session("a")], DISCOVERED: [session("a")]}, by_id)
    assert merged == Merged(sessions={"a": session("a")}, origins={"a": CONFIGURED})


def test_a_place_is_read_into_under_one_name() -> None:
    """Two holders of one place would fence each other for ever."""
    wanted = {CONFIGURED: [session("a", "x")], REGISTERED: [session("b", "x")]}
    merged = merge(wanted, by_id)
    assert list(merged.sessions) == ["a"]
    assert [one.reason for one in merged.conflicts] == ["a, which is configured, reads x into the same place"]
    assert list(merge(wanted, by_name_and_id).sessions) == ["a", "b"]


def test_a_session_that_cannot_have_keys_is_refused_with_the_reason() -> None:
    """The others are read."""

    def place_of(one: Session) -> str:
        if one.name == "a":
            raise ConfigurationError("it would be the bridge's own key")
        return by_id(one)

    merged = merge({REGISTERED: [session("a"), session("b")]}, place_of)
    assert list(merged.sessions) == ["b"]
    assert [one.reason for one in merged.conflicts] == ["it would be the bridge's own key"]


def test_a_session_that_somebody_names_is_not_discovered_besides() -> None:
    """Not even into another place: it would be read twice. Nor is that worth a word."""
    wanted = {REGISTERED: [session("camera", "x")], DISCOVERED: [session("x", "x"), session("y", "y")]}
    merged = merge(wanted, lambda one: one.name)
    assert {name: one.session_id for name, one in merged.sessions.items()} == {"camera": "x", "y": "y"}
    assert merged.conflicts == ()


def _named(merged: Merged) -> list[Session]:
    return [one for name, one in merged.sessions.items() if merged.origins[name] is not DISCOVERED]


@given(WANTED)
def test_each_wish_is_granted_or_refused_and_never_both(wanted: Mapping[Origin, list[Session]]) -> None:
    """Names and places are unique, and who is first in the order of origins is never refused for a later one."""
    merged = merge(wanted, by_id)
    assert len({by_id(one) for one in merged.sessions.values()}) == len(merged.sessions)
    assert all(name == one.name for name, one in merged.sessions.items())
    refused = [(one.origin, one.session) for one in merged.conflicts]
    for origin, sessions in wanted.items():
        for one in sessions:
            if origin is DISCOVERED and any(one.session_id == other.session_id for other in _named(merged)):
                continue  # it is read under the name that somebody gave it
            granted = merged.sessions.get(one.name) == one
            assert granted is not ((origin, one) in refused)
    alone = merge({CONFIGURED: wanted.get(CONFIGURED, [])}, by_id)
    assert {name: merged.sessions[name] for name in alone.sessions} == alone.sessions


@given(WANTED, WANTED)
def test_a_change_leads_from_one_list_to_the_next_and_touches_no_other(
    before: Mapping[Origin, list[Session]], after: Mapping[Origin, list[Session]]
) -> None:
    """What stands in both neither appears nor disappears."""
    old, new = merge(before, by_id).sessions, merge(after, by_id).sessions
    change = change_between(old, new)
    left = set(old.values()) - set(change.disappeared)
    assert left | set(change.appeared) == set(new.values())
    assert not set(old.values()) & set(new.values()) & {*change.appeared, *change.disappeared}


@given(st.lists(st.tuples(st.sampled_from(Origin), SESSIONS)))
def test_a_roster_is_the_sum_of_its_changes_and_of_what_each_origin_said_last(
    puts: list[tuple[Origin, list[Session]]],
) -> None:
    """However often each of them spoke."""
    followed: dict[str, Session] = {}
    told: list[Conflict] = []

    def follow(change: Change) -> None:
        for one in change.disappeared:
            assert followed.pop(one.name) == one
        for one in change.appeared:
            assert followed.setdefault(one.name, one) is one

    roster = Roster(by_id, on_change=follow, on_conflict=told.append)
    last: dict[Origin, list[Session]] = {}
    for origin, sessions in puts:
        roster.put(origin, sessions)
        last[origin] = sessions
        assert followed == roster.sessions == merge(last, by_id).sessions
        assert set(roster.conflicts) <= set(told)


def test_a_refusal_is_told_once_and_ends_with_its_reason() -> None:
    """Who was refused comes in when the name is free."""
    told: list[Conflict] = []
    roster = Roster(by_id, on_conflict=told.append)
    roster.put(REGISTERED, [session("a", "x")])
    roster.put(CONFIGURED, [session("a", "y")])
    roster.put(CONFIGURED, [session("a", "y"), session("b")])
    assert len(told) == 1
    assert roster.sessions["a"].session_id == "y"
    change = roster.put(CONFIGURED, [session("b")])
    assert change == Change(appeared=(session("a", "x"),), disappeared=(session("a", "y"),))
    assert roster.conflicts == ()
    assert roster.origins == {"a": REGISTERED, "b": CONFIGURED}
