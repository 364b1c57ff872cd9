"""Bodies of the lens API's answers: session records, metadata rows, errors."""

from __future__ import annotations

import time
import uuid
from http import HTTPStatus
from typing import assert_never

from bridge.lab.simulator.lens.session import LensStatus, SimulatedSession
from bridge.lab.simulator.lens.switches import ErrorShape, StatusSpelling

__all__ = ["error_body", "metadata_row", "session_record", "spelled"]

# Only 3 and 6 were ever seen; the others are made up.
_DIGITS = {
    "REGISTERED": "0", "CREATED": "1", "STARTING": "2", "RUNNING": "3", "STALE": "4", "DESTROYED": "5", "FAILED": "6"
}  # fmt: skip
_TTL_SECONDS = 86_400


def spelled(status: LensStatus, spelling: StatusSpelling) -> str:
    """A session status as this server writes it."""
    match spelling:
        case StatusSpelling.PREFIXED:
            return f"SESSION_STATUS_{status.value}"
        case StatusSpelling.QUALIFIED:
            return f"LensSessionStatus.SESSION_STATUS_{status.value}"
        case StatusSpelling.BARE:
            return status.value
        case StatusSpelling.DIGIT:
            return _DIGITS[status.value]
        case _:
            assert_never(spelling)


def error_body(shape: ErrorShape, status: int, message: str) -> dict[str, object]:
    """An error in one of the shapes that were seen."""
    code = _phrase(status)
    match shape:
        case ErrorShape.ERRORS:
            error = {
                "code": code,
                "message": message,
                "suggestion": "Check the request.",
                "error_uid": uuid.uuid4().hex,
            }
            return {"errors": [error]}
        case ErrorShape.TEXTS:
            return {"errors": [message]}
        case ErrorShape.DETAIL:
            return {"detail": message}
        case ErrorShape.ERROR:
            return {"error": {"code": code, "message": message, "details": {}}}
        case ErrorShape.TYPED:
            return {"type": "error", "message": message}
        case _:
            assert_never(shape)


def metadata_row(session: SimulatedSession, base_url: str) -> dict[str, object]:
    """One element of the metadata endpoint's array."""
    return {
        "session_id": session.session_id,
        "lens_id": session.lens_id,
        "session_status": spelled(session.status, session.switches.status_spelling),
        "session_endpoint": f"{base_url.replace('http', 'ws', 1)}/lens/sessions/{session.session_id}",
        "last_update_timestamp": round(session.updated_at, 3),
        "session_duration_sec": round(time.time() - session.created_at, 3),
        "num_outputs": session.history.end + session.mailbox_outputs,
    }


def session_record(session: SimulatedSession, base_url: str, api_key: str) -> dict[str, object]:
    """What create, destroy and process answer. The real API puts the caller's key into it, and so does this one."""
    return {
        **metadata_row(session, base_url),
        "session_ttl_sec": _TTL_SECONDS,
        "session_start_timestamp": round(session.created_at, 3),
        "api_key": api_key,
    }


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase.lower().replace(" ", "_")
    except ValueError:
        return "error"
