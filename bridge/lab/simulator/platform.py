"""The simulated service: its sessions, its keys, its switches. No HTTP."""

from __future__ import annotations

import re
import secrets
from collections import Counter, deque
from collections.abc import Iterable, Mapping

import structlog

from bridge.errors import ConfigurationError
from bridge.lab.simulator.lens.connection import Connection
from bridge.lab.simulator.lens.plans import Endpoint, Refusal, Refusals
from bridge.lab.simulator.lens.profiles import Profile
from bridge.lab.simulator.lens.session import SimulatedSession
from bridge.lab.simulator.lens.switches import Closing, Switches, changed_switches

__all__ = ["Platform"]

_SESSION_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_log = structlog.get_logger()


class Platform:
    """Everything behind the endpoints."""

    def __init__(self, switches: Switches, api_keys: Iterable[str], seed: int) -> None:
        self.switches = switches  # of sessions that have none of their own
        self.api_keys = list(api_keys)  # the valid ones
        self.seed = seed
        self.base_url = ""  # what a client takes as its base URL, path included
        self.sessions: dict[str, SimulatedSession] = {}  # destroyed ones too
        self.refusals = Refusals()
        self.strays: deque[Connection] = deque(maxlen=10_000)  # connects to sessions that do not exist
        self.requests: Counter[Endpoint] = Counter()

    def create_session(
        self,
        session_id: str | None = None,
        *,
        lens_id: str = "lns-simulated",
        seed: int | None = None,
        switches: Mapping[str, object] | None = None,
        profile: Profile | None = None,
        rate: float = 1.0,
        limit: int | None = None,
        event_bytes: int = 250,
    ) -> SimulatedSession:
        """A new running session, with switches of its own.

        With a profile it generates ``rate`` events per second, ``limit`` at most; ``event_bytes`` is for SIZED.
        Raises ConfigurationError for an id that is taken or could not stand in a URL, and for a wrong switch.
        """
        identity = f"lsn-{secrets.token_hex(12)}" if session_id is None else session_id
        if not _SESSION_ID.fullmatch(identity):
            raise ConfigurationError(f"session id {identity!r}: use 1 to 128 of A-Z a-z 0-9 . _ : -")
        known = self.sessions.get(identity)
        if known is not None and not known.destroyed:
            raise ConfigurationError(f"session {identity!r} exists; destroy it first")
        session = SimulatedSession(
            identity,
            self.switches,
            lens_id=lens_id,
            seed=self.seed if seed is None else seed,
            api_key=self.api_keys[0] if self.api_keys else "",
        )
        session.change(**switches or {})
        self.sessions[identity] = session
        _log.info("simulator.session_created", session_id=identity, lens_id=lens_id)
        if profile is not None:
            session.play(profile, rate=rate, limit=limit, event_bytes=event_bytes)
        return session

    def change(self, **switches: object) -> None:
        """Set switches for all sessions, present and future. Raises ConfigurationError."""
        self.switches = changed_switches(self.switches, switches)
        for session in self.sessions.values():
            session.use(self.switches)

    def drop_all(self, closing: Closing = Closing.RESET) -> int:
        """Close every open connection now; returns how many there were."""
        return sum(session.drop(closing) for session in self.sessions.values())

    def clear_faults(self) -> None:
        """Nothing goes wrong any more; connections that were closed stay closed."""
        self.refusals.clear()
        for session in self.sessions.values():
            session.clear_faults()

    def refusal_for(self, endpoint: Endpoint, session: SimulatedSession | None) -> Refusal | None:
        """The refusal that this request uses up, if one is waiting."""
        own = session.refusals.take(endpoint) if session is not None else None
        return own or self.refusals.take(endpoint)
