"""The buffer between source and Redis: bounded in records and bytes, in order, and honest about both."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from bridge.delivery.batch import counts_in, records_in
from bridge.model.records import Piece, Record, Run
from bridge.session.buffer import RECORD_OVERHEAD_BYTES, Buffer


def record(number: int, size: int = 10) -> Record:
    """The n-th, with so much data."""
    return Record(str(number), "t", b"x" * size, 1.0, "message", b"", str(number), 0)


def run_of(records: list[Record]) -> Run:
    """The same by column."""
    return Run.of(
        [one.key for one in records],
        [one.type for one in records],
        [one.data for one in records],
        [one.digest for one in records],
        1.0,
    )


def keys(batch: list[Piece]) -> list[int]:
    """Which ones."""
    return [int(one.key) for one in records_in(batch)]


def make(max_events: int = 100, max_bytes: int = 1 << 30) -> Buffer:
    """A buffer; bytes do not matter unless said."""
    return Buffer(max_events=max_events, max_bytes=max_bytes)


def test_records_come_out_in_order_and_in_batches() -> None:
    """Up to so many at once."""
    buffer = make()
    buffer.put([record(1), record(2)])
    buffer.put([record(3)])
    assert keys(buffer.take(2, 1000, 10_000)) == [1, 2]
    assert keys(buffer.take(2, 1000, 10_000)) == [3]
    assert buffer.take(2, 1000, 10_000) == []


def test_a_batch_ends_before_it_is_too_large() -> None:
    """By the data, as Redis counts it."""
    buffer = make()
    buffer.put([record(1, 400), record(2, 400), record(3, 400)])
    assert keys(buffer.take(10, 1000, 10_000)) == [1, 2]
    assert keys(buffer.take(10, 1000, 10_000)) == [3]


def test_a_record_larger_than_a_batch_goes_alone() -> None:
    """It would never go otherwise."""
    buffer = make()
    buffer.put([record(1, 10), record(2, 5000), record(3, 10)])
    assert [keys(buffer.take(10, 1000, 10_000)) for _ in range(3)] == [[1], [2], [3]]


def test_it_is_full_by_number() -> None:
    """One chunk may take it past its cap: what was received is never thrown away."""
    buffer, seen = make(max_events=3), []
    for chunk in ([record(1), record(2)], [record(number) for number in range(3, 10)]):
        buffer.put(chunk)
        seen.append((len(buffer), buffer.full))
    assert seen == [(2, False), (9, True)]


def test_it_is_full_by_bytes_and_an_overhead_counts_too() -> None:
    """A thousand tiny events are not free."""
    buffer, seen = make(max_bytes=10 * RECORD_OVERHEAD_BYTES), []
    for number in range(10):
        buffer.put([record(number, 0)])
        seen.append(buffer.full)
    assert seen == [False] * 9 + [True]


async def test_whoever_waits_for_room_is_woken_when_there_is_some() -> None:
    """And not before."""
    buffer = make(max_events=3)
    buffer.put([record(number) for number in range(5)])
    waiting = asyncio.create_task(buffer.wait_for_room())
    buffer.take(2, 1000, 10_000)
    await asyncio.sleep(0)
    assert not waiting.done(), "three are left, and it is still full"
    buffer.take(1, 1000, 10_000)
    async with asyncio.timeout(10):
        await waiting


def test_whoever_takes_is_called_for_what_is_put_in_and_for_the_end() -> None:
    """And never for nothing, nor for what it put back itself."""
    buffer = make()
    called: list[int] = []
    buffer.on_filled = lambda: called.append(len(buffer))
    buffer.put([record(1)])
    buffer.put([])
    buffer.put_back(buffer.take(1, 1000, 10_000))
    assert called == [1]
    buffer.close()
    assert called == [1, 1]
    assert (keys(buffer.take(10, 1000, 10_000)), buffer.take(10, 1000, 10_000)) == ([1], [])


def test_the_last_records_and_the_end_are_told_together() -> None:
    """So that they can be committed in one step."""
    buffer = make()
    called: list[bool] = []
    buffer.on_filled = lambda: called.append(buffer.closed)
    buffer.close([record(1)])
    assert (called, keys(buffer.take(10, 1000, 10_000))) == ([True], [1])


def test_what_is_put_back_comes_first_and_in_order() -> None:
    """As if it had never been taken."""
    buffer = make()
    buffer.put([record(number) for number in range(5)])
    before = buffer.size_bytes
    buffer.put_back(buffer.take(3, 1000, 10_000))
    assert buffer.size_bytes == before
    assert keys(buffer.take(10, 1000, 10_000)) == [0, 1, 2, 3, 4]


@given(
    st.lists(
        st.one_of(
            st.lists(st.integers(0, 3000), max_size=6).map(lambda sizes: ("put", sizes)),
            st.lists(st.integers(0, 3000), min_size=1, max_size=9).map(lambda sizes: ("run", sizes)),
            st.tuples(st.just("take"), st.integers(1, 8), st.integers(1, 5000), st.integers(1, 40)),
            st.tuples(st.just("put back"), st.integers(1, 8), st.integers(1, 5000), st.integers(1, 40)),
        ),
        max_size=40,
    )
)
def test_nothing_is_lost_or_turned_around_and_the_bytes_add_up(steps: list[tuple[object, ...]]) -> None:
    """Whatever is done in whatever order, with records and with runs."""
    buffer, number = make(), 0
    expected: list[int] = []
    sizes_of: list[int] = []
    taken: list[int] = []
    for step in steps:
        match step:
            case ("put" | "run" as kind, list(sizes)):
                batch = [record(number + at, size) for at, size in enumerate(sizes)]
                expected += range(number, number + len(batch))
                sizes_of += sizes
                number += len(batch)
                buffer.put([run_of(batch)] if kind == "run" else batch)
            case ("take", int(most), int(size), int(arguments)):
                batch_taken = buffer.take(most, size, arguments)
                assert counts_in(batch_taken).events <= most
                assert bool(batch_taken) == (len(taken) < len(expected)), "at least one, where there is one"
                taken += keys(batch_taken)
            case ("put back", int(most), int(size), int(arguments)):
                buffer.put_back(buffer.take(most, size, arguments))
        left = sizes_of[len(taken) :]
        assert buffer.size_bytes == sum(size + RECORD_OVERHEAD_BYTES for size in left)
        assert len(buffer) == len(left)
    while batch_taken := buffer.take(1000, 10**9, 10_000):
        taken += keys(batch_taken)
    assert taken == expected
