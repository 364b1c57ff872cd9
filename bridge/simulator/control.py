"""The control API: what a test, the demo or a person tells a running simulator. JSON in and out, no key.

=====================================  ===============================================================================
``GET /control``                       base URL, switches, session ids, requests per endpoint
``GET|PATCH /control/switches``        the switches of all sessions; PATCH ``{"ids": false, …}`` sets some
``PUT /control/api-keys``              ``{"api_keys": ["new", "old"]}``: the valid keys from now on
``GET /control/connections``           connects to sessions that do not exist
``POST /control/sessions``             a session: ``{"session_id"?, "lens_id"?, "status"?, "seed"?, "switches"?}``, and
                                       ``{"profile", "rate"?, "limit"?, "event_bytes"?}`` to let it speak
``GET /control/sessions/{id}``         its counts: events emitted, open connections, most at once, …
``PATCH /control/sessions/{id}``       ``{"status"?}``, or ``{"profile", "rate", "limit"?}`` to let it speak
``DELETE /control/sessions/{id}``      destroy it
``DELETE …/{id}/profile``              make it stop speaking
``GET|PATCH|DELETE …/{id}/switches``   the switches in force for one session; DELETE forgets its own
``POST …/{id}/events``                 emit, in one of these ways, with ``ids`` if the ids matter:
                                       ``{"events": [{…}, …]}`` JSON objects; ``{"data": ["…"]}`` exact text;
                                       ``{"generate": N, "profile"?, "event_bytes"?}``; ``{"raw": "…"}`` or
                                       ``{"raw_base64": "…"}`` bytes of the stream, which are not recorded
``GET …/{id}/record``                  what was emitted, in order: ``{"count", "events": [{"id", "sha256", "type",
                                       "poison"?}]}`` with the SHA-256 of the SSE data; no type where a client can
                                       find none; ``?offset=…&limit=…`` for a part
``GET …/{id}/connections``             each connect: times, Last-Event-ID, status, events sent, how it ended
``POST /control/faults``               a fault for all sessions that exist
``POST …/{id}/faults``                 a fault for one session
``DELETE /control/faults``, ``…``      end the faults that last
=====================================  ===============================================================================

Faults, named by ``fault``:

* ``drop``: ``closing`` (reset, cut, clean, end), at once, or ``after_events`` (0 and more), ``mid_frame``, ``repeat``
* ``random_drops``: ``mean_events``, ``seed`` (drawn and answered if left out), ``closing``, ``mid_frame``
* ``silence``: ``seconds``, or until faults are deleted
* ``refuse``: ``status`` for the next ``requests`` to an ``endpoint`` (consumer), with ``retry_after``, ``location``,
  ``content_type``, ``body``
* ``stop_accepting``: ``seconds``, which may be left out where control has a port of its own; ``resume_accepting``
* ``poison``: ``kind`` or one of each, ``count``, ``size_bytes``
* ``forget``: lose the oldest ``events`` of the history, or all

Slow events are a switch: ``event_delay_seconds``. An error answers 400 or 404 with ``{"error": "one line"}``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Any

import structlog
from aiohttp import web

from bridge.errors import BridgeError, ConfigurationError
from bridge.simulator import orders
from bridge.simulator.injection import emit, inject
from bridge.simulator.listener import Listener
from bridge.simulator.platform import Platform
from bridge.simulator.session import SimulatedSession

__all__ = ["control_routes"]

_BURST_EVENTS = 500  # generated between two turns of the event loop, so that readers go on meanwhile
_log = structlog.get_logger()


def control_routes(platform: Platform, listener: Listener, *, shared_port: bool) -> list[web.RouteDef]:
    """Routes of the control API. ``listener`` is the lens API's; ``shared_port``: control is served by it too."""
    control = _Control(platform, listener, shared_port)
    one = "/control/sessions/{session_id}"
    return [
        web.get("/control", _answer(control.show)),
        web.get("/control/switches", _answer(control.switches)),
        web.patch("/control/switches", _answer(control.switches)),
        web.put("/control/api-keys", _answer(control.set_keys)),
        web.get("/control/connections", _answer(control.strays)),
        web.post("/control/faults", _answer(control.fault)),
        web.delete("/control/faults", _answer(control.clear_faults)),
        web.post("/control/sessions", _answer(control.create)),
        web.get(one, _answer(control.session)),
        web.patch(one, _answer(control.change)),
        web.delete(one, _answer(control.destroy)),
        web.delete(f"{one}/profile", _answer(control.pause)),
        web.get(f"{one}/switches", _answer(control.session_switches)),
        web.patch(f"{one}/switches", _answer(control.session_switches)),
        web.delete(f"{one}/switches", _answer(control.session_switches)),
        web.post(f"{one}/events", _answer(control.emit)),
        web.get(f"{one}/record", _answer(control.record)),
        web.get(f"{one}/connections", _answer(control.connections)),
        web.post(f"{one}/faults", _answer(control.fault)),
        web.delete(f"{one}/faults", _answer(control.clear_faults)),
    ]


def _answer(act: Callable[[web.Request], Awaitable[object]]) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
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

    async def show(self, request: web.Request) -> dict[str, object]:
        platform = self._platform
        return {
            "base_url": platform.base_url,
            "sessions": list(platform.sessions),
            "requests": dict(platform.requests),
            "switches": asdict(platform.switches),
        }

    async def switches(self, request: web.Request) -> dict[str, object]:
        self._platform.change(**orders.decode(await request.read(), dict[str, Any]))
        return asdict(self._platform.switches)

    async def set_keys(self, request: web.Request) -> dict[str, object]:
        keys = orders.decode(await request.read(), orders.ApiKeys).api_keys
        self._platform.api_keys[:] = keys
        return {"api_keys": len(keys)}

    async def strays(self, request: web.Request) -> list[object]:
        return [one.as_json() for one in self._platform.strays]

    async def create(self, request: web.Request) -> dict[str, object]:
        order = orders.decode(await request.read(), orders.NewSession)
        session = self._platform.create_session(
            order.session_id, lens_id=order.lens_id, seed=order.seed, switches=order.switches
        )
        session.set_status(order.status)
        if order.profile is not None:
            session.play(order.profile, rate=order.rate, limit=order.limit, event_bytes=order.event_bytes)
        return session.as_json()

    async def session(self, request: web.Request) -> dict[str, object]:
        return self._find(request).as_json()

    async def change(self, request: web.Request) -> dict[str, object]:
        session = self._find(request)
        order = orders.decode(await request.read(), orders.SessionChange)
        if (order.profile is None) != (order.rate is None):
            raise ConfigurationError("give profile and rate together")
        if order.status is not None:
            session.set_status(order.status)
        if order.profile is not None and order.rate is not None:
            session.play(order.profile, rate=order.rate, limit=order.limit, event_bytes=order.event_bytes)
        return session.as_json()

    async def destroy(self, request: web.Request) -> dict[str, object]:
        session = self._find(request)
        session.destroy()
        return session.as_json()

    async def pause(self, request: web.Request) -> dict[str, object]:
        session = self._find(request)
        session.pause()
        return session.as_json()

    async def session_switches(self, request: web.Request) -> dict[str, object]:
        session = self._find(request)
        if request.method == "DELETE":
            session.reset_switches()
        else:
            session.change(**orders.decode(await request.read(), dict[str, Any]))
        return asdict(session.switches)

    async def emit(self, request: web.Request) -> dict[str, object]:
        session = self._find(request)
        order = orders.decode(await request.read(), orders.Emission)
        emitted = emit(session, order)
        left = order.generate or 0
        while left > 0:
            burst = min(left, _BURST_EVENTS)
            session.generate(burst, profile=order.profile, event_bytes=order.event_bytes)
            left -= burst
            await asyncio.sleep(0)
        return {"emitted": emitted + (order.generate or 0), "events": session.history.end}

    async def record(self, request: web.Request) -> dict[str, object]:
        record = self._find(request).record
        offset, limit = _number(request, "offset", 0), _number(request, "limit", len(record))
        return {"count": len(record), "events": [one.as_json() for one in record[offset : offset + limit]]}

    async def connections(self, request: web.Request) -> list[object]:
        return [one.as_json() for one in self._find(request).connections]

    async def clear_faults(self, request: web.Request) -> dict[str, object]:
        if "session_id" in request.match_info:
            self._find(request).clear_faults()
        else:
            self._platform.clear_faults()
        return {}

    async def fault(self, request: web.Request) -> dict[str, object]:
        one = self._find(request) if "session_id" in request.match_info else None
        fault = orders.decode_fault(await request.read())
        _log.info("simulator.fault_injected", fault=type(fault).__name__, session_id=one and one.session_id)
        match fault:
            case orders.StopAccepting() | orders.ResumeAccepting():
                if one is not None:
                    raise ConfigurationError("all sessions share one port: send this fault to /control/faults")
                await self._accept(fault)
                return {}
            case orders.Refuse():
                (self._platform if one is None else one).refusals.add(fault.refusal(), fault.requests)
                return {}
            case _:
                sessions = self._platform.sessions.values() if one is None else [one]
                return {"sessions": {session.session_id: inject(session, fault) for session in sessions}}

    async def _accept(self, fault: orders.StopAccepting | orders.ResumeAccepting) -> None:
        if isinstance(fault, orders.ResumeAccepting):
            await self._listener.accept()
        elif fault.seconds is None and self._shared_port:
            raise ConfigurationError("control shares the port: give seconds, or start with a control port")
        else:
            await self._listener.refuse(fault.seconds)

    def _find(self, request: web.Request) -> SimulatedSession:
        session_id = request.match_info["session_id"]
        session = self._platform.sessions.get(session_id)
        if session is None:
            raise _UnknownSessionError(f"no session {session_id!r}")
        return session


def _number(request: web.Request, name: str, default: int) -> int:
    text = request.query.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit()):
        raise ConfigurationError(f"{name}={text!r}: not a number")
    return int(text)
