"""The judge on streams of its own making: yes to all that a bridge can write, no to each way of lying."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.verify_lies import HONEST, LIES
from tests.support.verify_streams import Writer, judge


@pytest.mark.parametrize("name", HONEST)
def test_what_a_bridge_writes_has_no_fault(name: str) -> None:
    """Not one false alarm."""
    report = judge(HONEST[name])
    assert (report.faults, report.fault_counts) == ((), ())


@pytest.mark.parametrize("name", LIES)
def test_a_lie_is_found_and_called_by_its_name(name: str) -> None:
    """Each with its kind; others may follow from it."""
    kind, stream = LIES[name]
    assert kind in {fault.kind for fault in judge(stream).faults}


def test_fields_of_a_later_release_are_noted_and_a_few_are_named() -> None:
    """Of however many there are."""
    writer = Writer()
    for n in range(30):
        later: dict[str, Any] = {"colour": "red", f"of_{n}": "x"}
        writer.event(f"e{n}", **later)
    report = judge(writer.letter("e30", colour="blue").stream)
    (note,) = [one for one in report.notes if "does not know" in one]
    assert note.startswith("fields that this release does not know: colour (31), of_0 (1), ")
    assert note.count("(") == 10
    assert report.faults == ()
