"""Time that passes at once: where nobody has anything to do, an event loop is told that its next timer is due.

For code without I/O of its own. What comes in what order stays as it was, and a wait of seconds costs none.
"""

from __future__ import annotations

import selectors
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

__all__ = ["hurried"]

Ready = list[tuple[selectors.SelectorKey, int]]


@contextmanager
def hurried() -> Iterator[None]:
    """Within it `time.monotonic` and each event loop's clock run ahead of the real ones by what was not waited."""
    real_monotonic, real_select = time.monotonic, selectors.DefaultSelector.select
    ahead = 0.0

    def monotonic() -> float:
        return real_monotonic() + ahead

    def select(selector: Any, timeout: float | None = None) -> Ready:
        nonlocal ahead
        if timeout is None or timeout <= 0:
            return real_select(selector, timeout)
        ready = real_select(selector, 0)
        if not ready:
            ahead += timeout
        return ready

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "monotonic", monotonic)
        patch.setattr(selectors.DefaultSelector, "select", select)
        yield
