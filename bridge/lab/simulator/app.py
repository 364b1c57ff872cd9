"""The simulator as a whole: in a test, in the demo, or as a process of its own."""

from __future__ import annotations

import email.utils
import time
from types import TracebackType

import structlog
from aiohttp import web

from bridge.lab.simulator import control
from bridge.lab.simulator.lens.plans import Refusal
from bridge.lab.simulator.lens.switches import Switches
from bridge.lab.simulator.lens_api import lens_routes
from bridge.lab.simulator.listener import Listener
from bridge.lab.simulator.manual import manual
from bridge.lab.simulator.platform import Platform

__all__ = ["Simulator"]

_BASE_PATH = "/v0.5"
_log = structlog.get_logger()


class Simulator(Platform):
    """The service on its ports, as an async context manager. Loopback unless said otherwise; port 0 takes a free one.

    Without ``control_port`` the control API shares the port of the lens API, and is away while that one refuses
    connections.
    """

    def __init__(
        self,
        switches: Switches | None = None,
        *,
        api_key: str = "simulated-key",
        host: str = "127.0.0.1",
        port: int = 0,
        control_port: int | None = None,
        seed: int = 1,
    ) -> None:
        super().__init__(switches or Switches(), [api_key], seed)
        lens_app = web.Application()
        lens_app.add_routes(lens_routes(self, _BASE_PATH))
        lens_app.on_response_prepare.append(self._stamp)
        self._lens = Listener(lens_app, host, port)
        self._control = self._lens
        self.control_url = ""
        control_app = lens_app
        if control_port is not None:
            control_app = web.Application()
            self._control = Listener(control_app, host, control_port)
        control_app.add_routes(control.routes(self, self._lens, shared_port=control_port is None))
        for app in {lens_app, control_app}:
            app.add_routes([manual(control.__doc__ or "", lambda: (self.base_url, self.control_url))])

    async def __aenter__(self) -> Simulator:
        await self._lens.start()
        if self._control is not self._lens:
            await self._control.start()
        self.base_url = self._lens.url + _BASE_PATH
        self.control_url = self._control.url + "/control"
        _log.info("simulator.started", base_url=self.base_url, control_url=self.control_url)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._lens.refuse()
        for session in self.sessions.values():
            session.pause()
            session.clear_faults()
            for stream in session.readers:
                stream.stop()
        if self._control is not self._lens:
            await self._control.stop()
        await self._lens.stop()
        _log.info("simulator.stopped")

    async def _stamp(self, request: web.Request, response: web.StreamResponse) -> None:
        response.headers["Date"] = email.utils.formatdate(time.time() + self.switches.clock_ahead_seconds, usegmt=True)

    def refuse(self, refusal: Refusal) -> None:
        """Answer the next requests to an endpoint with this, whatever session they name."""
        refusal.apply(self)

    async def stop_accepting(self, seconds: float | None = None) -> None:
        """Refuse new TCP connections, for some time or until `resume_accepting`; open ones stay."""
        await self._lens.refuse(seconds)

    async def resume_accepting(self) -> None:
        """Accept TCP connections again, on the same port."""
        await self._lens.accept()
