"""The fleet: which workers live, and how many of the sessions each of them reads."""

from __future__ import annotations

from html import escape

from bridge.telemetry.page.words import number
from bridge.telemetry.status import Survey

__all__ = ["fleet_of"]

_SHOWN = 50


def fleet_of(survey: Survey) -> str:
    """A list of workers, this one first. Those that are named by a lease and not heard come next: they have died."""
    found = sorted(survey.fleet, key=lambda one: (not one.own, one.live, one.owner))
    items = []
    for one in found[:_SHOWN]:
        tone = "warn" if not one.live else "good" if one.sessions else "calm"
        note = "this worker" if one.own else "" if one.live else "not heard any more"
        reads = f"reads {number(one.sessions, 'session')}" if one.sessions else "stands by"
        detail = ", ".join(filter(None, (note, reads)))
        items.append(f'<li><span class="{tone}">{escape(one.owner)}</span> <small>{detail}</small></li>')
    if len(found) > _SHOWN:
        items.append(f"<li>{number(len(found) - _SHOWN, 'more worker')}</li>")
    unread = survey.unread
    none = (
        f'<li><span class="calm">nobody</span> <small>reads {number(unread, "session")}</small></li>' if unread else ""
    )
    return f'<h3>Workers</h3>\n<ul id="workers">{"".join(items)}{none}</ul>\n'
