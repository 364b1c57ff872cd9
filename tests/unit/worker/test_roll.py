"""From what the API lists to what is to be read: rules, and what holds whatever the API lists."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from bridge.model.outcomes import Listed
from bridge.worker.discovery.roll import NOBODY, Roll, Rules, called, due, recalled, without

IDS = [f"lsn-{n}" for n in range(6)]
LENSES = ["lns-a", "lns-b", "lns-c", "not/fit"]
STATUSES = ["RUNNING", "STARTING", "STALE", "DESTROYED", "FAILED", "", "4"]


def row(session_id: str, lens_id: str = "lns-a", status: str = "RUNNING", seconds: float = 10.0) -> Listed:
    over = status in ("DESTROYED", "FAILED")
    return Listed(session_id=session_id, lens_id=lens_id, status=status, over=over, seconds=seconds)


def names(roll: Roll) -> dict[str, str]:
    return {session_id: one.session.name for session_id, one in roll.known.items()}


rows = st.lists(
    st.builds(
        row,
        session_id=st.sampled_from([*IDS, "no good id", ""]),
        lens_id=st.sampled_from(LENSES),
        status=st.sampled_from(STATUSES),
        seconds=st.sampled_from([1.0, 2.0, 3.0, math.inf]),
    ),
    max_size=10,
)
rules_of_any_kind = st.builds(
    Rules,
    lens_ids=st.frozensets(st.sampled_from(LENSES), max_size=2),
    statuses=st.frozensets(st.sampled_from(STATUSES), max_size=2),
    name=st.sampled_from(["<session_id>", "<lens_id>", "cam-<lens_id>", "<lens_id>.<session_id>"]),
    ended_seconds=st.sampled_from([1.0, 5.0, 100.0]),
)
answers = st.lists(st.tuples(rows, st.sets(st.sampled_from(IDS))), max_size=6)


def played(rules: Rules, played_answers: Iterable[Any]) -> Roll:
    roll = NOBODY
    for now, (listed, reading) in enumerate(played_answers):
        roll = called(roll, listed, rules, float(now), reading)
        roll = without(roll, due(roll, rules, float(now), reading))
    return roll


@given(rules=rules_of_any_kind, before=answers, listed=rows, reading=st.sets(st.sampled_from(IDS)))
def test_every_session_that_is_wanted_is_read_or_refused_in_words(
    rules: Rules, before: Any, listed: list[Listed], reading: set[str]
) -> None:
    """None is passed over in silence, and no name stands for two."""
    roll = called(played(rules, before), listed, rules, 50.0, reading)
    wanted = {
        one.session_id
        for one in listed
        if not one.over
        and (not rules.lens_ids or one.lens_id in rules.lens_ids)
        and (not rules.statuses or one.status in rules.statuses)
    }
    twice = {one.session_id for one in listed if sum(other.session_id == one.session_id for other in listed) > 1}
    assert wanted - twice <= roll.known.keys() | roll.refused.keys()
    assert not roll.known.keys() & roll.refused.keys()
    assert len(set(names(roll).values())) == len(roll.known)
    assert roll.known.keys() <= set(IDS)


@given(rules=rules_of_any_kind, before=answers, listed=rows, seed=st.integers())
def test_the_order_of_an_answer_does_not_matter(rules: Rules, before: Any, listed: list[Listed], seed: int) -> None:
    """Shards answer as they like."""
    roll = played(rules, before)
    shuffled = random.Random(seed).sample(listed, len(listed))
    assert called(roll, listed, rules, 50.0) == called(roll, shuffled, rules, 50.0)


@given(rules=rules_of_any_kind, before=answers, listed=rows)
def test_the_same_answer_again_changes_nothing(rules: Rules, before: Any, listed: list[Listed]) -> None:
    """Sessions must not go to and fro."""
    once = called(played(rules, before), listed, rules, 50.0)
    assert called(once, listed, rules, 51.0) == once


@given(rules=rules_of_any_kind, before=answers, gap=st.floats(0, 200))
def test_none_is_let_go_of_before_its_time_or_while_it_is_read(rules: Rules, before: Any, gap: float) -> None:
    """Even where the API suddenly lists nobody."""
    roll = played(rules, before)
    emptied = called(roll, (), rules, 50.0)
    assert emptied.known.keys() == roll.known.keys()
    later = 50.0 + gap
    for session_id in due(emptied, rules, later):
        since = emptied.known[session_id].missing_since
        assert since is not None
        assert later - since >= rules.ended_seconds
    assert due(emptied, rules, math.inf, reading=set(IDS)) == []
    assert set(due(emptied, rules, math.inf)) == emptied.known.keys()


def test_a_session_that_is_listed_again_begins_its_time_anew() -> None:
    """One short answer is no end, nor are two with a whole one between them."""
    rules = Rules(ended_seconds=10)
    roll = called(NOBODY, [row("lsn-1")], rules, 0)
    roll = called(roll, [], rules, 5)
    assert due(roll, rules, 16) == ["lsn-1"]
    roll = called(roll, [row("lsn-1")], rules, 16)
    roll = called(roll, [], rules, 17)
    assert due(roll, rules, 26) == []
    assert due(roll, rules, 27) == ["lsn-1"]


def test_a_session_is_begun_with_in_a_wanted_status_and_kept_in_any() -> None:
    """STALE may be a runner that is slow."""
    rules = Rules(statuses=frozenset({"RUNNING"}))
    roll = called(NOBODY, [row("lsn-1", status="STARTING")], rules, 0)
    assert names(roll) == {}
    roll = called(roll, [row("lsn-1")], rules, 1)
    roll = called(roll, [row("lsn-1", status="STALE"), row("lsn-2", status="STALE")], rules, 2)
    assert names(roll) == {"lsn-1": "lsn-1"}
    assert roll.known["lsn-1"].missing_since is None


def test_a_status_that_is_not_known_is_no_end() -> None:
    """Only FAILED and DESTROYED are."""
    roll = called(NOBODY, [row("lsn-1", status="HIBERNATING"), row("lsn-2", status="FAILED")], Rules(), 0)
    assert names(roll) == {"lsn-1": "lsn-1"}


def test_the_next_session_of_a_lens_has_its_name_once_the_first_is_read_no_more() -> None:
    """So that consumers keep their stream, and the end of the first one is in it."""
    rules = Rules(name="cam-<lens_id>")
    roll = called(NOBODY, [row("lsn-1")], rules, 0)
    roll = called(roll, [row("lsn-2")], rules, 1, reading={"lsn-1"})
    assert names(roll) == {"lsn-1": "cam-lns-a"}
    assert "the name cam-lns-a is that of lsn-1" in roll.refused["lsn-2"]
    roll = called(roll, [row("lsn-2")], rules, 2)
    assert names(roll) == {"lsn-2": "cam-lns-a"}
    assert roll.refused == {}


def test_of_several_sessions_of_a_lens_the_youngest_is_read_and_keeps_its_name() -> None:
    """The others are told of. A still younger one does not take the name away: nothing goes to and fro."""
    rules = Rules(name="<lens_id>")
    roll = called(NOBODY, [row("lsn-1", seconds=300), row("lsn-2", seconds=5), row("lsn-3")], rules, 0)
    assert names(roll) == {"lsn-2": "lns-a"}
    assert roll.refused.keys() == {"lsn-1", "lsn-3"}
    roll = called(roll, [row("lsn-2", seconds=6), row("lsn-4", seconds=1)], rules, 1)
    assert names(roll) == {"lsn-2": "lns-a"}


def test_a_lens_that_is_no_longer_wanted_goes_at_once_and_another_template_names_anew() -> None:
    """Both are decisions of a person, made by a reload."""
    roll = called(NOBODY, [row("lsn-1"), row("lsn-2", "lns-b")], Rules(), 0)
    roll = called(roll, [row("lsn-1")], Rules(lens_ids=frozenset({"lns-a"}), name="x-<session_id>"), 1)
    assert names(roll) == {"lsn-1": "x-lsn-1"}


def test_what_could_not_stand_in_a_key_or_a_url_is_refused() -> None:
    """Names and ids are checked wherever they come from."""
    roll = called(NOBODY, [row("../lsn"), row("lsn-1", "lens with blanks")], Rules(name="<lens_id>"), 0)
    assert names(roll) == {}
    assert roll.refused["../lsn"].startswith("its id '../lsn' is not 1 to 128 of")
    assert roll.refused["lsn-1"].startswith("its name 'lens with blanks' is not 1 to 128 of")


@given(rules=rules_of_any_kind, before=answers)
def test_what_was_kept_begins_the_same_roll(rules: Rules, before: Any) -> None:
    """Whatever the statuses are by then; names are made by the template of today."""
    roll = played(rules, before)
    again = recalled({session_id: one.lens_id for session_id, one in roll.known.items()}, rules)
    assert names(again) == names(roll)
