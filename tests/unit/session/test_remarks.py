"""What comes with every event is not said with every event."""

from __future__ import annotations

import time

import pytest
from structlog.testing import capture_logs

from bridge.session.remarks import Remarks


def test_what_goes_on_is_said_at_once_then_once_a_minute_with_what_came_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each thing for itself; what did not happen is not said."""
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    said = Remarks()
    with capture_logs() as lines:
        for second in range(150):
            now = 1000.0 + second
            said.note("secret.masked", 2)
            said.note("id.reused", 1 if second == 70 else 0)
    assert [(line["event"], line["events"]) for line in lines] == [
        ("secret.masked", 2),
        ("secret.masked", 120),
        ("id.reused", 1),
        ("secret.masked", 120),
    ]
