"""``GET /lens/sessions/consumer/{session_id}``: who gets a stream, from where, or which answer instead."""

from __future__ import annotations

import asyncio
import secrets
from typing import assert_never

from aiohttp import HttpVersion11, web

from bridge.lab.simulator.answers import error_body
from bridge.lab.simulator.lens.connection import Connection
from bridge.lab.simulator.lens.plans import Endpoint, Refusal
from bridge.lab.simulator.lens.resume import CursorRefused, decode_cursor, start_position
from bridge.lab.simulator.lens.session import LensStatus, SimulatedSession
from bridge.lab.simulator.lens.switches import Closing, DestroyedRule, Switches, UnknownSessionRule
from bridge.lab.simulator.platform import Platform
from bridge.lab.simulator.stream import Stream
from bridge.lab.simulator.wire import Body, wants_gzip

__all__ = ["caller_key", "consume", "error_response", "refusal_response"]

_NOT_YET_RUNNING = (LensStatus.REGISTERED, LensStatus.CREATED, LensStatus.STARTING)
_STREAM_HEADERS = {"Content-Type": "text/event-stream", "Cache-Control": "no-cache"}


def caller_key(platform: Platform, request: web.Request) -> str | None:
    """The caller's key if it is valid, or None. Without a key check any key will do."""
    scheme, _, key = request.headers.get("Authorization", "").partition(" ")
    if not platform.switches.check_key:
        return key
    return key if scheme.lower() == "bearer" and key in platform.api_keys else None


def error_response(switches: Switches, status: int, message: str) -> web.Response:
    """An error in the switched shape. A 204 has no body."""
    if status == 204:
        return web.Response(status=status)
    return web.json_response(error_body(switches.error_shape, status, message), status=status)


def refusal_response(switches: Switches, refusal: Refusal) -> web.Response:
    """An answer that was ordered through the control API."""
    if refusal.body is None:
        response = error_response(switches, refusal.status, "Refused on request.")
    else:
        response = web.Response(status=refusal.status, body=refusal.body.encode())
        response.headers["Content-Type"] = refusal.content_type
    response.headers.update(refusal.headers())
    return response


async def consume(platform: Platform, request: web.Request) -> web.StreamResponse:
    """Answer one connect, and log it."""
    platform.requests[Endpoint.CONSUMER] += 1
    session_id = request.match_info["session_id"]
    session = platform.sessions.get(session_id)
    connection = Connection(session_id=session_id, last_event_id=_raw_cursor(request))
    (platform.strays if session is None else session.connections).append(connection)
    switches = platform.switches if session is None else session.switches
    try:
        await asyncio.sleep(switches.answer_delay_seconds)
        refusal = _refusal(platform, session, connection, request)
        if refusal is not None:
            connection.status = refusal.status
            connection.finish("refused")
            return refusal
        if session is None or (session.destroyed and switches.destroyed_session is DestroyedRule.UNKNOWN):
            connection.status = 200
            return await _ended_stream(switches, connection, request)
        return await _stream(session, connection, request)
    finally:
        connection.finish("client")


def _refusal(
    platform: Platform, session: SimulatedSession | None, connection: Connection, request: web.Request
) -> web.Response | None:
    """What to answer instead of a stream, or None."""
    switches = platform.switches if session is None else session.switches
    connection.authorized = caller_key(platform, request) is not None
    ordered = platform.refusal_for(Endpoint.CONSUMER, session)
    if ordered is not None:
        return refusal_response(switches, ordered)
    if not connection.authorized:
        return error_response(switches, switches.unauthorized_status, "Invalid API key.")
    if session is None:
        return _unknown(switches, connection.session_id)
    if session.destroyed:
        match switches.destroyed_session:
            case DestroyedRule.UNKNOWN:
                return _unknown(switches, connection.session_id)
            case DestroyedRule.REFUSE:
                return error_response(switches, 410, "The session was destroyed.")
            case DestroyedRule.REPLAY:
                return None
            case _:
                assert_never(switches.destroyed_session)
    if switches.starting_session_status is not None and session.status in _NOT_YET_RUNNING:
        return error_response(switches, switches.starting_session_status, "The session is not running yet.")
    return None


def _unknown(switches: Switches, session_id: str) -> web.Response | None:
    message = f"Unknown session id: {session_id}"
    match switches.unknown_session:
        case UnknownSessionRule.STATUS:
            return error_response(switches, 404, message)
        case UnknownSessionRule.JSON:
            return web.json_response({"type": "error", "message": message})
        case UnknownSessionRule.EMPTY:
            return web.Response(headers=_STREAM_HEADERS)
        case UnknownSessionRule.END:
            return None
        case _:
            assert_never(switches.unknown_session)


async def _stream(session: SimulatedSession, connection: Connection, request: web.Request) -> web.StreamResponse:
    try:
        position = start_position(session.switches, session.history, decode_cursor(connection.last_event_id))
    except CursorRefused as refused:
        connection.status = refused.status
        connection.finish("refused")
        return error_response(session.switches, refused.status, str(refused))
    connection.reader_id = secrets.token_hex(8)
    connection.status, connection.position = 200, position
    response, stream = await _open(session, connection, request, position)
    session.join(stream)
    try:
        await stream.run()
    finally:
        session.leave(stream)
    return response


async def _ended_stream(switches: Switches, connection: Connection, request: web.Request) -> web.StreamResponse:
    """Start and end frames for a session that does not exist."""
    connection.reader_id = secrets.token_hex(8)
    nobody = SimulatedSession(connection.session_id, switches, lens_id="", seed=0, api_key="")
    response, stream = await _open(nobody, connection, request, 0)
    stream.close(Closing.END)
    await stream.run()
    return response


async def _open(
    session: SimulatedSession, connection: Connection, request: web.Request, position: int
) -> tuple[web.StreamResponse, Stream]:
    switches = session.switches
    gzip = wants_gzip(switches.gzip, request.headers.get("Accept-Encoding", ""))
    response = web.StreamResponse(headers=_STREAM_HEADERS)
    if gzip:
        response.headers["Content-Encoding"] = "gzip"
    # aiohttp writes the head and the last chunk. In between the stream writes chunks itself: one aiohttp call and one
    # TCP write per event would be several times slower, and could not put a chunk's end where a test wants it.
    writer = await response.prepare(request)
    transport = request.transport
    if writer is None or transport is None:
        raise ConnectionResetError("the client left")
    number = len(session.connections)
    body = Body(seed=f"{session.session_id} {number}", gzip=gzip, chunked=request.version >= HttpVersion11)
    return response, Stream(session, connection, body, transport, writer, position)


def _raw_cursor(request: web.Request) -> bytes | None:
    for name, value in request.raw_headers:
        if name.lower() == b"last-event-id":
            return value
    return None
