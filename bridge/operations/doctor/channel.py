"""What was heard of one session, against what the API says of it: does it flow, is it the wrong channel? Pure."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from bridge.model.outcomes import Unanswered
from bridge.operations.doctor.lines import Line, fault, ok, warn
from bridge.settings.values import listed
from bridge.source.answers import is_over, rows_in

__all__ = ["Heard", "channel_line", "outputs_of", "session_lines", "stream_line"]

_WRITER = "give its lens an output server_sent_events_writer: without one its results go to the WebSocket mailbox alone"


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What came within ``seconds``, of an open stream or through the worker that reads it.

    ``first_seconds``: when the first frame was there; None for none. ``events``: those of the lens, so far as was
    listened. ``reader``: the worker, where that was watched; ``closed``: how the connection ended, "" if it did not.
    """

    seconds: float
    first_seconds: float | None = None
    frames: int = 0
    events: int = 0
    reader: str = ""
    closed: str = ""


def stream_line(session: str, heard: Heard) -> Line:
    """Whether the first frame came in time."""
    check = "api.stream"
    if heard.reader:
        return ok(check, f"{session} is read by the worker {heard.reader}, so its stream was not opened")
    if heard.first_seconds is not None:
        return ok(check, f"{session}: the first frame came after {_time(heard.first_seconds)}")
    if heard.closed:
        detail = f"{session}: the stream was opened and closed again without a frame: {heard.closed}"
        return warn(check, detail, "look whether the session still runs, and for a proxy on the way that ends streams")
    detail = f"{session}: the stream is open, and no frame came within {heard.seconds:g} s"
    return warn(
        check, detail, "wait for longer (--wait 90: a model that warms up is silent), or look for a proxy that buffers"
    )


def channel_line(session: str, heard: Heard, before: int | None, after: int | None) -> Line | None:
    """Whether the lens writes where the bridge reads. ``before``, ``after``: its `num_outputs`; None: not known."""
    check = "api.channel"
    if heard.events:
        how = f"the worker has published {heard.events} of them" if heard.reader else "one was heard"
        return ok(check, f"{session}: lens events flow, {how}")
    quiet = f"{session}: no lens event came within {heard.seconds:g} s"
    if before is None or after is None:
        return (
            warn(check, f"{quiet}, and the API tells no num_outputs that could say why", "") if heard.frames else None
        )
    if after > before and heard.reader:
        detail = f"{quiet} through the worker, while num_outputs rose from {before:,} to {after:,}"
        return warn(check, detail, f"see that worker's last error in /status; where it has none, {_WRITER}")
    if after > before and heard.frames:
        detail = f"{quiet} but heartbeats, while num_outputs rose from {before:,} to {after:,}: the wrong channel"
        return fault(check, detail, _WRITER)
    if after > before:
        return warn(check, f"{quiet}, while num_outputs rose from {before:,} to {after:,}", "see the line above")
    return ok(check, f"{quiet}, and num_outputs stands at {after:,}: the lens has brought nothing meanwhile")


def outputs_of(body: bytes, session_id: str) -> int | None:
    """The `num_outputs` of a session in an answer of the metadata endpoint."""
    told = (_row(body, session_id) or {}).get("num_outputs")
    if isinstance(told, str) and told.isdigit():
        return int(told)
    return told if isinstance(told, int) and not isinstance(told, bool) else None


def session_lines(body: bytes, sessions: Mapping[str, str], over: Container[str] = ()) -> Iterator[Line]:
    """Whether the API lists the sessions that somebody named (id to name), and as what. ``over``: those whose end
    Redis knows."""
    rows = rows_in(body)
    if isinstance(rows, Unanswered):
        yield fault("api.session", rows.detail, "check source.base_url, with its path (/v0.5)")
        return
    statuses = {str(row["session_id"]): str(row.get("session_status", "")) for row in reversed(rows)}
    unknown = [id for id in sessions if id not in statuses]
    unlisted = [_both(sessions[id], id) for id in unknown if id not in over]
    ended = [f"{_both(name, id)} is {statuses[id]}" for id, name in sessions.items() if is_over(statuses.get(id, ""))]
    ended += [f"{_both(sessions[id], id)} has ended" for id in unknown if id in over]
    if unlisted:
        detail = f"the API lists no {listed(unlisted)} among {len(statuses)} active sessions"
        near = [get_close_matches(id, statuses, 1, 0.9) for id in unknown[:3]]  # a costly question
        if meant := [one for found in near for one in found if one not in sessions]:
            detail += f"; did you mean {listed(meant)}?"
        yield fault("api.session", detail, "check sessions, and that key and source.base_url are of their environment")
    if ended:
        remedy = "create a new session, and give it the old name: consumers keep their stream"
        yield warn("api.session", f"{listed(ended)}: nothing more will come", remedy)
    if sessions and not (unlisted or ended):
        yield ok("api.session", _all_listed(list(sessions.items()), statuses))


def _all_listed(sessions: Sequence[tuple[str, str]], statuses: Mapping[str, str]) -> str:
    if len(sessions) == 1:
        ((id, name),) = sessions
        return f"the API lists {_both(name, id)} as {statuses[id]}"
    return f"the API lists {'both' if len(sessions) == 2 else f'all {len(sessions)}'} sessions, and none as over"


def _row(body: bytes, session_id: str) -> Mapping[str, Any] | None:
    rows = rows_in(body)
    if isinstance(rows, Unanswered):
        return None
    return next((row for row in rows if str(row["session_id"]) == session_id), None)


def _time(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def _both(name: str, session_id: str) -> str:
    return session_id if name == session_id else f"{name} ({session_id})"
