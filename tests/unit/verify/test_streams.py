"""The judge on streams of its own making: yes to all that a bridge can write, no to each way of lying."""

from __future__ import annotations

import pytest

from tests.support.verify_lies import HONEST, LIES
from tests.support.verify_streams import judge


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
