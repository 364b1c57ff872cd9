"""Whom of several witnesses to believe: Sentinels that name a primary, nodes that show a map."""

from __future__ import annotations

from bridge.model.redis_address import Endpoint
from bridge.store.nodes.sentinel import Vote, candidates, elected
from bridge.store.nodes.slots import SlotMap
from bridge.store.nodes.survey import View, likeliest

OLD, NEW, DECOY = Endpoint("old", 1), Endpoint("new", 2), Endpoint("decoy", 3)


def test_the_word_of_most_sentinels_is_the_only_one_that_counts() -> None:
    """However new a single one claims its own to be."""
    votes = [Vote(NEW, 2), Vote(DECOY, 99), Vote(NEW, 2)]
    assert elected(votes, 3) == NEW
    assert candidates(votes, 3) == [NEW]


def test_those_that_do_not_answer_count_too() -> None:
    """Two of five are not most, even where the other three are silent."""
    assert elected([Vote(NEW), Vote(NEW)], 5) is None
    assert elected([Vote(NEW), Vote(NEW), Vote(NEW)], 5) == NEW
    assert elected([Vote(NEW)], 1) == NEW
    assert elected([], 1) is None


def test_where_no_side_has_most_each_is_tried_the_likeliest_first() -> None:
    """More votes, then the later failover."""
    assert candidates([Vote(OLD, 1), Vote(NEW, 2)], 3) == [NEW, OLD]
    assert candidates([Vote(OLD, 1), Vote(OLD, 1), Vote(NEW, 2)], 5) == [OLD, NEW]
    assert candidates([Vote(OLD, 1), Vote(OLD, 5), Vote(NEW, 4), Vote(NEW, 4)], 5) == [OLD, NEW]
    assert candidates([], 3) == []


def view(owner: Endpoint, *, among_most: bool = True, epoch: int = 1) -> View:
    """A node's word that all slots are one's."""
    return View(slots=SlotMap([[0, 9, [owner.host.encode(), owner.port]]], owner), among_most=among_most, epoch=epoch)


def test_of_two_maps_the_newer_one_counts() -> None:
    """Epochs rise with each change."""
    assert likeliest([view(OLD, epoch=3), view(NEW, epoch=4)]).owner(0) == NEW
    assert likeliest([view(NEW, epoch=4), view(OLD, epoch=3)]).owner(0) == NEW


def test_a_node_that_is_cut_off_is_believed_only_where_nobody_else_is_there() -> None:
    """Its own epoch may have risen while it tried to be elected."""
    alone = view(OLD, among_most=False, epoch=9)
    assert likeliest([alone, view(NEW, epoch=2)]).owner(0) == NEW
    assert likeliest([alone]).owner(0) == OLD
