"""The lens API: is it there, does it take the key, what does one session's stream bring. Asked as a worker asks."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from urllib.parse import urlsplit

from bridge.errors import ConfigurationError, SinkFault
from bridge.masking import Secrets
from bridge.model.labels import ConnectOutcome
from bridge.model.outcomes import Refused
from bridge.model.place import Session
from bridge.operations.doctor.channel import channel_line, outputs_of, session_lines, stream_line
from bridge.operations.doctor.fitness import certificate_line, clock_line, date_in
from bridge.operations.doctor.lines import Level, Tell, fault, from_words, ok, warn
from bridge.operations.doctor.network import connect, is_address, reason_of, resolve
from bridge.operations.doctor.readers import Ear, Known, Readers, chosen, discovery_line, found_in
from bridge.settings import Settings
from bridge.source.client import LensClient
from bridge.source.faults import describe
from bridge.source.proxies import ProxyChoice, choose_proxy
from bridge.source.transport import tls_context
from bridge.store.fleet.registry import certainly_ahead

__all__ = ["Api", "Listening"]

_REMEDIES = {
    ConnectOutcome.NOT_FOUND: "check source.base_url, with its path (/v0.5)",  # no session was asked after
    ConnectOutcome.RATE_LIMITED: "wait; workers try again by themselves. Where it lasts, raise "
    "discovery.interval_seconds and lower source.connects_per_second",
    ConnectOutcome.SERVER_ERROR: "wait; workers try again by themselves",
}
_PORTS = {"http": 80, "https": 443}
_LATE_SECONDS = 2.0  # an event may still be on its way when its number is told already
_MOST_LOOKED_AT = 20  # sessions, for one that nobody reads


@dataclass(frozen=True, slots=True, kw_only=True)
class Listening:
    """How long to listen to one session, and to which, by name or id: None for the first that no worker reads, else the
    first.

    ``opens``: whether a stream may be opened at all. One that a worker reads never is; one of which nobody can tell is
    where a person has named it.
    """

    seconds: float
    session: str | None = None
    opens: bool = True


class Api:
    """``readers`` knows which worker reads what; None where Redis cannot be asked."""

    def __init__(self, settings: Settings, secrets: Secrets, readers: Readers | None) -> None:
        self._settings = settings.source
        self._rules = settings.discovery
        self._secrets = secrets
        self._readers = readers

    async def examine(self, known: Sequence[Known], listening: Listening, tell: Tell) -> None:
        """All of it, as far as one thing does not stand in the way of the next."""
        try:
            given = self._settings.proxy.get_secret_value() if self._settings.proxy else None
            proxy = choose_proxy(self._settings.base_url, given, os.environ)
            tell(ok("api.proxy", f"via {proxy.address}, by {proxy.origin}" if proxy else "none: directly"))
            if not await self._reached(proxy, tell):
                return
            async with LensClient(self._settings, self._secrets) as client:
                found = await self._let_in(client, known, tell)
                if found is not None:
                    await self._listened(client, [*known, *found], listening, tell)
        except ConfigurationError as error:
            tell(from_words(Level.FAULT, "configuration", str(error)))

    async def _reached(self, proxy: ProxyChoice | None, tell: Tell) -> bool:
        """Name, port and TLS of the API, or of the proxy, which does the rest."""
        parts = urlsplit(proxy.address if proxy else self._settings.base_url)
        host, port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
        where, setting = f"{host}:{port}", proxy.origin if proxy else "source.base_url"
        seconds = self._settings.connect_timeout_seconds
        if not is_address(host):
            try:
                addresses = await resolve(host, seconds)
            except OSError as error:
                detail = f"the name {host} leads nowhere: {reason_of(error)}"
                tell(fault("api.dns", detail, f"check {setting}, and the name server"))
                return False
            tell(ok("api.dns", f"{host} is {', '.join(addresses[:3])}{' and more' if len(addresses) > 3 else ''}"))
        try:
            reached = await connect(host, port, seconds)
        except OSError as error:
            tell(fault("api.tcp", f"{where}: {reason_of(error)}", f"check {setting}, the network and its policies"))
            return False
        tell(ok("api.tcp", f"{where}: connected within {reached.seconds * 1000:.1f} ms"))
        if parts.scheme != "https":
            return True
        try:
            reached = await connect(host, port, seconds, tls_context(self._settings, proxy))
        except OSError as error:
            tell(from_words(Level.FAULT, "api.tls", f"{where}: {describe(error)}"))
            return False
        tell(certificate_line("api.tls", where, reached.tls or "TLS", reached.good_until, datetime.now(UTC)))
        return True

    async def _let_in(self, client: LensClient, known: Sequence[Known], tell: Tell) -> list[Known] | None:
        """Whether the API takes the key, what time it has, and what it knows of the sessions; gives what it lists
        besides to discovery, None where it answers nothing."""
        began, sent = time.monotonic(), time.time()
        answer = await client.metadata()
        took = time.monotonic() - began
        if isinstance(answer, Refused):
            of_key = answer.outcome is ConnectOutcome.UNAUTHORIZED
            line = from_words(Level.FAULT, "api.key" if of_key else "api.answer", answer.detail)
            if remedy := _REMEDIES.get(answer.outcome):
                line = replace(line, remedy=remedy)
            tell(line)
            return None
        has_key = self._settings.api_key or self._settings.api_key_file
        tell(ok("api.key", "the API takes the key" if has_key else "the API asks for no key"))
        if (date := date_in(answer.date)) is not None:
            # A date is told in whole seconds, so it may be up to one more.
            tell(clock_line("api.clock", "the API", certainly_ahead(date - sent, took + 1)))
        named = {one.session.session_id: one.session.name for one in known if one.origin != "discovered"}
        for line in session_lines(answer.body, named, over={one.session.session_id for one in known if one.over}):
            tell(line)
        found = found_in(answer.body, self._rules, known)
        if self._rules.enabled:
            tell(discovery_line(found, known))
        return found

    async def _listened(self, client: LensClient, known: Sequence[Known], listening: Listening, tell: Tell) -> None:
        """To one session: of several that read one, each may get a part only, so none is taken from a worker."""
        one, reader = await self._whom(known, listening)
        if one is None:
            return
        session = one.session
        if reader is None or (not reader and not listening.opens):
            why = "Redis cannot tell whether a worker reads it" if reader is None else "nothing was to be tried out"
            remedy = f"--session {session.name} opens it all the same" if reader is None else "leave out --no-trial"
            tell(warn("api.stream", f"{one.label}: its stream was not opened, since {why}", remedy))
            return
        before = await self._outputs(client, session)
        if reader and self._readers:
            heard = await self._readers.watch(session, reader, listening.seconds)
            after = await self._outputs(client, session)
        else:
            opened = await client.open(session.session_id, None)
            if isinstance(opened, Refused):
                tell(from_words(Level.FAULT, "api.stream", f"{one.label}: {opened.detail}"))
                return
            async with AsyncExitStack() as stack:
                ear = Ear(opened)
                stack.push_async_callback(ear.aclose)
                heard = await ear.listen(listening.seconds)
                after = await self._outputs(client, session)
                if not heard.events and after != before:
                    heard = await ear.listen(_LATE_SECONDS)
        tell(stream_line(one.label, heard))
        if line := channel_line(one.label, heard, before, after):
            tell(line)

    async def _whom(self, known: Sequence[Known], listening: Listening) -> tuple[Known | None, str | None]:
        """A session and the worker that reads it: "" for nobody; None where nobody can tell and none was named."""
        speaking = [one for one in known if not (one.over or one.paused)]
        asked = [chosen(listening.session, known)] if listening.session else speaking[:_MOST_LOOKED_AT]
        if not asked:
            return None, None
        untold = "" if listening.session else None
        if self._readers is None:
            return asked[0], untold
        readers = {}
        try:
            for one in asked:
                readers[one] = await self._readers.of(one.session)
                if not readers[one]:
                    return one, ""
        except SinkFault:  # not permitted, or a key of another type; what is wrong is told above
            return asked[0], untold
        return asked[0], readers[asked[0]]

    async def _outputs(self, client: LensClient, session: Session) -> int | None:
        answer = await client.metadata(session.session_id)
        return None if isinstance(answer, Refused) else outputs_of(answer.body, session.session_id)
