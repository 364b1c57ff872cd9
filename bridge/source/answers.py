"""What an answer of the lens API means for the next connection. Pure rules, no I/O.

Statuses and bodies are the documented ones; what the consumer endpoint answers for a bad key or an unknown session is
not published, so every plausible answer is classified and none of them stops the worker.
"""

from __future__ import annotations

import email.utils
import json
import math
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from bridge.model.labels import ConnectOutcome
from bridge.model.outcomes import Active, Listed, Lookup, Over, Unanswered

__all__ = [
    "advice_on",
    "classify_status",
    "content_coding",
    "is_event_stream",
    "is_over",
    "listed_in",
    "looks_like_events",
    "media_type",
    "plain_status",
    "retry_after_seconds",
    "rows_in",
    "sendable",
    "sessions_in",
]

_CURSOR_STATUSES = frozenset((400, 412, 413, 416, 422, 431))
"""4xx that may be about the Last-Event-ID when one was sent."""

_OVER = frozenset(("DESTROYED", "FAILED"))
"""Session statuses that are final. Unknown ones are not."""

_DIGITS = {"3": "RUNNING", "6": "FAILED"}
"""The numbers that were seen in the place of a status."""

_NO_CODINGS = frozenset(("", "identity", "none", "binary", "7bit", "8bit", "chunked", "utf-8", "utf8", "us-ascii"))
"""What stands in Content-Encoding though it is no coding, and is passed over as browsers do: a transfer coding, a
charset, somebody's word for nothing."""

_AGES = 1e12  # seconds

_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"?')
_MEDIA_TYPE = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+/[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_FIELD_LINE = re.compile(rb"(?:\xef\xbb\xbf)?\s*(?:data|event|id|retry)?:")


def classify_status(status: int, *, cursor_sent: bool) -> ConnectOutcome:
    """The meaning of a response status other than 200."""
    match status:
        case 401 | 403 | 407:  # 407 is of a proxy's key, not ours; it too is tried slowly until a person mends it
            return ConnectOutcome.UNAUTHORIZED
        case 404 | 410:
            return ConnectOutcome.NOT_FOUND
        case 204:
            return ConnectOutcome.NO_CONTENT
        case 429:
            return ConnectOutcome.RATE_LIMITED
        case 409 | 425:
            return ConnectOutcome.NOT_READY
        case _ if status >= 500:
            return ConnectOutcome.SERVER_ERROR
        case _ if cursor_sent and status in _CURSOR_STATUSES:
            return ConnectOutcome.CURSOR_REFUSED
    return ConnectOutcome.REJECTED


def media_type(values: Iterable[str]) -> str:
    """The media type of an answer without its parameters; empty where there is none.

    Where Content-Type is given more than once, in one field or in several, the last valid one counts ("extract a MIME
    type", WHATWG Fetch).
    """
    found = ""
    for value in values:
        for part in _QUOTED.sub("", value).split(","):
            essence = part.split(";", 1)[0].strip().lower()
            if essence != "*/*" and _MEDIA_TYPE.fullmatch(essence):
                found = essence
    return found


def is_event_stream(values: Iterable[str]) -> bool:
    """Whether this Content-Type is ``text/event-stream``, whatever its parameters (the standard ignores charset)."""
    return media_type(values) == "text/event-stream"


def looks_like_events(body: bytes) -> bool:
    """Whether a body is an event stream whatever it is called: then it is payload, and no words for a person."""
    return _FIELD_LINE.match(body) is not None


def content_coding(value: str) -> str:
    """A Content-Encoding in lower case, without what is no coding; empty where nothing has to be undone."""
    codings = (coding.strip().lower() for coding in value.split(","))
    return ", ".join(coding for coding in codings if coding not in _NO_CODINGS)


def retry_after_seconds(value: str | None, now: datetime | None = None) -> float | None:
    """A Retry-After header as seconds from now, at most a day; None where there is none or it makes no sense."""
    if not value:
        return None
    text = value.strip()
    if re.fullmatch(r"[0-9]{1,9}", text):
        return min(float(text), 86_400.0)
    try:
        moment = email.utils.parsedate_to_datetime(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return min(max((moment - (now or datetime.now(UTC))).total_seconds(), 0.0), 86_400.0)


def plain_status(status: str) -> str:
    """A session status in the one spelling that all others lead to, e.g. ``RUNNING``."""
    name = status.strip().rsplit(".", 1)[-1].upper().removeprefix("SESSION_STATUS_")
    return _DIGITS.get(name, name)


def is_over(status: str) -> bool:
    """Whether a session status, in any of its spellings, is final."""
    return plain_status(status) in _OVER


def sendable(cursor: str) -> bytes | None:
    """A cursor as the bytes of a Last-Event-ID header, or None where no header can carry it (RFC 9110, 5.5)."""
    value = cursor.encode("utf-8", "replace").strip(b" \t")
    if not value or any((byte < 0x20 and byte != 0x09) or byte == 0x7F for byte in value):
        return None
    return value


def sessions_in(body: bytes) -> Mapping[str, Lookup] | Unanswered:
    """What an answer of the metadata endpoint says of each session that it lists."""
    rows = rows_in(body)
    if isinstance(rows, Unanswered):
        return rows
    found: dict[str, Lookup] = {}
    for row in rows:
        status = str(row.get("session_status", ""))
        found.setdefault(str(row["session_id"]), Over(status=status) if is_over(status) else Active(status=status))
    return found


def listed_in(body: bytes) -> tuple[Listed, ...] | Unanswered:
    """The sessions that an answer of the metadata endpoint lists, with what tells them apart."""
    rows = rows_in(body)
    return rows if isinstance(rows, Unanswered) else tuple(map(_listed, rows))


def rows_in(body: bytes) -> list[dict[str, Any]] | Unanswered:
    """The sessions in an answer of the metadata endpoint, as it writes them: each has a ``session_id`` at least."""
    try:
        answer: Any = json.loads(body)
    except (ValueError, RecursionError):
        return Unanswered(detail="the metadata endpoint did not answer with JSON")
    if isinstance(answer, dict) and "session_id" not in answer:
        answer = answer.get("sessions", answer.get("metadata"))
    sessions = answer if isinstance(answer, list) else [answer]
    if not all(isinstance(entry, dict) and "session_id" in entry for entry in sessions):
        # An error in the shape of an answer, for one: it must not end a session.
        return Unanswered(detail="the metadata endpoint did not answer with a list of sessions")
    return sessions


def _listed(entry: Mapping[str, Any]) -> Listed:
    status, lens_id, seconds = (entry.get(name) for name in ("session_status", "lens_id", "session_duration_sec"))
    spelled = "" if status is None else str(status)
    return Listed(
        session_id=str(entry["session_id"]),
        lens_id="" if lens_id is None else str(lens_id),
        status=plain_status(spelled),
        over=is_over(spelled),
        seconds=float(seconds) if isinstance(seconds, int | float) and 0 <= seconds < _AGES else math.inf,
    )


def advice_on(outcome: ConnectOutcome, *, key_configured: bool) -> str:
    """What a person may do about a refusal, as the end of its message; empty where it passes by itself."""
    match outcome:
        case ConnectOutcome.UNAUTHORIZED if not key_configured:
            return " - no key is configured: set ATAI_API_KEY or source.api_key_file (BRIDGE_SOURCE__API_KEY_FILE)"
        case ConnectOutcome.UNAUTHORIZED:
            return " - check source.api_key or source.api_key_file; a key belongs to one environment"
        case ConnectOutcome.NOT_FOUND:
            return " - check the session id, and that source.base_url is that of its environment, with its path (/v0.5)"
    return ""
