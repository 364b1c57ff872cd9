"""The names of a session's keys: as promised, and all in one hash slot."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import ConfigurationError
from bridge.model.keys import NAME_PATTERN, SESSIONS_KEY, WORKERS_KEY, SessionKeys, hash_tag, session_keys, wishes_key
from bridge.model.place import Session

SESSION = Session(name="line-1", session_id="lsn-1")
NAMES = st.from_regex(f"^{NAME_PATTERN}$", fullmatch=True)


def test_the_default_keys_are_the_promised_ones() -> None:
    """Consumers and operators type them."""
    assert session_keys("lens:{<name>}:events", SESSION) == SessionKeys(
        events="lens:{line-1}:events",
        dead_letter="lens:{line-1}:dead-letter",
        state="lens:{line-1}:state:lsn-1",
        seen="lens:{line-1}:seen:lsn-1",
        lease="lens:{line-1}:lease:lsn-1",
    )
    assert (SESSIONS_KEY, WORKERS_KEY) == ("lens:sessions", "lens:workers")


def test_what_belongs_to_the_register_stands_in_its_slot() -> None:
    """One script touches both."""
    assert wishes_key("a1").startswith(f"{WORKERS_KEY}:")
    assert hash_tag(wishes_key("a1")) == hash_tag(WORKERS_KEY)


def test_sessions_that_share_a_stream_have_states_of_their_own() -> None:
    """Only the two streams are shared."""
    one = session_keys("lens:{all}:events", SESSION)
    two = session_keys("lens:{all}:events", Session(name="line-2", session_id="lsn-2"))
    assert (
        (one.events, one.dead_letter)
        == (two.events, two.dead_letter)
        == ("lens:{all}:events", "lens:{all}:dead-letter")
    )
    assert not {one.state, one.seen, one.lease} & {two.state, two.seen, two.lease}


def test_a_template_without_braces_makes_the_whole_key_the_tag() -> None:
    """The keys beside it follow it into its slot."""
    keys = session_keys("events:<session_id>", SESSION)
    assert keys.events == "events:lsn-1"
    assert keys.state == "lens:{events:lsn-1}:state:lsn-1"


@pytest.mark.parametrize(
    ("key", "tag"),
    [
        ("plain", "plain"),
        ("a{b}c", "b"),
        ("a{b}{c}", "b"),
        ("a{}b", "a{}b"),
        ("a{}{b}", "a{}{b}"),
        ("a{b", "a{b"),
        ("a}b{", "a}b{"),
        ("a{{b}}c", "{b"),
        ("}{a}", "a"),
        ("", ""),
    ],
)
def test_hash_tags_are_those_of_redis_cluster(key: str, tag: str) -> None:
    """From the first opening brace to the next closing one, unless there is nothing between them."""
    assert hash_tag(key) == tag


@given(
    st.sampled_from(
        ["lens:{<name>}:events", "x<name>", "x:{<session_id>}:<name>", "x{a}<name>", "x{<name>", "x}<name>"]
    ),
    NAMES,
    NAMES,
)
def test_all_keys_of_a_session_stand_in_one_slot(template: str, name: str, session_id: str) -> None:
    """Or the template is refused: a script may touch the keys of one slot only."""
    try:
        keys = session_keys(template, Session(name=name, session_id=session_id))
    except ConfigurationError as error:
        assert template in str(error)  # noqa: PT017
        return
    every = (keys.events, keys.dead_letter, keys.state, keys.seen, keys.lease)
    assert len({hash_tag(key) for key in every}) == 1
    assert len(set(every)) == 5


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("", "fixed beginning"),
        ("<name>", "fixed beginning"),
        ("<name>:events", "fixed beginning"),
        ("lens:<nmae>", "<nmae>"),
        ("lens:<>", "unknown placeholder"),
        ("lens:<Name>", "unknown placeholder"),
        ("lens:a}{", "braces"),
    ],
)
def test_a_template_that_cannot_work_is_a_configuration_error(template: str, words: str) -> None:
    """It shows the template and says what is wrong."""
    with pytest.raises(ConfigurationError, match=re.escape(words)) as caught:
        session_keys(template, SESSION)
    assert repr(template) in str(caught.value)


@pytest.mark.parametrize("name", ["a", "A.b_c:d-e", "x" * 128])
def test_names_that_may_stand_in_a_key_and_a_url(name: str) -> None:
    """Letters, digits and four marks."""
    assert re.fullmatch(NAME_PATTERN, name)


@pytest.mark.parametrize("name", ["", "a/b", "a{b", "a}b", "a b", "\u00e9", "x" * 129, "a\n", "a?b", "a%20b"])
def test_names_that_may_not(name: str) -> None:
    """Braces would change the slot, slashes the URL."""
    assert not re.fullmatch(NAME_PATTERN, name)


def test_routed_streams_stand_in_one_slot_each_once_in_the_order_of_their_routes() -> None:
    """A route may lead back to the first, and several to one."""
    routes = {
        "a": "lens:{<name>}:logs", "b": "lens:{<name>}:events", "c": "other:{line-1}:<session_id>",
        "d": "lens:{<name>}:logs",
    }  # fmt: skip
    keys = session_keys("lens:{<name>}:events", SESSION, routes)
    assert keys.streams == ("lens:{line-1}:events", "lens:{line-1}:logs", "other:{line-1}:lsn-1")
    assert {hash_tag(key) for key in keys.streams} == {"line-1"}
    assert [keys.part_of(key) for key in keys.streams] == ["events", "logs", "other:{line-1}:lsn-1"]


def test_streams_that_the_state_names_are_added_where_they_can_be_of_the_session() -> None:
    """What is no such list, or stands in another slot, is passed over."""
    keys = session_keys("lens:{<name>}:events", SESSION, {"a": "lens:{<name>}:logs"})
    told = b'{"lens:{line-1}:old": -1, "lens:{line-1}:logs": 0, "lens:{other}:x": 0}'
    assert keys.streams_with(told) == ("lens:{line-1}:events", "lens:{line-1}:logs", "lens:{line-1}:old")
    for damaged in (None, b"", b"nonsense", b"[1]"):
        assert keys.streams_with(damaged) == keys.streams


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("lens:{other}:x", "different hash slots"),
        ("lens:x", "different hash slots"),
        ("<name>", "needs a fixed beginning"),
        ("lens:{<nam>}:x", "unknown placeholder <nam>"),
    ],
)
def test_a_route_that_leads_elsewhere_is_refused(key: str, said: str) -> None:
    """One commit writes to all of them."""
    with pytest.raises(ConfigurationError, match=f"^stream.routes.*{said}"):
        session_keys("lens:{<name>}:events", SESSION, {"a": key})
