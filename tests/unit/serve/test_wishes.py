"""What a reader may ask for."""

from __future__ import annotations

import pytest

from bridge.serve.frames import Entry, Format
from bridge.serve.places import EntryId
from bridge.serve.wishes import Begin, Wish, WishError, wish_of


def _wish(*parameters: tuple[str, str], header: str | None = None, only: frozenset[str] | None = None) -> Wish:
    return wish_of(parameters, header, only)


def _entry(type: str = "error", session_id: str = "lsn-1", **others: str) -> Entry:
    fields = {"type": type, "session_id": session_id, **others}
    return Entry(EntryId(1, 0), {name.encode(): value.encode() for name, value in fields.items()})


def test_without_a_word_it_is_all_from_now_on_as_json() -> None:
    """What an EventSource on the bare address gets."""
    wish = _wish()
    assert (wish.begin, wish.resume, wish.format) == (Begin.NOW, None, Format.ENTRY)
    assert wish.choice.all


def test_the_header_wins_over_the_query_and_both_over_the_beginning() -> None:
    """An EventSource that reconnects sends the address it began with, and the newer place in the header."""
    begun = (("last_event_id", "5-0"), ("from", "start"))
    assert _wish(*begun).resume == EntryId(5, 0)
    assert _wish(*begun, header="7-1").resume == EntryId(7, 1)
    assert _wish(*begun, header="").resume == EntryId(5, 0)
    assert _wish(("from", "9")).begin == EntryId(9, 0)


def test_types_are_globs_and_any_of_several_is_enough() -> None:
    """Repeated, or with commas."""
    for given in ((("type", "inference.*"), ("type", "error")), (("type", "inference.*, error"),)):
        choice = _wish(*given).choice
        taken = [one for one in ("error", "inference.result", "bridge.gap", "errors", "") if choice.takes(_entry(one))]
        assert taken == ["error", "inference.result"]
    assert _wish(("type", "*")).choice.all


def test_a_session_is_meant_by_its_name_or_its_id() -> None:
    """Entries from before the field `name` was there have an id only."""
    choice = _wish(("session", "camera-1,lsn-2")).choice
    assert choice.takes(_entry(session_id="lsn-9", name="camera-1"))
    assert choice.takes(_entry(session_id="lsn-2"))
    assert not choice.takes(_entry(session_id="lsn-1", name="camera-2"))


def test_of_a_shared_stream_a_name_gives_its_own_entries() -> None:
    """By their name, also those of an earlier session under it; by the id where they bear no name."""
    choice = _wish(only=frozenset(("camera-1", "lsn-1"))).choice
    assert choice.takes(_entry(session_id="lsn-1"))
    assert choice.takes(_entry(session_id="lsn-0", name="camera-1"))
    assert not choice.takes(_entry(session_id="lsn-1", name="camera-2"))
    assert not choice.all


@pytest.mark.parametrize(
    ("parameter", "said"),
    [
        (("tipe", "x"), "unknown; there are"),
        (("from", "yesterday"), "use start, now or the id of an entry"),
        (("last_event_id", "-1"), "no id of an entry"),
        (("format", "xml"), "use entry or data"),
        (("type", ""), "use 1 to 32"),
        (("type", "x" * 257), "use 1 to 32"),
        (("type", ",".join("x" * 33)), "use 1 to 32"),
        (("session", "a,,b"), "use 1 to 32"),
        (("a\r\nSet-Cookie: x", "y"), "'a??Set-Cookie: x': unknown"),
    ],
)
def test_what_makes_no_sense_is_refused_in_words(parameter: tuple[str, str], said: str) -> None:
    """Not ignored: a filter with a typing error would give everything. Nothing of it gets into a line of its own."""
    with pytest.raises(WishError) as caught:
        _wish(parameter)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_parameter_that_is_given_twice_is_refused() -> None:
    """Which of the two is meant?"""
    with pytest.raises(WishError, match="given twice"):
        _wish(("from", "now"), ("from", "start"))


def test_a_header_that_is_no_place_is_refused() -> None:
    """It comes from another server."""
    with pytest.raises(WishError, match="last_event_id"):
        _wish(header="lsn-41")
