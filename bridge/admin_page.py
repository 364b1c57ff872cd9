"""The worker for eyes: one page without scripts, which the browser loads again every two seconds."""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from html import escape

from bridge.events import SessionState
from bridge.status import SessionStatus, WorkerStatus

__all__ = ["CONTENT_SECURITY_POLICY", "Rates", "render_page"]

_REFRESH_SECONDS = 2
_ROWS = 500  # a browser should still be able to show them; /status has them all

_TROUBLE = (
    SessionState.FAILED,
    SessionState.UNAUTHORIZED,
    SessionState.CURSOR_LOST,
    SessionState.BACKPRESSURED,
    SessionState.WAITING,
)
_TONES = {
    SessionState.STREAMING: "good",
    SessionState.CONNECTING: "warn",
    SessionState.WAITING: "warn",
    SessionState.BACKPRESSURED: "warn",
    SessionState.UNAUTHORIZED: "bad",
    SessionState.CURSOR_LOST: "bad",
    SessionState.FAILED: "bad",
}

_STYLE = """
:root { color-scheme: light dark; --text: #1b2330; --soft: #667085; --page: #f5f6f8; --card: #fff; --line: #e3e6eb;
  --good: #12864a; --warn: #b26a00; --bad: #c9252d; --calm: #667085; }
@media (prefers-color-scheme: dark) { :root { --text: #e6e9ef; --soft: #98a2b3; --page: #0f1319; --card: #171c24;
  --line: #2a313c; --good: #3ecf83; --warn: #f0ab3c; --bad: #ff6b6b; --calm: #98a2b3; } }
body { margin: 0; padding: 2rem clamp(1rem, 4vw, 3rem); background: var(--page); color: var(--text);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { margin: 0; font-size: 1.4rem; letter-spacing: -.01em; }
p { margin: .25rem 0 1.25rem; color: var(--soft); }
ul { display: flex; flex-wrap: wrap; gap: .5rem; margin: 0 0 1.25rem; padding: 0; list-style: none; }
li { padding: .2rem .8rem; border: 1px solid var(--line); border-radius: 2rem; background: var(--card); }
main { overflow-x: auto; border: 1px solid var(--line); border-radius: .75rem; background: var(--card); }
table { width: 100%; border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .55rem .9rem; text-align: left; white-space: nowrap; border-bottom: 1px solid var(--line); }
tbody tr:last-child td { border-bottom: 0; }
th { color: var(--soft); font-size: .75rem; font-weight: 600; letter-spacing: .05em; text-transform: uppercase; }
td small { display: block; color: var(--soft); }
td.number { text-align: right; } th.number { text-align: right; }
td.text { max-width: 14rem; overflow: hidden; text-overflow: ellipsis; }
tr:has(+ .error) td { border-bottom: 0; padding-bottom: .1rem; }
.error td { padding-top: 0; white-space: normal; overflow-wrap: anywhere; } .past td { color: var(--soft); }
code { font: .85em ui-monospace, monospace; }
.good, .warn, .bad, .calm { font-weight: 600; } .good::before, .warn::before, .bad::before, .calm::before {
  content: ""; display: inline-block; width: .55em; height: .55em; margin-right: .45em; border-radius: 50%;
  background: currentColor; }
.good { color: var(--good); } .warn { color: var(--warn); } .bad { color: var(--bad); } .calm { color: var(--calm); }
"""
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
CONTENT_SECURITY_POLICY = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class Rates:
    """Entries per second of each session, between two looks at the page."""

    def __init__(self) -> None:
        self._taken_at = 0.0
        self._seqs: dict[str, int] = {}
        self._rates: dict[str, float] = {}

    def at(self, now: float, status: WorkerStatus) -> Mapping[str, float]:
        """The rates at ``now`` (monotonic seconds). A session seen for the first time has none yet."""
        elapsed = now - self._taken_at
        if elapsed >= 1.0:  # two people may look at the same page
            seqs = {name: one.seq for name, one in status.sessions.items()}
            self._rates = {
                name: max(seq - self._seqs[name], 0) / elapsed for name, seq in seqs.items() if name in self._seqs
            }
            self._taken_at, self._seqs = now, seqs
        return self._rates


def render_page(status: WorkerStatus, rates: Mapping[str, float], not_ready: str | None, now: float) -> str:
    """The whole page. ``now`` is Unix seconds; what comes from outside is escaped."""
    sessions = sorted(status.sessions.values(), key=_urgency)
    rows = "\n".join(_row(one, rates.get(one.session.name), now) for one in sessions[:_ROWS])
    if len(sessions) > _ROWS:
        rows += f'\n<tr><td colspan="8">{len(sessions) - _ROWS:,} more: <code>/status</code></td></tr>'
    elif not sessions:
        rows = '<tr><td colspan="8">No session is configured. This worker stands by.</td></tr>'
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="refresh" content="{_REFRESH_SECONDS}">
<title>{escape(_title(sessions))}</title>
<style>{_STYLE}</style>
</head>
<body>
<h1>Lens Bridge</h1>
<p>{escape(status.worker_id)} · version {escape(status.version)} · up {_span(now - status.started_at)}</p>
<ul>{"".join(_chips(status, sessions, not_ready))}</ul>
<main><table>
<thead><tr><th>Session</th><th>State</th><th>Since</th><th class="number">Entries</th><th class="number">Per second</th>
<th>Cursor</th><th>Last event</th><th>Owner</th></tr></thead>
<tbody>
{rows}
</tbody>
</table></main>
</body>
</html>
"""


def _urgency(one: SessionStatus) -> tuple[int, str]:
    place = _TROUBLE.index(one.state) if one.state in _TROUBLE else len(_TROUBLE)
    return place, one.session.name


def _title(sessions: list[SessionStatus]) -> str:
    streaming = sum(one.state is SessionState.STREAMING for one in sessions)
    return f"{streaming}/{len(sessions)} streaming · Lens Bridge"


def _chips(status: WorkerStatus, sessions: list[SessionStatus], not_ready: str | None) -> Iterator[str]:
    yield _chip("good", "ready") if not_ready is None else _chip("bad", f"not ready: {not_ready}")
    if status.redis_reachable:
        yield _chip("good", "Redis")
    for state, count in Counter(one.state for one in sessions).most_common():
        yield _chip(_TONES.get(state, "calm"), f"{count:,} {_words(state)}")


def _chip(tone: str, text: str) -> str:
    return f'<li><span class="{tone}">{escape(text)}</span></li>'


def _row(one: SessionStatus, rate: float | None, now: float) -> str:
    cells = (
        f"<td>{escape(one.session.name)}<small>{escape(one.stream_key)}</small></td>",
        f'<td><span class="{_TONES.get(one.state, "calm")}">{_words(one.state)}</span></td>',
        _age(one.since, now),
        f'<td class="number">{one.seq:,}</td>',
        f'<td class="number">{"" if rate is None else f"{rate:,.1f}"}</td>',
        _text(one.cursor, code=True),
        _age(one.last_event_at, now),
        _text(one.owner),
    )
    return f"<tr>{''.join(cells)}</tr>{_error(one, now)}"


def _text(text: str | None, code: bool = False) -> str:
    shown = escape(text or "")
    inner = f"<code>{shown}</code>" if code and text else shown
    return f'<td class="text" title="{shown}">{inner}</td>'


def _error(one: SessionStatus, now: float) -> str:
    """A line of its own below the session's: it is long, and a column at the end would be out of sight."""
    if not one.last_error:
        return ""
    tone = "error past" if one.state is SessionState.STREAMING else "error"
    said = f"last error, {_span(now - one.last_error_at)} ago: {one.last_error}"
    return f'\n<tr class="{tone}"><td colspan="8">{escape(said)}</td></tr>'


def _age(at: float, now: float) -> str:
    if not at:
        return "<td></td>"
    moment = datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")
    return f'<td title="{moment}">{_span(now - at)} ago</td>'


def _span(seconds: float) -> str:
    """A duration in its largest unit, e.g. ``5 min``."""
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


def _words(state: SessionState) -> str:
    return state.value.replace("_", " ")
