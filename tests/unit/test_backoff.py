"""Waits: how long at most, how they grow, and what a bucket lets through."""

from __future__ import annotations

import dataclasses
import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.backoff import Backoff, TokenBucket

ALMOST_ONE = math.nextafter(1.0, 0.0)


def _highest(backoff: Backoff) -> float:
    return backoff.delay(lambda: 1.0)


def test_the_ceiling_doubles_up_to_the_maximum() -> None:
    """Each failure gives a value of its own."""
    backoff = Backoff(initial_seconds=0.5, max_seconds=5.0)
    ceilings = []
    for _ in range(6):
        ceilings.append(_highest(backoff))
        backoff = backoff.next()
    assert ceilings == [0.5, 1.0, 2.0, 4.0, 5.0, 5.0]


def test_a_wait_is_random_from_nothing_to_the_ceiling() -> None:
    """Full jitter: also very short waits."""
    backoff = Backoff(initial_seconds=1.0, max_seconds=60.0, attempt=3)
    assert [backoff.delay(lambda part=part: part) for part in (0.0, 0.25, 0.5)] == [0.0, 2.0, 4.0]  # type: ignore[misc]


def test_what_the_server_asks_for_is_a_floor_with_the_jitter_on_top() -> None:
    """Clients that were all told 3 s do not come back at the same moment."""
    backoff = Backoff(initial_seconds=1.0, max_seconds=60.0, attempt=1)
    assert backoff.delay(lambda: 0.0, floor_seconds=3.0) == 3.0
    assert backoff.delay(lambda: 0.5, floor_seconds=3.0) == 4.0


def test_a_reset_starts_from_the_beginning_and_leaves_the_old_value_alone() -> None:
    """Values, not state."""
    start = Backoff(initial_seconds=0.5, max_seconds=5.0)
    later = start.next().next()
    assert later.attempt == 2
    assert later.reset() == start
    assert later.attempt == 2


def test_a_backoff_is_frozen() -> None:
    """Nobody can change another's wait."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        Backoff(initial_seconds=1.0, max_seconds=2.0).attempt = 3  # type: ignore[misc]


@settings(deadline=None)
@given(
    st.floats(1e-9, 1e9), st.floats(1e-9, 1e9), st.integers(0, 10**30), st.floats(0, ALMOST_ONE), st.floats(0, 86_400)
)
def test_no_number_of_failures_overflows(initial: float, most: float, attempt: int, part: float, floor: float) -> None:
    """Weeks of failures are an ordinary case."""
    backoff = Backoff(initial_seconds=initial, max_seconds=most, attempt=attempt)
    assert floor <= backoff.delay(lambda: part, floor) <= floor + most
    assert backoff.next().attempt == attempt + 1


def test_a_random_wait_uses_the_randomness_that_is_passed_in() -> None:
    """A seed repeats a run."""
    backoff = Backoff(initial_seconds=1.0, max_seconds=60.0, attempt=4)
    assert backoff.delay(random.Random(7).random) == backoff.delay(random.Random(7).random)


def test_a_bucket_lets_a_burst_through_and_then_keeps_the_rate() -> None:
    """Waits are handed out in the order of the calls."""
    bucket = TokenBucket(rate_per_second=4.0, burst=3)
    assert [bucket.reserve(100.0) for _ in range(6)] == [0.0, 0.0, 0.0, 0.25, 0.5, 0.75]


def test_a_bucket_fills_with_time_up_to_the_burst() -> None:
    """An hour of rest gives no more than one burst."""
    bucket = TokenBucket(rate_per_second=4.0, burst=2)
    assert [bucket.reserve(10.0) for _ in range(3)] == [0.0, 0.0, 0.25]
    assert bucket.reserve(10.5) == 0.0
    assert [bucket.reserve(3610.0) for _ in range(3)] == [0.0, 0.0, 0.25]


def test_a_bucket_without_a_burst_spaces_every_call() -> None:
    """The strictest form."""
    bucket = TokenBucket(rate_per_second=2.0)
    assert [bucket.reserve(0.0) for _ in range(3)] == [0.0, 0.5, 1.0]
    assert bucket.reserve(1.25) == 0.25


def test_a_clock_below_zero_is_as_good_as_any() -> None:
    """A monotonic clock may start anywhere."""
    assert TokenBucket(rate_per_second=1.0).reserve(-1e9) == 0.0


@settings(deadline=None)
@given(st.floats(0.01, 1e4), st.integers(1, 50), st.lists(st.floats(0, 100), min_size=1, max_size=60))
def test_no_window_holds_more_than_a_burst_and_the_rate(rate: float, burst: int, pauses: list[float]) -> None:
    """Whenever the calls come, tokens are used no faster than the bucket fills."""
    bucket, now, used = TokenBucket(rate_per_second=rate, burst=burst), 0.0, []
    for pause in pauses:
        now += pause
        used.append(now + bucket.reserve(now))
    assert used == sorted(used)
    for count, start in enumerate(used):
        within = used[count : count + burst + 1]
        if len(within) > burst:
            assert within[-1] - start >= 1 / rate - 1e-6
