"""`stream.routes`: the ways to write it, and what it may not say."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bridge.settings.contradictions import MOST_ROUTED
from bridge.settings.loading import load
from tests.support.configuration import problems

RESULTS, LOGS = "lens:{<name>}:results", "lens:{<name>}:logs"


@pytest.mark.parametrize(
    "written",
    [
        f'stream:\n  routes: {{log.info: "{LOGS}", "inference.*": "{RESULTS}"}}',
        f'stream:\n  routes:\n  - log.info: "{LOGS}"\n  - "inference.*": "{RESULTS}"',
        f'stream:\n  routes:\n  - {{log.info: "{LOGS}", " inference.* ": "{RESULTS}"}}',
    ],
)
def test_routes_in_yaml_are_a_mapping_or_a_list_of_such(write: Any, written: str) -> None:
    """In the order in which they are written."""
    routes = load(write(written), {}, {}).stream.routes
    assert [*routes.items()] == [("log.info", LOGS), ("inference.*", RESULTS)]


@pytest.mark.parametrize("written", [{"b": LOGS, "a": RESULTS}, [{"b": LOGS}, {"a": RESULTS}]])
def test_routes_in_the_environment_are_json(written: object) -> None:
    """Either of the two."""
    routes = load(None, {}, {"BRIDGE_STREAM__ROUTES": json.dumps(written)}).stream.routes
    assert [*routes.items()] == [("b", LOGS), ("a", RESULTS)]


def test_without_routes_there_are_none() -> None:
    """All goes to one stream; so it is where none is left."""
    assert load(None, {}, {}).stream.routes == {}
    assert load(None, {}, {"BRIDGE_STREAM__ROUTES": "{}"}).stream.routes == {}


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("a=b", "must be a mapping of glob to key"),
        ("[1]", "must be a mapping of glob to key"),
        ("{", "must be a mapping of glob to key"),
        ('{"a": 3}', "a: needs a key"),
        ('{"a": ""}', "a: needs a key"),
        ('{"a": "lens:{<name>}: x"}', "without blanks"),
        ('{"": "lens:{<name>}:x"}', "is no glob on one type"),
        ('{"a b": "lens:{<name>}:x"}', "is no glob on one type"),
        ('{"a,b": "lens:{<name>}:x"}', "is no glob on one type"),
        ('{"a": "lens:{<name>}:x", "a": "lens:{<name>}:y"}', "a stands there twice"),
        ('[{"a": "lens:{<name>}:x"}, {"a": "lens:{<name>}:y"}]', "a stands there twice"),
        ('{"a": "lens:{<name>}:dead-letter"}', "lens:{name}:dead-letter is a key that the bridge needs for itself"),
        ('{"a": "lens:{<name>}:state:other"}', "lens:{name}:state:other is a key that the bridge needs for itself"),
        ('{"a": "lens:{<name>}:seen:<session_id>"}', "is a key that the bridge needs for itself"),
        ('{"a": "lens:{<name>}:lease:x"}', "is a key that the bridge needs for itself"),
        ('{"a": "lens:logs"}', "lens:logs and lens:{name}:events stand in different hash slots"),
        ('{"a": "lens:{<nam>}:x"}', "unknown placeholder <nam>"),
        ('{"*": "lens:{<name>}:x", "a": "lens:{<name>}:y"}', "a is never reached, since * stands before it"),
        ('{"in*": "lens:{<name>}:x", "inf.*": "lens:{<name>}:y"}', "inf.* is never reached, since in* stands before"),
    ],
)
def test_a_mistake_is_one_line_that_names_path_and_variable(written: str, said: str) -> None:
    """And says what to do."""
    (line,) = problems({"BRIDGE_STREAM__ROUTES": written})
    assert line.startswith("stream.routes (BRIDGE_STREAM__ROUTES): ")
    assert said in line


def test_a_glob_that_another_one_only_meets_is_reached() -> None:
    """Order tells which of them counts."""
    written = {
        "in*.error": LOGS,
        "inference.*": RESULTS,
        "log.?": LOGS,
        "log.*": RESULTS,
        "x[ab]": LOGS,
        "xa*": RESULTS,
    }
    assert [*load(None, {}, {"BRIDGE_STREAM__ROUTES": json.dumps(written)}).stream.routes] == [*written]


def test_a_commit_has_room_for_so_many_streams() -> None:
    """Some services refuse a request of 4,000 arguments, and each stream is one."""
    routes = {f"t{n}": f"lens:{{<name>}}:r{n}" for n in range(MOST_ROUTED + 1)}
    (line,) = problems({"BRIDGE_STREAM__ROUTES": json.dumps(routes)})
    assert f"{MOST_ROUTED + 1} keys beside stream.key; a commit has room for {MOST_ROUTED}" in line
    routes["t0"] = "lens:{<name>}:events"
    assert load(None, {}, {"BRIDGE_STREAM__ROUTES": json.dumps(routes)}).stream.routes == routes
