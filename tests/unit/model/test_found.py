"""What was found at the API, as it stands in Redis."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bridge.model.found import key_of_found, parse_found, render_found, sessions_of
from bridge.model.place import Session

IDS = st.text("abcXYZ019._:-", min_size=1, max_size=20)


@given(st.dictionaries(IDS, st.text()))
def test_what_was_kept_is_read_back(found: dict[str, str]) -> None:
    """Whatever the lens ids are."""
    assert parse_found(render_found(found).encode()) == found


@given(st.binary() | st.none() | st.integers())
def test_what_is_none_of_ours_holds_nobody(text: object) -> None:
    """And nothing is raised."""
    assert parse_found(text) == {} or isinstance(text, bytes)


def test_ids_that_no_session_has_are_left_out() -> None:
    """They would end up in a URL."""
    assert parse_found(b'{"lsn-1": "a", "../x": "a", "lsn-2": 5}') == {"lsn-1": "a"}


def test_who_is_named_was_not_found_besides() -> None:
    """And a name that could not stand in a key is none."""
    found = {"lsn-1": "a", "lsn-2": "a", "lsn-3": "not fit"}
    assert sessions_of(found, "cam-<lens_id>-<session_id>", [Session(name="x", session_id="lsn-1")]) == [
        Session(name="cam-a-lsn-2", session_id="lsn-2")
    ]


def test_other_rules_have_another_key_and_their_order_does_not_matter() -> None:
    """Deployments on one Redis do not begin with each other's sessions."""
    key = key_of_found("https://api", ["a", "b"], [])
    assert key == key_of_found("https://api", ["b", "a"], [])
    assert len({key, key_of_found("https://other", ["a", "b"], []), key_of_found("https://api", ["a"], [])}) == 3
