"""The ways to write sessions, and the streams that they get."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import ConfigurationError
from bridge.settings import SessionSettings
from bridge.settings.loading import load
from tests.support.configuration import problems, warnings


def sessions(written: str) -> list[tuple[str, str]]:
    found = load(None, {}, {"BRIDGE_SESSIONS": written}).sessions
    return [(one.name, one.session_id) for one in found]


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("lsn-a,lsn-b", [("lsn-a", "lsn-a"), ("lsn-b", "lsn-b")]),
        (" lsn-a , front=lsn-b,", [("lsn-a", "lsn-a"), ("front", "lsn-b")]),
        ('["lsn-a", "front=lsn-b"]', [("lsn-a", "lsn-a"), ("front", "lsn-b")]),
        ('[{"session_id": "lsn-a"}, {"name": "x", "session_id": "lsn-b"}]', [("lsn-a", "lsn-a"), ("x", "lsn-b")]),
        ('{"front": "lsn-a"}', [("front", "lsn-a")]),
        ("[]", []),
        (",", []),
    ],
)
def test_sessions_in_the_environment_have_three_forms(written: str, expected: list[tuple[str, str]]) -> None:
    """A list with commas, with names, or JSON."""
    assert sessions(written) == expected


@pytest.mark.parametrize(
    "written",
    [
        "sessions: [front=lsn-a, lsn-b]",
        "sessions:\n- {name: front, session_id: lsn-a}\n- session_id: lsn-b",
        "sessions: {front: lsn-a, lsn-b: lsn-b}",
        "sessions:\n  front: {session_id: lsn-a}\n  lsn-b: lsn-b",
        "sessions: front=lsn-a,lsn-b",
    ],
)
def test_sessions_in_yaml_may_be_a_list_or_a_mapping(write: Any, written: str) -> None:
    """Strings or objects; a name defaults to the id."""
    assert load(write(written), {}, {}).sessions == (
        SessionSettings(name="front", session_id="lsn-a"),
        SessionSettings(name="lsn-b", session_id="lsn-b"),
    )


def test_sessions_of_a_stronger_place_replace_the_others(write: Any) -> None:
    """Half a list from each would surprise."""
    settings = load(write("sessions: {front: lsn-a}"), {"sessions": "back=lsn-b"}, {})
    assert [one.name for one in settings.sessions] == ["back"]


@given(st.text(max_size=40))
def test_any_text_for_sessions_is_valid_or_a_configuration_error(written: str) -> None:
    """Never a traceback of another kind; a name that gets through can stand in a key and a URL."""
    try:
        found = sessions(written)
    except ConfigurationError:
        return
    assert all("/" not in part and "{" not in part and part.strip() for one in found for part in one)


# Streams


@pytest.mark.parametrize(
    ("template", "misread"),
    [
        ("lens:{name}:events", "{name}"),
        ("lens:{NAME}:events", "{NAME}"),
        ("lens:{session_id}:events", "{session_id}"),
        ("lens:{{ .session-name }}:events", "{{ .session-name }}"),
        ("lens:${sessionId}", "{sessionId}"),
        ("lens:{Session}", "{Session}"),
        ("lens:{id}", "{id}"),
    ],
)
def test_two_sessions_do_not_share_a_stream_by_a_placeholder_of_other_tools(template: str, misread: str) -> None:
    """`{name}` is what most tools would fill in; with one session it is allowed and told of."""
    key = {"BRIDGE_STREAM__KEY": template}
    assert problems({**key, "BRIDGE_SESSIONS": "a=lsn-1,b=lsn-2"}) == [
        f"stream.key (BRIDGE_STREAM__KEY): {misread} is no placeholder, so a and b would share the one stream "
        f"{template}; write {{<name>}}, or e.g. {{all}} if they are meant to share it"
    ]
    assert warnings(key) == [
        f"stream.key (BRIDGE_STREAM__KEY): {misread} is no placeholder and stands in the key as it is; for the "
        "session's name write {<name>}"
    ]


@pytest.mark.parametrize(
    "template", ["lens:{all}:events", "lens:{<name>}:events", "lens:{names}", "name:id", "a:{b}:id"]
)
def test_sessions_may_share_a_stream_that_is_meant_so(template: str) -> None:
    """Any other word in the braces is a hash tag of its user's choice."""
    assert warnings({"BRIDGE_STREAM__KEY": template, "BRIDGE_SESSIONS": "a=lsn-1,b=lsn-2"}) == []


def test_a_misread_placeholder_beside_a_real_one_shares_no_stream() -> None:
    """It is told of, and each session has its stream."""
    told = warnings({"BRIDGE_STREAM__KEY": "lens:{name}:<session_id>", "BRIDGE_SESSIONS": "a=lsn-1,b=lsn-2"})
    assert [line.partition(": ")[2].partition(" and")[0] for line in told] == ["{name} is no placeholder"]


def test_of_many_sessions_a_message_names_the_first() -> None:
    """A line stays a line."""
    written = ",".join(f"s{n}=lsn-{n}" for n in range(1000))
    (line,) = problems({"BRIDGE_STREAM__KEY": "lens:{name}", "BRIDGE_SESSIONS": written})
    assert "so s0, s1 and 998 others would share" in line


def test_a_session_under_two_names_is_told_of() -> None:
    """Allowed, since each name has a stream; but mostly a line that was copied and not changed."""
    assert warnings({"BRIDGE_SESSIONS": "front=lsn-1,back=lsn-2,gate=lsn-1"}) == [
        "sessions (BRIDGE_SESSIONS): front and gate are the same session lsn-1; it is read once for each name, into a "
        "stream for each"
    ]


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("{front: {session_id: lsn-a, name: back}}", "front: the name stands in front already; remove name"),
        ("{front: {}}", "sessions[0].session_id"),
        ("{front: {session_id: lsn-a, nam: b}}", "sessions[0].nam: unknown setting"),
        ("{front: {session_id: 7}}", "sessions[0].session_id"),
    ],
)
def test_a_session_under_its_name_has_an_id_and_no_second_name(write: Any, written: str, words: str) -> None:
    """The name stands in front; what else a session may have is checked as in a list."""
    with pytest.raises(ConfigurationError, match=re.escape(words)):
        load(write(f"sessions: {written}"), {}, {})
