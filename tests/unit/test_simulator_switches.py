"""Switches, planned drops and refusals, without a socket."""

from __future__ import annotations

import ast
import dataclasses
import inspect

import pytest

from bridge.errors import ConfigurationError
from bridge.simulator import switches as module
from bridge.simulator.faults import Countdown, DropPlan, Endpoint, Refusal, Refusals, every, once, random_intervals
from bridge.simulator.switches import Closing, CursorRule, Switches, changed_switches


def test_changes_are_checked_and_leave_the_old_value_alone() -> None:
    """Values may be JSON or the enumerations themselves."""
    old = Switches()
    new = changed_switches(old, {"ids": False, "cursor": "tail", "idle_closing": Closing.CUT, "event_name": None})
    assert (new.ids, new.cursor, new.idle_closing, new.event_name) == (False, CursorRule.TAIL, Closing.CUT, None)
    assert old == Switches()


def test_text_values_as_on_a_command_line() -> None:
    """`from_text` reads numbers, truth values and null from text."""
    texts = {"ids": "false", "tail_events": "3", "heartbeat_interval_seconds": "0.5", "retry_ms": "null"}
    new = changed_switches(Switches(retry_ms=1), texts, from_text=True)
    assert (new.ids, new.tail_events, new.heartbeat_interval_seconds, new.retry_ms) == (False, 3, 0.5, None)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"heartbeat_seconds": 1}, "no switch named 'heartbeat_seconds'"),
        ({"idz": True}, "did you mean 'ids'"),
        ({"ids": "false"}, "switch 'ids'"),
        ({"cursor": "forget"}, "switch 'cursor'"),
        ({"unknown_cursor_status": 99}, "switch 'unknown_cursor_status'"),
        ({"event_delay_seconds": -1}, "switch 'event_delay_seconds'"),
        ({"event_name": object()}, "switch 'event_name'"),
    ],
)
def test_wrong_switches_are_refused(changes: dict[str, object], words: str) -> None:
    """An unknown name, a wrong type and a value out of range are told with the switch's name."""
    with pytest.raises(ConfigurationError, match=words):
        changed_switches(Switches(), changes)


def test_every_switch_has_a_docstring() -> None:
    """A switch without a word of explanation can't be used."""
    (tree,) = (
        node
        for node in ast.parse(inspect.getsource(module)).body
        if isinstance(node, ast.ClassDef) and node.name == "Switches"
    )
    documented = {
        field.target.id
        for field, text in zip(tree.body, tree.body[1:], strict=False)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(text, ast.Expr)
    }
    assert documented == {field.name for field in dataclasses.fields(Switches)}


def test_a_drop_plan_counts_down_once_or_again_and_again() -> None:
    """`once` is spent after a drop, `every` begins anew."""

    def lefts(countdown: Countdown) -> list[int | None]:
        plan = DropPlan(countdown, Closing.CUT, mid_frame=False)
        seen = [plan.left]
        plan.sent(3)
        seen.append(plan.left)
        plan.dropped()
        seen.append(plan.left)
        plan.sent(2)
        return [*seen, plan.left]

    assert lefts(once(3)) == [3, 0, None, None]
    assert lefts(every(3)) == [3, 0, 3, 1]


def test_random_intervals_repeat_with_their_seed_and_keep_their_mean() -> None:
    """Drops at random are the same for the same seed, on average as far apart as asked, never at distance 0."""
    first, second = random_intervals(100, 7), random_intervals(100, 7)
    distances = [first() or 0 for _ in range(5000)]
    assert distances == [second() for _ in range(5000)]
    assert 90 < sum(distances) / len(distances) < 110
    assert min(distances) >= 1


def test_refusals_are_used_up_in_order_and_per_endpoint() -> None:
    """A refusal of one endpoint does not hold up another's."""
    refusals = Refusals()
    first, second = Refusal(status=503), Refusal(status=429, endpoint=Endpoint.METADATA)
    refusals.add(first, 2)
    refusals.add(second, 1)
    assert refusals.take(Endpoint.METADATA) is second
    assert refusals.take(Endpoint.METADATA) is None
    assert refusals.take(Endpoint.CONSUMER) is first
    refusals.clear()
    assert refusals.take(Endpoint.CONSUMER) is None
