"""The simulator as a whole: in a test, in the demo, or as a process of its own."""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType

import structlog
from aiohttp import web

from bridge.simulator.connection import Connection
from bridge.simulator.control import control_routes
from bridge.simulator.faults import Endpoint, Refusal
from bridge.simulator.lens_api import lens_routes
from bridge.simulator.listener import Listener
from bridge.simulator.platform import Platform
from bridge.simulator.profiles import Profile
from bridge.simulator.session import SimulatedSession
from bridge.simulator.switches import Closing, Switches

__all__ = ["ServeOptions", "SessionOptions", "Simulator", "serve"]

_log = structlog.get_logger()


class Simulator:
    """An async context manager. Addresses are loopback unless said otherwise; port 0 takes a free port.

    Without ``control_port`` the control API shares the port of the lens API, and is away while that one refuses
    connections. ``base_path`` stands before ``/lens``.
    """

    def __init__(
        self,
        switches: Switches | None = None,
        *,
        api_key: str = "simulated-key",
        host: str = "127.0.0.1",
        port: int = 0,
        control_port: int | None = None,
        base_path: str = "/v0.5",
        seed: int = 1,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._platform = Platform(switches or Switches(), [api_key], seed)
        self._base_path = "/" + base_path.strip("/") if base_path.strip("/") else ""
        lens_app = web.Application()
        lens_app.add_routes(lens_routes(self._platform, self._base_path))
        self._lens = Listener(lens_app, host, port, tls)
        self._control = self._lens
        control_app = lens_app
        if control_port is not None:
            control_app = web.Application()
            self._control = Listener(control_app, host, control_port)
        control_app.add_routes(control_routes(self._platform, self._lens, shared_port=control_port is None))

    async def __aenter__(self) -> Simulator:
        await self._lens.start()
        if self._control is not self._lens:
            await self._control.start()
        self._platform.base_url = self.base_url
        _log.info("simulator.started", base_url=self.base_url, control_url=self.control_url)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._lens.refuse()
        for session in self.sessions.values():
            session.pause()
            session.clear_faults()
            for reader in session.readers:
                reader.stop()
        if self._control is not self._lens:
            await self._control.stop()
        await self._lens.stop()
        _log.info("simulator.stopped")

    @property
    def base_url(self) -> str:
        """What a client takes as its base URL, path included."""
        return self._lens.url + self._base_path

    @property
    def control_url(self) -> str:
        """Where the control API is, path included."""
        return self._control.url + "/control"

    @property
    def api_keys(self) -> list[str]:
        """Valid keys. Change the list to rotate."""
        return self._platform.api_keys

    @property
    def switches(self) -> Switches:
        """The switches of sessions that have none of their own."""
        return self._platform.switches

    @property
    def sessions(self) -> dict[str, SimulatedSession]:
        """All sessions by id, destroyed ones too."""
        return self._platform.sessions

    @property
    def strays(self) -> deque[Connection]:
        """Connects to sessions that do not exist."""
        return self._platform.strays

    def requests(self, endpoint: Endpoint) -> int:
        """How many requests an endpoint got."""
        return self._platform.requests[endpoint]

    def create_session(
        self,
        session_id: str | None = None,
        *,
        profile: Profile | None = None,
        rate: float = 1.0,
        limit: int | None = None,
        seed: int | None = None,
    ) -> SimulatedSession:
        """A running session; with a profile it generates ``rate`` events per second, ``limit`` at most.

        Raises ConfigurationError for an id that is taken or not allowed.
        """
        session = self._platform.create_session(session_id, seed=seed)
        if profile is not None:
            session.play(profile, rate=rate, limit=limit)
        return session

    def change(self, **switches: object) -> None:
        """Set switches for all sessions. Raises ConfigurationError."""
        self._platform.change(**switches)

    def drop_all(self, closing: Closing = Closing.RESET) -> int:
        """Close every open connection now; returns how many there were."""
        return self._platform.drop_all(closing)

    def refuse(self, refusal: Refusal, requests: int = 1) -> None:
        """Answer the next requests to an endpoint with this, whatever session they name."""
        self._platform.refusals.add(refusal, requests)

    def clear_faults(self) -> None:
        """Nothing goes wrong any more; connections that were closed stay closed."""
        self._platform.clear_faults()

    async def stop_accepting(self, seconds: float | None = None) -> None:
        """Refuse new TCP connections, for some time or until `resume_accepting`; open ones stay."""
        await self._lens.refuse(seconds)

    async def resume_accepting(self) -> None:
        """Accept TCP connections again, on the same port."""
        await self._lens.accept()


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionOptions:
    """A session that is there from the beginning."""

    session_id: str
    profile: Profile | None = None
    rate: float = 1.0
    """Events per second of the profile."""
    limit: int | None = None
    """Most events of the profile; None: no end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeOptions:
    """A simulator that runs as a process."""

    host: str = "127.0.0.1"
    port: int = 0
    control_port: int | None = None
    """None: the control API shares ``port``."""
    base_path: str = "/v0.5"
    api_key: str = "simulated-key"
    seed: int = 1
    switches: Switches = field(default_factory=Switches)
    sessions: tuple[SessionOptions, ...] = ()


async def serve(options: ServeOptions, stop: asyncio.Event, ready: Callable[[Simulator], None]) -> None:
    """Run until ``stop`` is set. ``ready`` is called once, when connections are accepted.

    Raises OSError where the port is taken, ConfigurationError for a session id that is not allowed.
    """
    simulator = Simulator(
        options.switches,
        api_key=options.api_key,
        host=options.host,
        port=options.port,
        control_port=options.control_port,
        base_path=options.base_path,
        seed=options.seed,
    )
    async with simulator:
        for one in options.sessions:
            simulator.create_session(one.session_id, profile=one.profile, rate=one.rate, limit=one.limit)
        ready(simulator)
        await stop.wait()
