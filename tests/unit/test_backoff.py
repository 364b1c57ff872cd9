"""Waits: how long at most, how they grow, and what a bucket lets through."""

from __future__ import annotations

import dataclasses
import math
import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.backoff import Backoff, Pace

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


def test_the_life_of_the_attempt_counts_towards_the_wait_after_it() -> None:
    """But for a part of the first wait, since those that were closed together must not come back together."""
    backoff = Backoff(initial_seconds=0.5, max_seconds=30.0, attempt=9)
    assert backoff.delay(lambda: 1.0, spent_seconds=10.0) == 20.0
    assert backoff.delay(lambda: 1.0, floor_seconds=3.0, spent_seconds=60.0) == 3.5
    assert backoff.delay(lambda: 0.1, spent_seconds=60.0) == 0.05
    assert Backoff(initial_seconds=9.0, max_seconds=1.0, attempt=9).delay(lambda: 1.0, spent_seconds=60.0) == 1.0


def spread(pace: Pace, calls: int, now: float) -> list[float]:
    """When so many connections may be made one after the other, in seconds from ``now``."""
    at, found = now, []
    for _ in range(calls):
        at += pace.wait_seconds(at)
        pace.take(at)
        found.append(round(at - now, 6))
    return found


def test_a_pace_begins_with_a_hundred_times_the_steady_one_and_a_second_of_it_at_once() -> None:
    """Nobody knows yet what the server bears."""
    assert spread(Pace(steady_per_second=0.04), 6, 100.0) == [0.0, 0.0, 0.0, 0.0, 0.25, 0.5]
    assert spread(Pace(steady_per_second=0.001), 3, 0.0) == [0.0, 10.0, 20.0]


def test_a_pace_fills_with_time_up_to_one_second_of_it() -> None:
    """An hour of rest gives no more."""
    pace = Pace(steady_per_second=0.02)
    assert spread(pace, 3, 10.0) == [0.0, 0.0, 0.5]
    assert spread(pace, 3, 3610.0) == [0.0, 0.0, 0.5]


def test_a_complaint_slows_to_the_steady_pace_and_the_next_ones_below_it() -> None:
    """To a tenth of it, and not further; and nothing goes at once."""
    pace, found = Pace(steady_per_second=10.0), []
    for at in range(0, 16, 2):
        pace.complained(float(at))
        found.append(pace.per_second(float(at)))
        assert pace.wait_seconds(float(at)) == pytest.approx(1 / found[-1])
    assert found[0] == 10.0
    assert all(later < earlier for earlier, later in pairwise(found[:4]))
    assert min(found) >= 1.0
    assert found[-1] < 2.0


def test_complaints_of_one_moment_count_once() -> None:
    """They are about connections that were under way together."""
    pace = Pace(steady_per_second=10.0)
    for at in (5.0, 5.1, 5.9):
        pace.complained(at)
    assert pace.per_second(5.0) == 10.0
    pace.complained(6.0)
    assert pace.per_second(6.0) < 6.0


def test_a_slowed_pace_grows_slowly_to_ten_times_the_steady_one_and_no_further() -> None:
    """By the steady pace in half a minute."""
    pace = Pace(steady_per_second=10.0)
    pace.complained(0.0)
    assert [pace.per_second(at) for at in (0.0, 30.0, 60.0, 270.0, 1e9)] == [10.0, 20.0, 30.0, 100.0, 100.0]


def test_a_clock_below_zero_is_as_good_as_any() -> None:
    """A monotonic clock may start anywhere."""
    assert Pace(steady_per_second=1.0).wait_seconds(-1e9) == 0.0


@given(st.floats(0.01, 1e4), st.lists(st.tuples(st.floats(0, 100), st.booleans()), min_size=1, max_size=60))
def test_no_connection_waits_longer_than_the_slowest_pace_allows(
    steady: float, calls: list[tuple[float, bool]]
) -> None:
    """Whenever they come, and whatever the server says."""
    pace, now, complained = Pace(steady_per_second=steady), 0.0, False
    for pause, complains in calls:
        now += pause
        complained |= complains
        if complains:
            pace.complained(now)
        wait, at_once = pace.wait_seconds(now), pace.at_once(now)
        assert 0.0 <= wait <= 10 / steady * 1.01 + 1e-3
        assert (at_once == 0) == (wait > 1e-9)
        now += wait
        pace.take(now)
        assert steady / 10 <= pace.per_second(now) <= steady * (10 if complained else 100)
