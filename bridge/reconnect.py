"""What an answer of the lens API means for the next connection. Pure rules, no I/O.

Statuses and bodies are the documented ones; what the consumer endpoint answers for a bad key or an unknown session is
not published, so every plausible answer is classified and none of them stops the worker.
"""

from __future__ import annotations

import email.utils
import json
import re
from datetime import UTC, datetime
from typing import Any

from bridge.events import ConnectOutcome

__all__ = [
    "advice_on",
    "classify_status",
    "error_text",
    "is_event_stream",
    "is_over",
    "retry_after_seconds",
    "sendable",
]

_CURSOR_STATUSES = frozenset((400, 412, 413, 416, 422, 431))
"""4xx that may be about the Last-Event-ID when one was sent."""

_OVER = frozenset(("DESTROYED", "FAILED", "6"))
"""Session statuses that are final: by name, or as the number that was seen for FAILED. Unknown ones are not final."""

_MAX_DETAIL = 200


def classify_status(status: int, *, cursor_sent: bool) -> ConnectOutcome:
    """The meaning of a response status other than 200."""
    match status:
        case 401 | 403:
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


def is_event_stream(content_type: str) -> bool:
    """Whether a Content-Type is ``text/event-stream``, whatever its parameters (the standard ignores charset)."""
    return content_type.split(";", 1)[0].strip().lower() == "text/event-stream"


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


def error_text(body: bytes) -> str:
    """What an error body says, in one line: all shapes that the API is known to use, else its beginning."""
    try:
        message = _message(json.loads(body))
    except (ValueError, RecursionError):  # the JSON reader may go deeper than we can
        message = ""
    return _one_line(message or body.decode(errors="replace"))


def is_over(status: str) -> bool:
    """Whether a session status, in any of its spellings, is final."""
    name = status.rsplit(".", 1)[-1].upper().removeprefix("SESSION_STATUS_")
    return name in _OVER


def sendable(cursor: str) -> bytes | None:
    """A cursor as the bytes of a Last-Event-ID header, or None where no header can carry it (RFC 9110, 5.5)."""
    value = cursor.encode("utf-8", "replace").strip(b" \t")
    if not value or any((byte < 0x20 and byte != 0x09) or byte == 0x7F for byte in value):
        return None
    return value


def _message(parsed: Any) -> str:
    match parsed:
        case {"errors": [first, *_]}:
            return _message(first) or str(first)
        case {"detail": str(text)} | {"message": str(text)}:
            suggestion = parsed.get("suggestion")
            return f"{text} ({suggestion})" if isinstance(suggestion, str) and suggestion else text
        case {"error": inner}:
            return _message(inner)
        case str(text):
            return text
    return ""


def _one_line(text: str) -> str:
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= _MAX_DETAIL else line[:_MAX_DETAIL] + "…"


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
