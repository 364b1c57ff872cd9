"""Switches, planned drops and refusals, without a socket."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import repeat

import pytest

from bridge.errors import ConfigurationError
from bridge.lab.simulator.lens.plans import DropPlan, Endpoint, Refusal, Refusals, random_distances
from bridge.lab.simulator.lens.switches import Closing, CursorRule, Switches, changed_switches


def test_changes_are_checked_and_leave_the_old_value_alone() -> None:
    """Values may be JSON or the enumerations themselves."""
    old = Switches()
    new = changed_switches(old, {"ids": False, "cursor": "tail", "idle_closing": Closing.CUT, "event_name": None})
    assert (new.ids, new.cursor, new.idle_closing, new.event_name) == (False, CursorRule.TAIL, Closing.CUT, None)
    assert old == Switches()


def test_text_values_as_on_a_command_line() -> None:
    """`from_text` reads numbers, truth values and none from text."""
    texts = {"ids": "false", "tail_events": "3", "heartbeat_interval_seconds": "0.5", "retry_ms": "none"}
    new = changed_switches(Switches(retry_ms=1), texts, from_text=True)
    assert (new.ids, new.tail_events, new.heartbeat_interval_seconds, new.retry_ms) == (False, 3, 0.5, None)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"heartbeat_seconds": 1}, "no switch named 'heartbeat_seconds'"),
        ({"idz": True}, "did you mean 'ids'"),
        ({"ids": "false"}, "switch 'ids' takes true or false, not 'false'"),
        ({"cursor": "forget"}, "switch 'cursor' takes honour, replay, tail or live, not 'forget'"),
        ({"unknown_cursor_status": 99}, "'unknown_cursor_status' takes a whole number from 200 to 599, not 99"),
        ({"event_delay_seconds": -1}, "switch 'event_delay_seconds' takes a number from 0 to 86400, not -1"),
        ({"retry_ms": 0.5}, "switch 'retry_ms' takes a whole number of 0 or more, or none, not 0.5"),
        ({"event_name": object()}, "switch 'event_name' takes text, or none"),
    ],
)
def test_wrong_switches_are_refused(changes: dict[str, object], words: str) -> None:
    """An unknown name, a wrong type and a value out of range are told with what would be right."""
    with pytest.raises(ConfigurationError, match=words):
        changed_switches(Switches(), changes)


def test_a_drop_plan_counts_down_once_or_again_and_again() -> None:
    """With one distance it is spent after a drop, with more it begins anew."""

    def lefts(distances: Iterator[int]) -> list[int | None]:
        plan = DropPlan(distances, Closing.CUT, mid_frame=False)
        seen = [plan.left]
        plan.sent(3)
        seen.append(plan.left)
        plan.dropped()
        seen.append(plan.left)
        plan.sent(2)
        return [*seen, plan.left]

    assert lefts(iter((3,))) == [3, 0, None, None]
    assert lefts(repeat(3)) == [3, 0, 3, 1]


def test_random_distances_repeat_with_their_seed_and_keep_their_mean() -> None:
    """Drops at random are the same for the same seed, on average as far apart as asked, never at distance 0."""
    first, second = random_distances(100, 7), random_distances(100, 7)
    distances = [next(first) for _ in range(5000)]
    assert distances == [next(second) for _ in range(5000)]
    assert 90 < sum(distances) / len(distances) < 110
    assert min(distances) >= 1


def test_refusals_are_used_up_in_order_and_per_endpoint() -> None:
    """A refusal of one endpoint does not hold up another's."""
    refusals = Refusals()
    first, second = Refusal(status=503, requests=2), Refusal(status=429, endpoint=Endpoint.METADATA)
    refusals.add(first)
    refusals.add(second)
    assert refusals.take(Endpoint.METADATA) is second
    assert refusals.take(Endpoint.METADATA) is None
    assert refusals.take(Endpoint.CONSUMER) is first
    refusals.clear()
    assert refusals.take(Endpoint.CONSUMER) is None
