"""How the page says states, times and spans, and which section of the runbook goes with what. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from html import escape

from bridge.model.labels import SessionState

__all__ = [
    *("ORDER", "RUNBOOK", "UNKNOWN", "WAKES"),
    *("chip", "clock", "moment", "number", "span", "tone_of", "what_to_do", "words_of"),
]

UNKNOWN = "—"

RUNBOOK = {
    SessionState.FAILED: "lensbridgesessionfailed",
    SessionState.GONE: "lensbridgesessiongone",
    SessionState.UNAUTHORIZED: "lensbridgeunauthorized",
    SessionState.CURSOR_LOST: "lensbridgecursorlost",
    SessionState.BACKPRESSURED: "lensbridgecommiterrors",
    SessionState.WAITING: "lensbridgesourcesilent",
    SessionState.CONNECTING: "lensbridgesourcesilent",
}
"""The section of helm/RUNBOOK.md for each state that is a trouble, the worst first."""

WAKES = (SessionState.FAILED, SessionState.GONE, SessionState.UNAUTHORIZED, SessionState.CURSOR_LOST)
ORDER = (*RUNBOOK, SessionState.STREAMING, SessionState.PAUSED, SessionState.STANDBY, SessionState.ENDED)
"""The worst first."""


def tone_of(state: SessionState) -> str:
    """``bad``, ``warn``, ``good`` or ``calm``: a class of the style sheet."""
    if state in WAKES:
        return "bad"
    return "warn" if state in RUNBOOK else "good" if state is SessionState.STREAMING else "calm"


def words_of(state: SessionState) -> str:
    """A state as it is shown."""
    return state.value.replace("_", " ")


def chip(tone: str, text: str) -> str:
    """An item of a list of short statements. ``text`` is escaped."""
    return f'<li><span class="{tone}">{escape(text)}</span></li>'


def what_to_do(section: str | None) -> str:
    """As text: the alerts link to wherever the runbook is served, which the worker does not know."""
    return f"<p>what to do: <code>helm/RUNBOOK.md#{section}</code></p>" if section else ""


def moment(at: float) -> str:
    """Unix seconds as ISO 8601."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")


def clock(at: float) -> str:
    """The time of day of Unix seconds."""
    return datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S UTC")


def span(seconds: float) -> str:
    """A duration in its largest unit, e.g. ``5 min``."""
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


def number(count: float, one: str, many: str = "") -> str:
    """A count and its noun, e.g. ``1 session``, ``1,200 sessions``."""
    return f"{count:,} {one}" if count == 1 else f"{count:,} {many or one + 's'}"
