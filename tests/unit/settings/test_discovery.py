"""What can be set about discovery, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.settings.loading import load
from tests.support.configuration import problems, warnings


@pytest.mark.parametrize("written", ["lns-a,lns-b", " lns-a , lns-b ", '["lns-a", "lns-b"]'])
def test_a_list_of_words_in_the_environment_has_two_forms(written: str) -> None:
    """As sessions have."""
    assert load(None, {}, {"BRIDGE_DISCOVERY__LENS_IDS": written}).discovery.lens_ids == ("lns-a", "lns-b")


def test_a_list_of_words_in_yaml_is_one(write: Any) -> None:
    """A single word too."""
    discovery = load(write("discovery: {lens_ids: [lns-a], statuses: RUNNING}"), {}, {}).discovery
    assert (discovery.lens_ids, discovery.statuses) == (("lns-a",), ("RUNNING",))


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("camera", "must hold <session_id> or <lens_id>"),
        ("{session_id}", "must hold <session_id> or <lens_id>"),
        ("<session_id>/<name>", "must be <session_id>, <lens_id> and up to 100 of"),
        ("<lens_id> 1", "must be <session_id>, <lens_id> and up to 100 of"),
    ],
)
def test_a_template_that_makes_no_name_is_refused(template: str, words: str) -> None:
    """In one line, with the setting and its variable."""
    (line,) = problems({"BRIDGE_DISCOVERY__NAME": template})
    assert line.startswith(f"discovery.name (BRIDGE_DISCOVERY__NAME): {words}")


def test_json_that_is_none_is_told_with_what_to_write_instead() -> None:
    """Not with what sessions would take."""
    (line,) = problems({"BRIDGE_DISCOVERY__STATUSES": '["RUNNING"'})
    assert "is not valid JSON at character 11; or write a,b" in line


def test_who_discovers_sessions_is_not_told_that_there_are_none() -> None:
    """It does not stand by."""
    alone = {"BRIDGE_SESSIONS": "", "BRIDGE_DISCOVERY__ENABLED": "1"}
    assert not any("no sessions" in line for line in warnings(alone))
