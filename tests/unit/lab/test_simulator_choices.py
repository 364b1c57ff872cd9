"""What the simulator says of its switches and faults, from their declarations alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from bridge.errors import ConfigurationError
from bridge.lab.simulator.faults import FAULTS
from bridge.lab.simulator.lens.choices import Choice, Count, Explained, Rate, choices, made
from bridge.lab.simulator.lens.switches import Switches, changed_switches


class Colour(Explained):
    """An enumeration of the test."""

    RED = "red", "as wine"
    BLUE = "blue", "as the sea"


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A dataclass of the test."""

    pace: Rate
    """How fast,
    in words of two lines."""
    colour: Colour | None = None
    """Which one."""
    many: Count = 2
    """How many."""
    words: list[str] | None = None
    """What else."""


def test_a_choice_is_what_its_declaration_says() -> None:
    """Name, default, meaning and values come from the field, the docstring below it and the type."""
    pace, colour, many, words = choices(Order)
    assert (pace.default, pace.takes, pace.means) == (
        None,
        "a number above 0, 1000000 at most",
        "How fast, in words of two lines.",
    )
    assert colour == Choice(
        name="colour",
        means="Which one.",
        takes="red or blue, or none",
        default="none",
        values={"red": "as wine", "blue": "as the sea"},
    )
    assert (many.default, many.takes) == ("2", "a whole number of 0 or more")
    assert words.takes == "a list, or none"
    assert colour.as_text().splitlines() == [
        "colour=none",
        "    Which one.",
        "      red   as wine",
        "      blue  as the sea",
    ]
    assert many.as_json() == {
        "name": "many",
        "means": "How many.",
        "takes": "a whole number of 0 or more",
        "default": "2",
    }


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, "field 'pace' is missing; it takes a number above 0, 1000000 at most"),
        ({"pace": 0}, "field 'pace' takes a number above 0, 1000000 at most, not 0"),
        ({"pace": 1, "colour": "green"}, "field 'colour' takes red or blue, or none, not 'green'"),
        ({"pace": 1, "size": 1}, "no field named 'size'; there are pace, colour, many, words"),
        ({"pace": 1, "colours": 1}, "no field named 'colours'; did you mean 'colour'?"),
        ({"pace": 1, "words": [1]}, "field 'words' takes a list, or none, not [1]"),
    ],
)
def test_a_mistake_is_answered_with_what_would_be_right(given: dict[str, Any], told: str) -> None:
    """The message holds all that it takes to do it right."""
    with pytest.raises(ConfigurationError) as refused:
        made(Order, given, noun="field")
    assert str(refused.value) == told


def test_a_long_wrong_value_is_cut_in_the_message() -> None:
    """Who sends a megabyte need not read it again."""
    with pytest.raises(ConfigurationError) as refused:
        made(Order, {"pace": "x" * 1_000_000}, noun="field")
    assert len(str(refused.value)) < 200


def test_a_value_may_be_the_member_itself() -> None:
    """What tests write in Python and what JSON says are the same."""
    assert made(Order, {"pace": 1, "colour": Colour.RED}, noun="field") == made(
        Order, {"pace": 1.0, "colour": "red"}, noun="field"
    )


@pytest.mark.parametrize("kind", [Switches, *FAULTS.values()])
def test_every_switch_and_every_field_of_a_fault_is_explained(kind: type) -> None:
    """A choice without a word on what it means, or on what one of its values means, can't be used."""
    assert kind.__doc__
    for choice in choices(kind):
        assert choice.means.endswith("."), choice
        assert choice.takes
        assert all(choice.values.values()), choice


def test_the_defaults_as_written_are_the_defaults() -> None:
    """What is listed can be given."""
    listed = {one.name: one.default for one in choices(Switches)}
    assert changed_switches(Switches(ids=False, retry_ms=3), listed, from_text=True) == Switches()
