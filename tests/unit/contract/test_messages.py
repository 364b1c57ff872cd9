"""The schemas of entries, markers and dead letters: fresh, whole, and able to say no."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator, Draft202012Validator  # type: ignore[import-untyped]

from bridge.contract.asyncapi import asyncapi
from bridge.contract.messages import GAP_REASONS, MESSAGES, schema
from bridge.delivery.markers import REWOUND
from bridge.model.labels import DeadLetterReason, GapReason
from tests.support.contract import ASYNCAPI_FILE, CONTRACT_FILE, judged

EVENT = {
    "id": "8",
    "session_id": "lsn-1",
    "name": "camera-1",
    "seq": "42",
    "type": "t",
    "data": '{"type": "t"}',
    "received_at": "1741843200.123",
}
GAP: dict[str, Any] = {"reason": "no_cursor", "last_id": None, "outage_seconds": 1.5}
LETTER = {name: value for name, value in EVENT.items() if name != "seq"} | {
    "type": "",
    "event": "message",
    "reason": "oversize",
    "detail": "too large",
    "truncated": "1",
}


def marker(said: dict[str, Any], kind: str = "gap") -> dict[str, str]:
    """One that says this."""
    return {**EVENT, "id": f"bridge-{kind}-0a1b2c3d4e5f6071", "type": f"bridge.{kind}", "data": json.dumps(said)}


def broken(fields: dict[str, str], *, letter: bool = False) -> tuple[str, ...]:
    """What the contract has against it."""
    return judged({name.encode(): value.encode() for name, value in fields.items()}, letter=letter).broken


def test_both_files_are_fresh() -> None:
    """`make schema` writes them."""
    assert json.loads(CONTRACT_FILE.read_text()) == schema()
    assert yaml.safe_load(ASYNCAPI_FILE.read_text()) == asyncapi()


def test_each_schema_is_one_of_draft_7_and_of_2020_12() -> None:
    """AsyncAPI takes the one, most other tools the other; beside a `$ref` draft 7 reads nothing."""
    Draft202012Validator.check_schema(schema())
    Draft7Validator.check_schema(schema())
    assert all(len(one) == 1 for one in _objects(schema()) if "$ref" in one)
    found = {one["$ref"] for one in _objects(asyncapi()) if "$ref" in one}
    assert found
    for reference in found:
        at: Any = asyncapi()
        for step in reference.removeprefix("#/").split("/"):
            at = at[step]


def test_every_reason_that_can_be_written_stands_in_the_schema() -> None:
    """With the words of the code."""
    assert set(GAP_REASONS) == {*(one.value for one in GapReason), REWOUND}
    definitions = schema()["$defs"]
    told = [definitions[one["$ref"].rpartition("/")[2]] for one in definitions["gapData"]["oneOf"]]
    assert {one["properties"]["reason"]["const"] for one in told} == set(GAP_REASONS)
    assert definitions["deadLetter"]["properties"]["reason"]["enum"] == list(DeadLetterReason)


@pytest.mark.parametrize("name", MESSAGES)
def test_the_examples_of_the_document_keep_the_contract(name: str) -> None:
    """AsyncAPI's own validator sees none of them."""
    examples = asyncapi()["components"]["messages"][name]["examples"]
    assert examples
    for one in examples:
        assert broken(one["payload"], letter=name == "deadLetter") == ()
        assert "name" in one["payload"]


@pytest.mark.parametrize(
    "fields",
    [
        EVENT,
        {name: value for name, value in EVENT.items() if name != "name"},
        {**EVENT, "id": "bridge-7"},
        {**EVENT, "type": "bridge.x", "data": '{"type":"bridge.x"}'},
        {**EVENT, "event": "result", "dead_letter": "1-0"},
        {**EVENT, "data": '\ufeff{"type":"t","x":NaN,"y":"\\ud800","z":%s}' % ("9" * 5000)},
        marker(GAP),
        marker(GAP) | {"seq": "0"},
        marker(GAP | {"something": "new"}),
        marker({"reason": "destroyed"}, "session.ended"),
    ],
    ids=repr,
)
def test_what_the_bridge_may_write_keeps_the_contract(fields: dict[str, str]) -> None:
    """Entries from before `name` too, and data that not every parser reads."""
    assert broken(fields) == ()


def _without(fields: dict[str, str], name: str) -> dict[str, str]:
    return {one: value for one, value in fields.items() if one != name}


@pytest.mark.parametrize(
    "fields",
    [
        *(_without(EVENT, name) for name in EVENT if name != "name"),
        {**EVENT, "id": ""},
        {**EVENT, "session_id": "a/b"},
        {**EVENT, "name": ""},
        {**EVENT, "seq": "0"},
        {**EVENT, "seq": "042"},
        {**EVENT, "type": "sse.stream.end"},
        {**EVENT, "data": "[]"},
        {**EVENT, "data": '{"type": 1}'},
        {**EVENT, "received_at": "1741843200"},
        {**EVENT, "event": "message"},
        {**EVENT, "dead_letter": "7"},
        {**EVENT, "id": "bridge-gap-1", "type": "bridge.other"},
        marker({}),
        *(marker({name: value for name, value in GAP.items() if name != one}) for one in GAP),
        marker(GAP | {"reason": "unheard_of"}),
        marker(GAP | {"reason": "numbers_lost", "from_seq": 1}),
        marker(GAP | {"reason": "numbers_lost", "from_seq": 0, "to_seq": 1}),
        marker(GAP | {"reason": "rewound", "to": "id", "to_id": "3"}),
        marker(GAP | {"reason": "rewound", "to": "there", "to_id": "3", "again": False}),
        marker(GAP | {"outage_seconds": -1}),
        marker(GAP) | {"id": "bridge-session.ended-0a"},
        marker({}, "session.ended"),
        marker({"reason": ""}, "session.ended"),
    ],
    ids=repr,
)
def test_what_is_not_as_promised_is_found(fields: dict[str, str]) -> None:
    """Each with one thing wrong."""
    assert broken(fields)


def test_dead_letters_are_held_to_their_own_schema() -> None:
    """Their data is whatever came."""
    assert broken(LETTER | {"data": "\0 no JSON"}, letter=True) == ()
    assert broken(_without(LETTER, "name"), letter=True) == ()
    for name in LETTER.keys() - {"name"}:
        assert broken(_without(LETTER, name), letter=True), name
    assert broken(LETTER | {"reason": "unheard_of"}, letter=True)
    assert broken(LETTER | {"truncated": "yes"}, letter=True)


def test_a_field_that_comes_later_breaks_no_reader_and_has_to_be_named_by_the_writer() -> None:
    """The schemas let it pass; whoever writes it puts it into them."""
    later = {**EVENT, "traceparent_of_tomorrow": "x"}
    whole = Draft202012Validator(schema())
    assert whole.is_valid(later)
    assert whole.is_valid({**LETTER, "more": "x"})
    assert broken(later) == ("event 8: traceparent_of_tomorrow is no field of event",)


def test_anything_else_is_neither_entry_nor_dead_letter() -> None:
    """The schema as a whole can say no."""
    assert not Draft202012Validator(schema()).is_valid({"id": "1", "data": "{}"})


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
    for one in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _objects(one)
