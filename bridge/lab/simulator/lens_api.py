"""The lens API's endpoints: the consumer, and the few others that a client of it may meet."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from bridge.errors import ConfigurationError
from bridge.lab.simulator.answers import metadata_row, session_record
from bridge.lab.simulator.consumer import caller_key, consume, error_response, refusal_response
from bridge.lab.simulator.lens.plans import Endpoint
from bridge.lab.simulator.lens.profiles import Profile
from bridge.lab.simulator.lens.session import SimulatedSession
from bridge.lab.simulator.platform import Platform

__all__ = ["lens_routes"]

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def lens_routes(platform: Platform, base_path: str) -> list[web.RouteDef]:
    """Routes of the lens API under a base path."""
    api = _LensApi(platform)
    sessions = f"{base_path}/lens/sessions"

    async def consumer(request: web.Request) -> web.StreamResponse:
        return await consume(platform, request)

    return [
        web.get(f"{sessions}/consumer/{{session_id}}", consumer, allow_head=False),
        web.get(f"{sessions}/metadata", api.guarded(Endpoint.METADATA, api.metadata)),
        web.get(f"{sessions}/info", api.guarded(Endpoint.INFO, api.info)),
        web.post(f"{sessions}/create", api.guarded(Endpoint.CREATE, api.create)),
        web.post(f"{sessions}/destroy", api.guarded(Endpoint.DESTROY, api.destroy)),
        web.post(f"{sessions}/events/process", api.guarded(Endpoint.PROCESS, api.process)),
    ]


class _LensApi:
    def __init__(self, platform: Platform) -> None:
        self._platform = platform

    def guarded(self, endpoint: Endpoint, handler: Callable[[web.Request, str], Awaitable[web.Response]]) -> Handler:
        """Count the request, answer an ordered refusal, check the key, and give the key to the handler."""
        platform = self._platform

        async def handle(request: web.Request) -> web.Response:
            platform.requests[endpoint] += 1
            session = platform.sessions.get(request.query.get("session_id", ""))
            ordered = platform.refusal_for(endpoint, session)
            if ordered is not None:
                return refusal_response(platform.switches, ordered)
            key = caller_key(platform, request)
            if key is None:
                return self._error(platform.switches.unauthorized_status, "Invalid API key.")
            return await handler(request, key)

        return handle

    async def metadata(self, request: web.Request, key: str) -> web.Response:
        wanted = request.query.get("session_id") or None
        switches = self._platform.switches
        rows = [
            metadata_row(session, self._platform.base_url)
            for session in self._platform.sessions.values()
            if wanted in (None, session.session_id)
            and (not session.destroyed or session.switches.metadata_lists_destroyed)
        ]
        if wanted is None:
            rows = rows[: _most(request, switches.metadata_rows)]
        if wanted and not rows and switches.metadata_unknown_status is not None:
            return self._error(switches.metadata_unknown_status, f"Unknown session id: {wanted}")
        return web.json_response(rows)

    async def info(self, request: web.Request, key: str) -> web.Response:
        sessions = self._platform.sessions.values()
        active = sum(not session.destroyed for session in sessions)
        return web.json_response({"num_sessions": len(sessions), "num_active_sessions": active})

    async def create(self, request: web.Request, key: str) -> web.Response:
        """A session; a lens id that is a profile's name makes it generate one event per second."""
        lens_id = (await _json(request)).get("lens_id")
        if not isinstance(lens_id, str) or not lens_id:
            return self._error(400, "lens_id is missing.")
        try:
            profile = Profile(lens_id) if lens_id in list(Profile) else None
            session = self._platform.create_session(lens_id=lens_id, profile=profile)
        except ConfigurationError as error:
            return self._error(400, str(error))
        return self._record(session, key)

    async def destroy(self, request: web.Request, key: str) -> web.Response:
        session = self._find(await _json(request))
        if session is None:
            return self._error(404, "Unknown session id.")
        session.destroy()
        return self._record(session, key)

    async def process(self, request: web.Request, key: str) -> web.Response:
        body = await _json(request)
        session = self._find(body)
        if session is None:
            return self._error(404, "Unknown session id.")
        event = body.get("event")
        if not isinstance(event, dict) or event.get("type") != "session.status":
            return self._error(400, "Only session.status is simulated.")
        return self._record(session, key)

    def _find(self, body: dict[str, Any]) -> SimulatedSession | None:
        session = self._platform.sessions.get(str(body.get("session_id")))
        return None if session is None or session.destroyed else session

    def _record(self, session: SimulatedSession, key: str) -> web.Response:
        return web.json_response(session_record(session, self._platform.base_url, key))

    def _error(self, status: int, message: str) -> web.Response:
        return error_response(self._platform.switches, status, message)


def _most(request: web.Request, allowed: int | None) -> int | None:
    """How many rows to list: `max_items_per_shard` of the one shard that there is, where it is not -1."""
    try:
        asked = int(request.query.get("max_items_per_shard", -1))
    except ValueError:
        asked = -1
    limits = [limit for limit in (asked if asked >= 0 else None, allowed) if limit is not None]
    return min(limits, default=None)


async def _json(request: web.Request) -> dict[str, Any]:
    try:
        body = json.loads(await request.read())
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}
