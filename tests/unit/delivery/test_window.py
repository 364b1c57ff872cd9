"""The dedupe window: what is remembered, what is forgotten, and that Redis and memory stay one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bridge.delivery.window import DIGEST_BYTES, Seal, Window, digest_of, hash8
from bridge.model.records import Record


def record(key: str, digest: bytes | None = None) -> Record:
    """A record of which only the key and the digest matter."""
    return Record(key, "t", b"{}", 1.0, "message", digest_of(key.encode()) if digest is None else digest, None, 0)


def commit(window: Window, stored: list[bytes], keys: list[str]) -> None:
    """Receive and commit a batch, as the worker and the script do together."""
    batch = [record(key) for key in keys]
    for one in batch:
        window.remember(one.key, one.digest)
    seal = window.seal(batch)
    if seal.blob:
        stored.append(seal.blob)
    if seal.keep:
        del stored[: -seal.keep]
    window.committed(seal)


def test_an_event_counts_as_seen_as_soon_as_it_is_received() -> None:
    """A replay may come before the first copy is committed."""
    window = Window(10)
    window.remember("a", b"12345678")
    assert window.get("a") == b"12345678"
    assert window.get("b") is None


def test_the_oldest_batch_goes_only_when_the_others_fill_the_window() -> None:
    """At least the last `size` events are known, whatever the batches are."""
    window = Window(4)
    stored: list[bytes] = []
    commit(window, stored, ["a", "b", "c"])
    commit(window, stored, ["d", "e", "f"])
    assert window.get("a") is not None
    commit(window, stored, ["g"])
    assert window.get("a") is None
    assert [window.get(key) is not None for key in "defg"] == [True] * 4
    assert len(stored) == 2


def test_markers_take_no_part() -> None:
    """A marker has no digest: nothing is remembered of it, and a commit of markers alone writes no blob."""
    window = Window(4)
    assert window.seal([record("bridge-gap-1", b"")]) == Seal()


def test_a_window_of_zero_remembers_nothing() -> None:
    """`dedupe.window_events: 0` turns it off."""
    window = Window(0)
    stored: list[bytes] = []
    commit(window, stored, ["a"])
    assert window.get("a") is None
    assert stored == []


def test_a_very_long_id_is_remembered_by_its_hash() -> None:
    """Two thousand ids of a megabyte must not be kept, and two of them must not be mixed up."""
    window = Window(4)
    stored: list[bytes] = []
    long = "x" * 4000
    commit(window, stored, [long, long + "y"])
    assert len(stored[0]) < 400
    again = Window(4, stored)
    assert again.get(long) == digest_of(long.encode())
    assert again.get(long + "y") != again.get(long)


def test_the_tail_of_a_prefix_comes_oldest_first() -> None:
    """The events without an id since the cursor, in the order in which they came."""
    window = Window(10)
    stored: list[bytes] = []
    commit(window, stored, ["5", "5#1-aa", "5#2-bb", "5#3-cc"])
    assert Window(10, stored).tail_of("5#", 2) == {key: digest_of(key.encode()) for key in ("5#2-bb", "5#3-cc")}
    assert list(Window(10, stored).tail_of("5#", 3)) == ["5#1-aa", "5#2-bb", "5#3-cc"]
    assert window.tail_of("5#", 0) == {}


def test_hash8_is_eight_hex_digits() -> None:
    """As it stands in keys."""
    assert len(hash8(digest_of(b"x"))) == 8
    assert len(digest_of(b"x")) == DIGEST_BYTES


_ids = st.text(alphabet=st.characters(exclude_characters="\r\n\0", codec="utf-8"), min_size=1, max_size=200)


@given(st.lists(st.lists(_ids, max_size=9), max_size=12), st.integers(0, 20))
def test_what_redis_holds_rebuilds_the_same_window(batches: list[list[str]], size: int) -> None:
    """After any commits, a worker that starts from Redis knows what the one before it knew."""
    window = Window(size)
    stored: list[bytes] = []
    seen: dict[str, None] = {}
    for batch in batches:
        fresh = [key for key in dict.fromkeys(batch) if key not in seen]
        seen.update(dict.fromkeys(fresh))
        commit(window, stored, fresh)
    again = Window(size, stored)
    assert {key: again.get(key) for key in seen} == {key: window.get(key) for key in seen}
    assert list(again.blobs()) == list(window.blobs()) == stored
    latest = list(seen)[-size:] if size else []
    assert all(window.get(key) is not None for key in latest)


@given(st.integers(1, 12), st.lists(st.tuples(st.integers(1, 6), st.integers(0, 3)), max_size=15))
def test_commits_under_way_leave_redis_and_memory_as_they_would_one_after_another(
    size: int, steps: list[tuple[int, int]]
) -> None:
    """Sealed behind others that have not landed yet: the same blobs are pushed, and the same batches forgotten."""
    ahead, alone = Window(size), Window(size)
    stored: list[bytes] = []
    expected: list[bytes] = []
    number = 0
    flights: list[Seal] = []
    for events, under_way in steps:
        keys = [str(number + at) for at in range(events)]
        number += events
        for key in keys:
            ahead.remember(key, digest_of(key.encode()))
        flights.append(ahead.seal([record(key) for key in keys], flights))
        commit(alone, expected, keys)
        while len(flights) > under_way:
            seal = flights.pop(0)
            stored.append(seal.blob)
            if seal.keep:
                del stored[: -seal.keep]
            ahead.committed(seal)
    for seal in flights:
        stored.append(seal.blob)
        if seal.keep:
            del stored[: -seal.keep]
        ahead.committed(seal)
    assert stored == expected
    assert [*ahead.blobs()] == stored
