"""A row for each session, and below it what went wrong."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape

from bridge.model.labels import SessionState
from bridge.telemetry.figures import SessionFigures
from bridge.telemetry.page.words import RUNBOOK, UNKNOWN, WAKES, moment, number, span, tone_of, what_to_do, words_of
from bridge.telemetry.status import CONFIGURED

__all__ = ["COLUMNS", "heading", "refused_row", "row_of", "wide"]

COLUMNS = ("Session", "State", "Entries", "Last event", "Consumer groups", "Dead letters", "Cursor", "Owner")
_NUMBERS = ("Entries", "Dead letters")

_RECENT_SECONDS = 600.0  # an error that is over is shown for so long
_ONE_TROUBLE_SECONDS = 60.0  # an error so shortly before a trouble began is the reason for it
_GROUPS = 2  # of a session; /status has more
_LONGEST_NAME = 60  # of a consumer group, which may be anything


def heading() -> str:
    """The head of the table."""
    cells = (f'<th class="number">{one}</th>' if one in _NUMBERS else f"<th>{one}</th>" for one in COLUMNS)
    return f"<thead><tr>{''.join(cells)}</tr></thead>"


def wide(text: str) -> str:
    """A row of one cell. ``text`` is markup."""
    return f'<tbody><tr><td colspan="{len(COLUMNS)}">{text}</td></tr></tbody>\n'


def refused_row(refused: Mapping[str, str]) -> str:
    """A session that is wanted and not read, and why."""
    name, session_id, origin = (escape(refused.get(each, "")) for each in ("name", "session_id", "origin"))
    said = f"<b>{name}</b> ({session_id}), {origin}, <b>is not read</b>: {escape(refused.get('reason', ''))}"
    return f'<tbody class="bad"><tr><td colspan="{len(COLUMNS)}">{said}</td></tr></tbody>\n'


def row_of(one: SessionFigures, rate: float | None, now: float, origin: str = CONFIGURED) -> str:
    """All that is shown of a session. ``rate``: entries per second; ``now``: Unix seconds; ``origin``: who wants it."""
    kept = one.kept
    known = one.state is not SessionState.STANDBY
    seq, cursor = (one.seq, one.cursor) if known else (kept.seq, kept.cursor) if kept else (None, None)
    entries = UNKNOWN if seq is None else f"{seq:,}"
    if rate is not None:
        entries += f"<small>{rate:,.1f}/s</small>"
    streams = "<br>".join(map(escape, (one.stream_key, *one.routed_keys)))
    cells = (
        f'<td class="name"><b>{escape(one.session.name)}</b><small>{streams}</small>'
        f"{'' if origin == CONFIGURED else f'<small>{escape(origin)}</small>'}</td>",
        f'<td class="state"><span class="{tone_of(one.state)}">{words_of(one.state)}</span>'
        f'<small title="{moment(one.since)}">for {span(now - one.since)}</small></td>',
        _cell("Entries", entries, "number"),
        _last_event(one, now),
        _cell("Consumer groups", _groups(one), "groups"),
        _cell("Dead letters", _letters(one), "number"),
        _cell("Cursor", f"<code>{escape(cursor)}</code>" if cursor else "", "id"),
        _cell("Owner", "this worker" if one.lease_held else escape(one.reader or ""), "id"),
    )
    return f'<tbody class="{tone_of(one.state)}"><tr>{"".join(cells)}</tr>{_trouble(one, now)}</tbody>\n'


def _cell(label: str, markup: str, kind: str, title: str = "") -> str:
    if not markup:
        return "<td></td>"
    hint = f' title="{title}"' if title else ""
    return f'<td class="{kind}" data-label="{label}"{hint}>{markup}</td>'


def _last_event(one: SessionFigures, now: float) -> str:
    """Of a session that another worker reads: when that one committed last."""
    kept = one.kept
    at = one.last_event_at if one.lease_held or not kept else kept.updated_at
    return _cell("Last event", f"{span(now - at)} ago", "time", moment(at)) if at else "<td></td>"


def _groups(one: SessionFigures) -> str:
    """How far the consumer groups are behind, the furthest first. Where there is none, nobody is known to read."""
    lines = []
    for name, (lag, pending) in list(one.groups.items())[:_GROUPS]:
        shown = name if len(name) <= _LONGEST_NAME else name[:_LONGEST_NAME] + "…"
        behind = "lag unknown" if lag is None else f"{lag:,} behind"
        lines.append(f"<b>{escape(shown)}</b> {behind}{f', {pending:,} pending' if pending else ''}")
    if (more := len(one.groups) - _GROUPS) > 0:
        lines.append(f"<small>{number(more, 'more group')}</small>")
    return "<br>".join(lines)


def _letters(one: SessionFigures) -> str:
    letters = one.kept.dead_letters if one.kept else None
    if letters is None:
        return UNKNOWN
    return f'<span class="warn">{letters:,}</span>' if letters else "0"


def _trouble(one: SessionFigures, now: float) -> str:
    """What went wrong and where to read on, in a line of its own below the session's."""
    markup = "".join((*_error(one, now), *_retention(one)))
    return f'<tr><td colspan="{len(COLUMNS)}">{markup}</td></tr>' if markup else ""


def _error(one: SessionFigures, now: float) -> Iterator[str]:
    age = now - one.last_error_at
    section = RUNBOOK.get(one.state)
    present = section is not None and one.last_error_at >= one.since - _ONE_TROUBLE_SECONDS
    if one.last_error and present:
        yield f"{escape(one.last_error)} <small>{span(age)} ago</small>"
    elif one.last_error and age <= _RECENT_SECONDS:
        yield f'<span class="past">{span(age)} ago, and over: {escape(one.last_error)}</span>'
    if section and (present or one.state in WAKES):
        yield what_to_do(section)


def _retention(one: SessionFigures) -> Iterator[str]:
    if one.unread_trimmed:
        yield f"<p>{number(one.unread_trimmed, 'entry', 'entries')} trimmed unread</p>"
        yield what_to_do("lensbridgeunreadtrimmed")
    elif one.held_unread:
        yield f"<p>{one.stream_length:,} entries, since a group has not read them; the limit is "
        yield f"{one.stream_read_max_length:,}</p>{what_to_do('lensbridgeunreadheld')}"
