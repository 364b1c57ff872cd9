"""The newest entries of a stream, as many readers see them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bridge.serve.frames import Entry
from bridge.serve.places import EntryId
from bridge.serve.ring import Ring


def _entry(number: int, size: int = 1) -> Entry:
    return Entry(EntryId(number, 0), {b"data": bytes(size)})


def _numbers(entries: list[Entry] | None) -> list[int] | None:
    return None if entries is None else [one.id.milliseconds for one in entries]


@given(
    batches=st.lists(st.lists(st.integers(0, 30), min_size=1, max_size=8), max_size=8),
    most_entries=st.integers(1, 10),
    most_bytes=st.integers(1, 60),
    place=st.integers(0, 70),
    wanted=st.integers(1, 80),
)
def test_a_reader_gets_what_comes_next_or_is_told_that_it_is_not_here(
    batches: list[list[int]], most_entries: int, most_bytes: int, place: int, wanted: int
) -> None:
    """Never with something left out; within its limits, but for the newest entry."""
    ring, number, sizes = Ring(EntryId(0, 0), most_entries, most_bytes), 0, dict[int, int]()
    for batch in batches:
        made = []
        for size in batch:
            number += 1
            sizes[number] = size
            made.append(_entry(number, size))
        ring.append(made)
        assert len(ring) <= most_entries
    kept = range(number - len(ring) + 1, number + 1)
    assert sum(sizes[one] for one in kept) <= most_bytes or len(kept) == 1
    taken = _numbers(ring.after(EntryId(place, 0), wanted))
    if not kept.start - 1 <= place <= number:
        assert taken is None
        return
    assert taken is not None
    assert taken == list(range(place + 1, place + 1 + len(taken)))
    assert taken or place == number
    assert sum(sizes[one] for one in taken[:-1]) < wanted
    assert ring.knows(EntryId(place, 0))


def test_a_place_at_which_no_entry_stood_is_not_known() -> None:
    """Something may be missing behind it, though the numbers fit."""
    ring = Ring(EntryId(1, 0), 10, 100)
    ring.append([_entry(5), _entry(9)])
    assert [n for n in range(12) if ring.knows(EntryId(n, 0))] == [1, 5, 9]


def test_a_stream_that_is_another_one_begins_a_new_epoch() -> None:
    """So that each reader looks for its own place."""
    ring = Ring(EntryId(0, 0), 10, 100)
    ring.append([_entry(5)])
    ring.restart(EntryId(3, 0))
    assert (ring.epoch, len(ring), ring.before, ring.last) == (1, 0, EntryId(3, 0), EntryId(3, 0))
    ring.append([_entry(4)])
    assert _numbers(ring.after(EntryId(3, 0), 100)) == [4]
    assert ring.after(EntryId(5, 0), 100) is None
