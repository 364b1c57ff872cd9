"""The worker for eyes: one page that says first whether anybody is needed, and then for what."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape

from bridge.model.labels import SessionState
from bridge.telemetry.figures import SessionFigures
from bridge.telemetry.page_assets import REFRESH_SECONDS, SCRIPT, STYLE
from bridge.telemetry.status import WorkerStatus

__all__ = ["RUNBOOK", "Rates", "render_page"]

_ROWS = 500  # a browser should still be able to show them; /status has them all
_RECENT_SECONDS = 600.0  # an error that is over is shown for so long
_ONE_TROUBLE_SECONDS = 60.0  # an error so shortly before a trouble began is the reason for it
_STALE_SECONDS = 60.0  # a rate over a longer time than this is none of the present
_UNKNOWN = "—"

RUNBOOK = {
    SessionState.FAILED: "lensbridgesessionfailed",
    SessionState.GONE: "lensbridgesessiongone",
    SessionState.UNAUTHORIZED: "lensbridgeunauthorized",
    SessionState.CURSOR_LOST: "lensbridgecursorlost",
    SessionState.BACKPRESSURED: "lensbridgebackpressure",
    SessionState.WAITING: "lensbridgesourcesilent",
    SessionState.CONNECTING: "lensbridgesourcesilent",
}
"""The section of helm/RUNBOOK.md for each state that is a trouble, the worst first."""

_WAKES = (SessionState.FAILED, SessionState.GONE, SessionState.UNAUTHORIZED, SessionState.CURSOR_LOST)
_READS = (SessionState.STREAMING, SessionState.BACKPRESSURED)
_ORDER = [*RUNBOOK, SessionState.STREAMING, SessionState.PAUSED, SessionState.STANDBY, SessionState.ENDED]


@dataclass(slots=True)
class _Look:
    at: float  # monotonic seconds
    published: dict[str, int]


class Rates:
    """Entries per second of each session that is being read, between two looks at the page."""

    def __init__(self) -> None:
        self._last: _Look | None = None
        self._rates: dict[str, float] = {}

    def at(self, now: float, status: WorkerStatus) -> Mapping[str, float]:
        """The rates at ``now`` (monotonic seconds). There are none yet after a while in which nobody looked."""
        last = self._last
        if last and now - last.at < 1.0:  # two people may look at the same page
            return self._rates
        published = {name: one.events_published for name, one in status.sessions.items()}
        self._last, self._rates = _Look(now, published), {}
        if last and now - last.at <= _STALE_SECONDS:
            self._rates = {
                name: (published[name] - before) / (now - last.at)
                for name, before in last.published.items()
                if name in published and status.sessions[name].state in _READS
            }
        return self._rates


def render_page(status: WorkerStatus, rates: Mapping[str, float], now: float) -> str:
    """The whole page. ``now`` is Unix seconds; what comes from outside is escaped."""
    sessions = sorted(status.sessions.values(), key=lambda one: (_ORDER.index(one.state), one.session.name))
    rows = "\n".join(_rows(one, rates.get(one.session.name), now) for one in sessions[:_ROWS])
    if len(sessions) > _ROWS:
        rows += f'\n<tbody><tr><td colspan="8">{len(sessions) - _ROWS:,} more in /status</td></tr></tbody>'
    elif not sessions:
        rows = '<tbody><tr><td colspan="8">No session is configured. This worker stands by.</td></tr></tbody>'
    tone, verdict = _verdict(status, sessions)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<noscript><meta http-equiv="refresh" content="{REFRESH_SECONDS}"></noscript>
<title>{escape(verdict)} · Lens Bridge</title>
<style>{STYLE}</style>
<script>{SCRIPT}</script>
</head>
<body>
<h1>Lens Bridge</h1>
<h2 class="{tone}">{escape(verdict)}</h2>
<p>{escape(status.worker_id)} · version {escape(status.version)} · up {_span(now - status.started_at)}
· at {_clock(now)} · <a id="status" href="status">/status</a> · <a id="metrics" href="metrics">/metrics</a></p>
{_what_to_do(_worker_section(status))}
<p id="old" role="alert">This worker no longer answers: what stands here is old.</p>
<main>
<ul>{"".join(_chips(status, sessions))}</ul>
<table>
<thead><tr><th>Session</th><th>State</th><th>Since</th><th class="number">Entries</th><th class="number">Per second</th>
<th>Last event</th><th>Cursor</th><th>Owner</th></tr></thead>
{rows}
</table>
</main>
</body>
</html>
"""


def _tone(state: SessionState) -> str:
    if state in _WAKES:
        return "bad"
    return "warn" if state in RUNBOOK else "good" if state is SessionState.STREAMING else "calm"


def _verdict(status: WorkerStatus, sessions: Sequence[SessionFigures]) -> tuple[str, str]:
    """One sentence, and its tone."""
    if not status.ready:
        return "bad", f"Not ready: {status.not_ready}"
    tones = Counter(_tone(one.state) for one in sessions)
    total = f"{len(sessions):,}"
    if tones["bad"]:
        held_up = f", {tones['warn']:,} held up" if tones["warn"] else ""
        return "bad", f"{tones['bad']:,} of {total} sessions need a person{held_up}"
    if tones["warn"]:
        return "warn", f"{tones['warn']:,} of {total} sessions held up"
    if tones["good"]:
        return "good", f"{tones['good']:,} of {total} sessions stream here"
    return "calm", "No session is read here"


def _chips(status: WorkerStatus, sessions: Sequence[SessionFigures]) -> Iterator[str]:
    if not status.redis_reachable:
        yield _chip("bad", "Redis not reachable")  # the verdict says why
    elif status.redis_error:
        yield _chip("bad", f"Redis: {status.redis_error}")
    else:
        yield _chip("calm", "Redis reachable")  # green is for what flows
    counts = Counter(one.state for one in sessions)
    for state in _ORDER:
        if counts[state]:
            yield _chip(_tone(state), f"{counts[state]:,} {_words(state)}")


def _chip(tone: str, text: str) -> str:
    return f'<li><span class="{tone}">{escape(text)}</span></li>'


def _rows(one: SessionFigures, rate: float | None, now: float) -> str:
    known = one.state is not SessionState.STANDBY  # of a session that another worker reads only that one knows
    cells = (
        f'<td class="name"><b>{escape(one.session.name)}</b><small>{escape(one.stream_key)}</small></td>',
        f'<td class="state"><span class="{_tone(one.state)}">{_words(one.state)}</span></td>',
        _cell("Since", _span(now - one.since), "time", _moment(one.since)),
        _cell("Entries", f"{one.seq:,}" if known else _UNKNOWN, "number"),
        _cell("Per second", _UNKNOWN if rate is None else f"{rate:,.1f}", "number"),
        _age("Last event", one.last_event_at, now),
        _cell("Cursor", one.cursor or "", "id", code=True),
        _cell("Owner", "this worker" if one.lease_held else one.owner or "", "id"),
    )
    return f'<tbody class="{_tone(one.state)}"><tr>{"".join(cells)}</tr>{_trouble(one, now)}</tbody>'


def _cell(label: str, text: str, kind: str, title: str = "", code: bool = False) -> str:
    if not text:
        return "<td></td>"
    shown = f"<code>{escape(text)}</code>" if code else escape(text)
    hint = f' title="{title}"' if title else ""
    return f'<td class="{kind}" data-label="{label}"{hint}>{shown}</td>'


def _age(label: str, at: float, now: float) -> str:
    return _cell(label, f"{_span(now - at)} ago", "time", _moment(at)) if at else "<td></td>"


def _trouble(one: SessionFigures, now: float) -> str:
    """What went wrong and where to read on, in a line of its own below the session's."""
    age = now - one.last_error_at
    section = RUNBOOK.get(one.state)
    present = section is not None and one.last_error_at >= one.since - _ONE_TROUBLE_SECONDS
    lines = []
    if one.last_error and present:
        lines.append(f"{escape(one.last_error)} <small>{_span(age)} ago</small>")
    elif one.last_error and age <= _RECENT_SECONDS:
        lines.append(f'<span class="past">{_span(age)} ago, and over: {escape(one.last_error)}</span>')
    if section and (present or one.state in _WAKES):
        lines.append(_what_to_do(section))
    return f'<tr><td colspan="8">{"".join(lines)}</td></tr>' if lines else ""


def _worker_section(status: WorkerStatus) -> str | None:
    if status.ready or status.stopping:
        return None
    return "lensbridgenotready" if status.redis_reachable else "lensbridgeredisunreachable"


def _what_to_do(section: str | None) -> str:
    # As text: the alerts link to wherever the runbook is served, which the worker does not know.
    return f"<p>what to do: <code>helm/RUNBOOK.md#{section}</code></p>" if section else ""


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")


def _clock(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S UTC")


def _span(seconds: float) -> str:
    """A duration in its largest unit, e.g. ``5 min``."""
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


def _words(state: SessionState) -> str:
    return state.value.replace("_", " ")
