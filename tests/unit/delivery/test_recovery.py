"""The place of a session, read off its own entries."""

from __future__ import annotations

import pytest

from bridge.delivery.recovery import Placed, Seed, joined, seed_from_traces, trace_of, trace_of_letter
from bridge.delivery.window import Window, digest_of, hash8
from bridge.model.place import Place

DATA = b'{"n":1}'
HASH = hash8(digest_of(DATA))
OTHER_HASH = "0a1b2c3d"


def entry(key: str, seq: int) -> dict[bytes, bytes]:
    """An entry of the stream, as far as it matters."""
    kind = b"bridge.gap" if key.startswith("bridge-gap-") else b"t"
    return {b"id": key.encode(), b"seq": b"%d" % seq, b"type": kind, b"data": DATA, b"session_id": b"lsn-1"}


def seed_of(keys: list[str]) -> Seed:
    """What entries with these keys tell, numbered from 41."""
    seed = seed_from_traces([trace_of(entry(key, seq)) for seq, key in enumerate(keys, 41)])
    assert seed is not None
    return seed


@pytest.mark.parametrize(
    ("keys", "cursor", "ordinal"),
    [
        (["7", "8"], "8", 0),
        (["8", f"8#1-{HASH}", f"8#2-{HASH}"], "8", 2),
        ([f"0#1-{HASH}"], None, 1),
        (["8", f"8~{HASH}"], "8", 0),
        (["8", "bridge-gap-1"], "8", 0),
        (["bridge-gap-1"], None, 0),
        ([f"a#b#3-{HASH}"], "a#b", 3),
        (["#1-zz"], "#1-zz", 0),
        (["8", f"8#1-{OTHER_HASH}"], f"8#1-{OTHER_HASH}", 0),  # the server's own, though it looks like ours
        (["8", f"9~{OTHER_HASH}"], f"9~{OTHER_HASH}", 0),
        (["8", "bridge-9"], "bridge-9", 0),
    ],
)
def test_the_last_entries_tell_the_place(keys: list[str], cursor: str | None, ordinal: int) -> None:
    """Whatever kind of key came last."""
    seed = seed_of(keys)
    assert seed.place == Place(cursor=cursor, ordinal=ordinal, seq=40 + len(keys))


def test_the_window_recognises_what_the_entries_hold() -> None:
    """So that a replay of them is skipped."""
    window = Window(10, seed_of(["7", "bridge-gap-1", "8"]).window)
    assert window.get("7") == window.get("8") == digest_of(DATA)
    assert window.get("bridge-gap-1") is None


def test_a_dead_letter_tells_the_place_where_nothing_came_after_it() -> None:
    """It has no number of its own, and its bytes are known unless they were cut."""
    letter = {b"id": b"9", b"data": b"{broken", b"truncated": b"0"}
    seed = seed_from_traces([trace_of(entry("8", 41)), trace_of_letter(letter)])
    assert seed
    assert seed.place == Place(cursor="9", seq=41)
    assert Window(10, seed.window).get("9") == digest_of(b"{broken")


@pytest.mark.parametrize(
    "letter", [{b"id": b"9", b"data": b"{bro", b"truncated": b"1"}, {b"id": b"9", b"data": b"{"}, {b"data": b"{"}]
)
def test_a_dead_letter_that_was_cut_or_is_somebody_elses_tells_nothing(letter: dict[bytes, bytes]) -> None:
    """What is left of it would pass for another event under the same id."""
    seed = seed_from_traces([trace_of(entry("8", 41)), trace_of_letter(letter)])
    assert seed
    assert (seed.place, Window(10, seed.window).get("9")) == (Place(cursor="8", seq=41), None)


def test_a_stream_without_the_session_tells_nothing() -> None:
    """A new session starts from the beginning."""
    assert seed_from_traces([]) is None


@pytest.mark.parametrize("field", ["id", "seq", "type", "data"])
def test_an_entry_that_is_not_ours_is_refused(field: str) -> None:
    """A place guessed from it would be wrong in silence."""
    foreign = entry("7", 1)
    del foreign[field.encode()]
    with pytest.raises(KeyError):
        trace_of(foreign)
    with pytest.raises(ValueError, match="invalid literal"):
        trace_of(entry("7", 1) | {b"seq": b"many"})


def placed(*numbers: int, ms: int = 5) -> list[Placed]:
    """The entries of one stream, newest first, all of one millisecond."""
    return [((ms, at), trace_of(entry(f"e{seq}", seq))) for at, seq in reversed([*enumerate(numbers)])]


def numbers_of(traces: list[Placed]) -> list[int]:
    """In the order given."""
    return [trace.seq for _, trace in traces]


def test_the_entries_of_several_streams_are_one_run_of_numbers_whose_ids_rise() -> None:
    """Each stream counts its ids within a millisecond by itself."""
    traces, whole = joined([placed(1, 4, 5), placed(2, 3), placed(6, ms=6), []], enough=10)
    assert (numbers_of(traces), whole) == ([1, 2, 3, 4, 5, 6], True)
    ids = [id for id, _ in traces]
    assert ids == sorted(ids)


def test_where_a_stream_holds_more_nothing_older_is_taken_from_the_others() -> None:
    """What came between is not known, and a window with holes would tell no replay by its contents."""
    traces, whole = joined([placed(7, 8, 10), placed(2, 6, 9)], enough=3)
    assert (numbers_of(traces), whole) == ([7, 8, 9, 10], False)
    traces, whole = joined([placed(7, 8, 10), placed(2, 9)], enough=3)
    assert (numbers_of(traces), whole) == ([7, 8, 9, 10], False)


def test_of_one_stream_all_is_taken_as_it_is() -> None:
    """Oldest first; whether there may be more is told by how many there are."""
    assert joined([], enough=3) == ([], True)
    traces, whole = joined([placed(4, 5, 6)], enough=3)
    assert (numbers_of(traces), whole) == ([4, 5, 6], False)
    assert joined([placed(5, 6), []], enough=3) == ([*reversed(placed(5, 6))], True)
