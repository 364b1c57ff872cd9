"""What a reader that comes back may have missed."""

from __future__ import annotations

import pytest

from bridge.serve.places import BEGINNING, Bounds, EntryId, Hole, HoleReason, hole, parse_id


def _id(number: int) -> EntryId:
    return EntryId(number, 0)


def _stream(first: int | None, last: int, *, whole: bool = False) -> Bounds:
    return Bounds(first=None if first is None else _id(first), last=_id(last), whole=whole)


@pytest.mark.parametrize(
    ("place", "stream", "reason", "goes_on"),
    [
        pytest.param(5, _stream(None, 5), None, 5, id="nothing came since, and all of it was trimmed"),
        pytest.param(5, _stream(8, 20), HoleReason.TRIMMED, 5, id="older than the oldest"),
        pytest.param(5, _stream(None, 20), HoleReason.TRIMMED, 20, id="all that came was trimmed"),
        pytest.param(8, _stream(2, 20), HoleReason.GONE, 8, id="among the entries, and no entry"),
        pytest.param(8, _stream(9, 20, whole=True), HoleReason.GONE, 8, id="a stream that was begun anew"),
        pytest.param(8, _stream(2, 7), HoleReason.AHEAD, 7, id="rolled back"),
        pytest.param(8, _stream(None, 0, whole=True), HoleReason.AHEAD, 0, id="emptied"),
        pytest.param(0, _stream(3, 7, whole=True), None, 0, id="from the beginning, of which nothing is gone"),
        pytest.param(0, _stream(3, 7), HoleReason.TRIMMED, 0, id="from the beginning, which is gone"),
    ],
)
def test_what_may_be_missing_is_told(place: int, stream: Bounds, reason: HoleReason | None, goes_on: int) -> None:
    """With the place behind which it goes on: nothing that still is there is left out."""
    expected = reason and Hole(reason=reason, after=_id(place), place=_id(goes_on))
    assert hole(_id(place), stream) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("5-3", EntryId(5, 3)), ("1764143000000", EntryId(1764143000000, 0)), ("0-0", BEGINNING)],
)
def test_an_id_is_read(text: str, expected: EntryId) -> None:
    """With and without its second number."""
    assert parse_id(text) == expected
    assert parse_id(str(expected)) == expected


@pytest.mark.parametrize(
    "text", ["", "-", "5-", "a-0", "-5", "5-3-1", "+", "$", "\u0665-0", "5 ", f"{2**64}-0", "9" * 21]
)
def test_what_is_no_id_is_refused(text: str) -> None:
    """It would go to Redis as it is."""
    with pytest.raises(ValueError, match="id of an entry"):
        parse_id(text)


def test_ids_rise_as_numbers_and_not_as_texts() -> None:
    """10-0 stands behind 9-0."""
    assert parse_id("9-10") > parse_id("9-9")
    assert parse_id("10-0") > parse_id("9-9")
