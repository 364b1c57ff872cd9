"""The control API: what a test, the demo or a person tells a running simulator. JSON in and out, no key.

  GET /control                      base URL, switches, session ids, requests per endpoint
  GET|PATCH /control/switches       the switches of all sessions; PATCH {"ids": false, …} sets some
  PUT /control/api-keys             {"api_keys": ["new", "old"]}: the valid keys from now on
  GET /control/connections          connects to sessions that do not exist
  POST /control/sessions            a session: {"session_id"?, "lens_id"?, "status"?, "seed"?, "switches"?}, and
                                    {"profile", "rate"?, "limit"?, "event_bytes"?} to let it speak
  GET /control/sessions/{id}        its counts: events emitted, open connections, most at once, …
  PATCH /control/sessions/{id}      {"status"?}, or {"profile", "rate", "limit"?} to let it speak
  DELETE /control/sessions/{id}     destroy it
  DELETE …/{id}/profile             make it stop speaking
  GET|PATCH|DELETE …/{id}/switches  the switches in force for one session; DELETE forgets its own
  POST …/{id}/events                emit, in one of these ways, with "ids" if the ids matter:
                                    {"events": [{…}, …]} JSON objects; {"data": ["…"]} exact text;
                                    {"generate": N, "profile"?, "event_bytes"?}; {"raw": "…"} or
                                    {"raw_base64": "…"} bytes of the stream, which are not recorded
  GET …/{id}/record                 what was emitted, in order: {"count", "events": [{"id", "sha256", "type",
                                    "poison"?}]} with the SHA-256 of the SSE data; no type where a client can
                                    find none; ?offset=…&limit=… for a part
  GET …/{id}/connections            each connect: times, Last-Event-ID, status, events sent, how it ended
  POST /control/faults, …           a fault for all sessions that exist, or for one: {"fault": NAME, FIELD: VALUE, …}
  DELETE /control/faults, …         end the faults that last

GET / explains every switch and every fault. An error answers 400 or 404 with {"error": "one line"}.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import asdict
from functools import partial

import structlog
from aiohttp import web

from bridge.errors import BridgeError, ConfigurationError
from bridge.lab.simulator.faults import ResumeAccepting, StopAccepting
from bridge.lab.simulator.lens.plans import Refusal
from bridge.lab.simulator.lens.session import SimulatedSession
from bridge.lab.simulator.listener import Listener
from bridge.lab.simulator.orders import ApiKeys, Emission, NewSession, SessionChange, fault_in, object_in, order_in
from bridge.lab.simulator.platform import Platform

__all__ = ["routes"]

_log = structlog.get_logger()


Act = Callable[[web.Request], Awaitable[object]]
SessionAct = Callable[[SimulatedSession, web.Request], Awaitable[object]]


def routes(platform: Platform, listener: Listener, *, shared_port: bool) -> list[web.RouteDef]:
    """Routes of the control API. ``listener`` is the lens API's; ``shared_port``: control is served by it too."""
    control = _Control(platform, listener, shared_port)
    whole: list[tuple[str, str, Act]] = [
        ("GET", "", control.show),
        ("GET", "/switches", control.switches),
        ("PATCH", "/switches", control.switches),
        ("PUT", "/api-keys", control.set_keys),
        ("GET", "/connections", control.strays),
        ("POST", "/faults", partial(control.fault, None)),
        ("DELETE", "/faults", partial(control.clear_faults, platform)),
        ("POST", "/sessions", control.create),
    ]
    single: list[tuple[str, str, SessionAct]] = [
        ("GET", "", control.counts),
        ("PATCH", "", control.change),
        ("DELETE", "", control.destroy),
        ("DELETE", "/profile", control.pause),
        ("GET", "/switches", control.own_switches),
        ("PATCH", "/switches", control.own_switches),
        ("DELETE", "/switches", control.reset_switches),
        ("POST", "/events", control.emit),
        ("GET", "/record", control.record),
        ("GET", "/connections", control.connections),
        ("POST", "/faults", control.fault),
        ("DELETE", "/faults", control.clear_faults),
    ]
    whole += [(method, f"/sessions/{{session_id}}{path}", control.on_session(act)) for method, path, act in single]
    return [web.route(method, f"/control{path}", _answer(act)) for method, path, act in whole]


def _answer(act: Act) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """A handler whose result is sent as JSON and whose errors are one line."""

    async def handle(request: web.Request) -> web.Response:
        try:
            return web.json_response(await act(request))
        except _UnknownSessionError as error:
            return web.json_response({"error": str(error)}, status=404)
        except ConfigurationError as error:
            return web.json_response({"error": str(error)}, status=400)

    return handle


class _UnknownSessionError(BridgeError):
    pass


class _Control:
    def __init__(self, platform: Platform, listener: Listener, shared_port: bool) -> None:
        self._platform = platform
        self._listener = listener
        self._shared_port = shared_port

    def on_session(self, act: SessionAct) -> Act:
        """The act, on the session that the path names."""

        async def find_and_act(request: web.Request) -> object:
            session_id = request.match_info["session_id"]
            session = self._platform.sessions.get(session_id)
            if session is None:
                raise _UnknownSessionError(f"no session {session_id!r}")
            return await act(session, request)

        return find_and_act

    async def show(self, request: web.Request) -> object:
        platform = self._platform
        return {
            "base_url": platform.base_url,
            "sessions": list(platform.sessions),
            "requests": dict(platform.requests),
            "switches": asdict(platform.switches),
        }

    async def switches(self, request: web.Request) -> object:
        self._platform.change(**object_in(await request.read()))
        return asdict(self._platform.switches)

    async def set_keys(self, request: web.Request) -> object:
        keys = order_in(await request.read(), ApiKeys).api_keys
        self._platform.api_keys[:] = keys
        return {"api_keys": len(keys)}

    async def strays(self, request: web.Request) -> object:
        return [one.as_json() for one in self._platform.strays]

    async def create(self, request: web.Request) -> object:
        return order_in(await request.read(), NewSession).apply(self._platform).as_json()

    async def counts(self, session: SimulatedSession, request: web.Request) -> object:
        return session.as_json()

    async def change(self, session: SimulatedSession, request: web.Request) -> object:
        order_in(await request.read(), SessionChange).apply(session)
        return session.as_json()

    async def destroy(self, session: SimulatedSession, request: web.Request) -> object:
        session.destroy()
        return session.as_json()

    async def pause(self, session: SimulatedSession, request: web.Request) -> object:
        session.pause()
        return session.as_json()

    async def own_switches(self, session: SimulatedSession, request: web.Request) -> object:
        session.change(**object_in(await request.read()))
        return asdict(session.switches)

    async def reset_switches(self, session: SimulatedSession, request: web.Request) -> object:
        session.reset_switches()
        return asdict(session.switches)

    async def emit(self, session: SimulatedSession, request: web.Request) -> object:
        emitted = await order_in(await request.read(), Emission).apply(session)
        return {"emitted": emitted, "events": session.history.end}

    async def record(self, session: SimulatedSession, request: web.Request) -> object:
        record = session.record
        offset, limit = _number(request, "offset", 0), _number(request, "limit", len(record))
        return {"count": len(record), "events": [one.as_json() for one in record[offset : offset + limit]]}

    async def connections(self, session: SimulatedSession, request: web.Request) -> object:
        return [one.as_json() for one in session.connections]

    async def clear_faults(self, where: SimulatedSession | Platform, request: web.Request) -> object:
        where.clear_faults()
        return {}

    async def fault(self, one: SimulatedSession | None, request: web.Request) -> object:
        fault = fault_in(await request.read())
        _log.info("simulator.fault_injected", fault=type(fault).__name__, session_id=one and one.session_id)
        match fault:
            case StopAccepting() | ResumeAccepting() if one is not None:
                raise ConfigurationError("all sessions share one port: send this fault to /control/faults")
            case StopAccepting(seconds=None) if self._shared_port:
                raise ConfigurationError("control shares the port: give seconds, or start with a control port")
            case StopAccepting() | ResumeAccepting():
                await fault.apply(self._listener)
                return {}
            case Refusal():
                return fault.apply(self._platform if one is None else one)
            case _:
                sessions = list(self._platform.sessions.values()) if one is None else [one]
                return {"sessions": {session.session_id: fault.apply(session) for session in sessions}}


def _number(request: web.Request, name: str, default: int) -> int:
    text = request.query.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit()):
        raise ConfigurationError(f"{name}={text!r}: not a number")
    return int(text)
