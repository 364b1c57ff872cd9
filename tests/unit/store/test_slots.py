"""Which node of a cluster has which keys."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import ConfigurationError
from bridge.model.keys import WORKERS_KEY, given_key, hash_tag, room_key, session_keys, wishes_key
from bridge.model.place import Session
from bridge.model.redis_address import Endpoint
from bridge.store.nodes.slots import SLOTS, SlotMap, slot_of

ASKED = Endpoint("asked.example", 7000)


@pytest.mark.parametrize(
    ("key", "slot"),
    [
        ("123456789", 0x31C3),  # the check value of CRC16/XMODEM, which the specification gives
        ("foo", 12182),
        ("{user1000}.following", 3443),
        ("foo{}{bar}", 8363),
        ("foo{{bar}}zap", 4015),
        ("foo{bar}{zap}", 5061),
        ("", 0),
    ],
)
def test_a_key_is_in_the_slot_that_a_server_gives_it(key: str, slot: int) -> None:
    """The numbers are those of CLUSTER KEYSLOT."""
    assert slot_of(key) == slot


@given(st.text(st.sampled_from("ab:{}<>-"), min_size=1, max_size=12))
def test_no_template_parts_the_keys_of_a_session(template: str) -> None:
    """It is refused, or all of them stand in one slot."""
    session = Session(name="n", session_id="lsn-1")
    try:
        keys = session_keys(template, session)
    except ConfigurationError:
        return
    every = (keys.events, keys.dead_letter, keys.state, keys.seen, keys.lease)
    assert len({slot_of(key) for key in every}) == 1
    assert len({hash_tag(key) for key in every}) == 1


def test_the_register_of_workers_stands_in_one_slot() -> None:
    """One script touches several of these, of several workers."""
    beside = (wishes_key("0123456789abcdef"), room_key("w-1/0123"), room_key("w-2/4567"), given_key("w-1/0123"))
    assert {slot_of(key) for key in beside} == {slot_of(WORKERS_KEY)}


def node(host: object, port: int) -> list[object]:
    """As CLUSTER SLOTS has it: also an id, and from 7.0 on more names."""
    return [host, port, b"0123", [b"hostname", b"h"]]


def test_a_map_knows_the_owner_of_each_slot_and_all_nodes() -> None:
    """Ranges in any order, with replicas or without."""
    made = SlotMap([[8192, SLOTS - 1, node(b"B", 2)], [0, 8190, node(b"a", 1), node(b"c", 3)]], ASKED)
    a, b, c = Endpoint("a", 1), Endpoint("b", 2), Endpoint("c", 3)
    assert [made.owner(slot) for slot in (0, 8190, 8191, 8192, SLOTS - 1)] == [a, a, None, b, b]
    assert made.owners() == {a, b}
    assert set(made.endpoints) == {a, b, c}
    assert made.covered() == SLOTS - 1


def test_a_slot_that_moved_is_its_new_owners() -> None:
    """Until there is a newer map."""
    made = SlotMap([[0, SLOTS - 1, node(b"a", 1)]], ASKED)
    made.move(7, Endpoint("b", 2))
    assert made.owner(7) == Endpoint("b", 2)
    assert made.owner(8) == Endpoint("a", 1)
    assert made.owners() == {Endpoint("a", 1), Endpoint("b", 2)}


def test_a_node_that_does_not_know_its_name_is_the_one_that_was_asked() -> None:
    """It says "", or nothing at all; a question mark is a node that nobody can reach."""
    made = SlotMap([[0, 1, node(b"", 1)], [2, 3, node(None, 2)], [4, 5, node(b"?", 3)]], ASKED)
    assert [made.owner(slot) for slot in (0, 2, 4)] == [Endpoint(ASKED.host, 1), Endpoint(ASKED.host, 2), None]


def test_before_the_first_range_is_nobody() -> None:
    """And an empty map serves nothing."""
    assert SlotMap([[5, 6, node(b"a", 1)]], ASKED).owner(4) is None
    empty = SlotMap([], ASKED)
    assert (empty.owner(0), empty.covered(), empty.owners()) == (None, 0, set())


@pytest.mark.parametrize("reply", [b"OK", None, [[0, 1]], [[0, 1, [b"h"]]], [[0, 1, [3, 4]]], [[b"x", 1, [b"h", 1]]]])
def test_what_is_no_map_is_told(reply: object) -> None:
    """A proxy answers anything."""
    with pytest.raises(ValueError, match="not the slots of a cluster"):
        SlotMap(reply, ASKED)
