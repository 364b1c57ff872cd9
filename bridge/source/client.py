"""The lens API over HTTP: open a session's event stream, ask after a session.

What lies below it, TLS and sockets, is `bridge.source.transport`; an open stream is `bridge.source.stream`.
"""

from __future__ import annotations

import asyncio
import os
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import NamedTuple

import httpx

from bridge.backoff import Pace
from bridge.delivery.complaints import error_text
from bridge.masking import Secrets
from bridge.model.labels import ConnectOutcome
from bridge.model.outcomes import Listed, Lookup, Refused, Unanswered
from bridge.settings import SourceSettings
from bridge.source.answers import (
    advice_on,
    classify_status,
    content_coding,
    is_event_stream,
    listed_in,
    looks_like_events,
    media_type,
    retry_after_seconds,
    sendable,
    sessions_in,
)
from bridge.source.credentials import ApiKey, KeyUnavailableError
from bridge.source.faults import NETWORK_ERRORS, SourceFault, describe, refusal_of
from bridge.source.inflate import inflater_of
from bridge.source.lookups import Answer, Lookups
from bridge.source.proxies import ProxyChoice, choose_proxy
from bridge.source.sse import Decoder
from bridge.source.stream import LensStream
from bridge.source.transport import open_client
from bridge.source.turns import Turns

__all__ = ["LensClient", "Metadata"]

_MAX_BODY_BYTES = 64 * 1024  # of an error report
_MAX_METADATA_BYTES = 16 * 1024 * 1024  # it may list every session of an organisation
_MAX_REDIRECTS = 3
_MOST_UNDER_WAY = 32  # connections that are being opened, while sessions are handed over
_STREAM = {"Accept": "text/event-stream", "Cache-Control": "no-cache", "Accept-Encoding": "identity"}
_NOBODY = b"[]"
_JSON = {"Accept": "application/json", "Accept-Encoding": "identity"}


class Metadata(NamedTuple):
    """An answer of the metadata endpoint. ``date`` is its header of that name, "" where it has none."""

    body: bytes
    date: str


class _Body(NamedTuple):
    """What was read of a body. ``fault``: why that is not all of it."""

    content: bytes
    fault: str = ""


class LensClient:
    """The lens API of one base URL and key, for all sessions. Use as an async context manager.

    ``on_key_read`` hears at each use of a key file why it is of no use, or None; a file is looked at every
    ``key_poll_seconds`` while a session waits for another key.
    """

    def __init__(
        self,
        settings: SourceSettings,
        secrets: Secrets,
        on_key_read: Callable[[str | None], None] = lambda fault: None,
        *,
        key_poll_seconds: float = 1.0,
    ) -> None:
        self._settings = settings
        self._secrets = secrets
        self.sent_keys = Secrets()
        """The keys that were sent, and nothing else: what an event must not bring back to light."""
        self._key = ApiKey(settings, (secrets, self.sent_keys), on_key_read)
        self._key_poll_seconds = key_poll_seconds
        self._turns = Turns(Pace(steady_per_second=settings.connects_per_second))
        self._opening = 0
        self._lookups = Lookups(self._ask)
        self._base = settings.base_url.rstrip("/")
        self._proxy: ProxyChoice | None = None
        self._client: httpx.AsyncClient | None = None

    async def __aenter__(self) -> LensClient:
        """Raises ConfigurationError for a CA file or a proxy's address that is none."""
        configured = self._settings.proxy.get_secret_value() if self._settings.proxy else None
        self._proxy = choose_proxy(self._base, configured, os.environ)
        if self._proxy is not None and self._proxy.credentials is not None:
            user, password = self._proxy.credentials
            self._secrets.add(password, "source.proxy")
            self._secrets.add(f"{user}:{password}", "source.proxy")  # as Basic sends it, also of a short password
        self._client = open_client(self._settings, self._proxy)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._lookups.aclose()
        await self._turns.aclose()
        if self._client:
            await self._client.aclose()

    def use(self, settings: SourceSettings) -> None:
        """Take the API key from these from the next connection on; all else stays as it was.

        A file is read at once, so that ``on_key_read`` hears before a connection needs it.
        """
        self._key.use(settings)
        with suppress(KeyUnavailableError):
            self._key.headers()

    async def turn(self) -> None:
        """Wait until one more connection may be opened; all sessions share one pace (``connects_per_second``)."""
        await self._turns.take()

    @property
    def capacity(self) -> int:
        """How many more sessions could begin to be read now: what the pace allows, and few enough under way at once
        that none of them takes long."""
        return max(0, min(self._turns.free, _MOST_UNDER_WAY - self._turns.waiting - self._opening))

    async def open(self, session_id: str, cursor: str | None) -> LensStream | Refused:
        """Connect to a session's stream, after ``cursor`` where there is one. Never raises for the API's faults."""
        self._opening += 1
        try:
            return await self._open(session_id, cursor)
        finally:
            self._opening -= 1

    async def _open(self, session_id: str, cursor: str | None) -> LensStream | Refused:
        last_event_id = sendable(cursor) if cursor else None
        try:
            headers = _STREAM | self._key.headers()
        except KeyUnavailableError as error:
            outcome = ConnectOutcome.UNAUTHORIZED
            return Refused(outcome=outcome, detail=str(error), key_version=self._key.version)
        key_version = self._key.version  # now: another session may have found another key before the answer comes
        try:
            response = await self._get(f"/lens/sessions/consumer/{session_id}", headers, last_event_id)
        except SourceFault as fault:
            return replace(fault.refused, key_version=key_version)
        if response.status_code == 200 and is_event_stream(response.headers.get_list("content-type")):
            decoder = Decoder(self._settings.max_event_bytes, last_event_id=cursor or "")
            return LensStream(response, decoder, self._settings, resumed=last_event_id is not None)
        refused = await self._refusal(response, cursor_sent=last_event_id is not None)
        return replace(refused, key_version=key_version)

    async def wait_for_key(self, since: int, at_most_seconds: float) -> None:
        """Wait until there is another key than that of version ``since`` (`Refused.key_version`), but not for ever."""
        until = time.monotonic() + at_most_seconds
        while (left := until - time.monotonic()) > 0 and not self._key.changed(since):  # noqa: ASYNC110  no event tells
            await asyncio.sleep(min(self._key_poll_seconds, left))

    async def metadata(self, session_id: str | None = None) -> Metadata | Refused:
        """What the metadata endpoint answers about a session, or about all; for who diagnoses. Never raises."""
        query = f"?session_id={session_id or ''}&shard_index=-1&max_items_per_shard=-1"
        try:
            response = await self._get(f"/lens/sessions/metadata{query}", _JSON | self._key.headers())
        except KeyUnavailableError as error:
            return Refused(outcome=ConnectOutcome.UNAUTHORIZED, detail=str(error))
        except SourceFault as fault:
            return fault.refused
        if response.status_code != 200:
            return await self._refusal(response, cursor_sent=False)
        body = await self._body(response, _MAX_METADATA_BYTES)
        return Metadata(body=body.content, date=response.headers.get("date", ""))

    async def lookup(self, session_id: str) -> Lookup:
        """Ask `/lens/sessions/metadata` whether a session is still active. Never raises for the API's faults.

        Sessions that ask at about the same time share an answer, which may be two seconds old.
        """
        return await self._lookups.of(session_id)

    async def listing(self) -> tuple[Listed, ...] | Unanswered:
        """Ask `/lens/sessions/metadata` for all sessions. Never raises for the API's faults."""
        body = await self._metadata(None)
        return body if isinstance(body, Unanswered) else listed_in(body)

    async def _ask(self, session_id: str | None) -> Answer:
        body = await self._metadata(session_id)
        return body if isinstance(body, Unanswered) else sessions_in(body)

    async def _metadata(self, session_id: str | None) -> bytes | Unanswered:
        query = f"?session_id={session_id or ''}&shard_index=-1&max_items_per_shard=-1"
        try:
            response = await self._get(f"/lens/sessions/metadata{query}", _JSON | self._key.headers())
        except KeyUnavailableError as error:
            return Unanswered(detail=str(error))
        except SourceFault as fault:
            return Unanswered(detail=fault.refused.detail)
        body = await self._body(response, _MAX_METADATA_BYTES)
        if response.status_code in (404, 410):
            return _NOBODY if session_id is not None else Unanswered(detail=f"{self._where(response)} is not found")
        if response.status_code != 200:
            detail = f"{self._where(response)} answers {response.status_code}: {self._words(body)}"
            later = retry_after_seconds(response.headers.get("retry-after"))
            return Unanswered(detail=detail, retry_after_seconds=later)
        if body.fault:
            return Unanswered(detail=f"{self._base} broke off its answer: {body.fault}")
        return body.content

    async def _get(self, path: str, headers: dict[str, str], last_event_id: bytes | None = None) -> httpx.Response:
        """One GET whose body is still to be read. Raises SourceFault."""
        assert self._client is not None, "use LensClient as an async context manager"
        fields = [(name.encode(), value.encode()) for name, value in headers.items()]
        if last_event_id is not None:
            fields.append((b"Last-Event-ID", last_event_id))  # bytes: httpx refuses a str that is not ASCII
        try:
            url = httpx.URL(self._base + path)
            for _ in range(_MAX_REDIRECTS):
                response = await self._send(self._client, self._client.build_request("GET", url, headers=fields))
                target = _same_host_target(response)
                if target is None:
                    return response
                await response.aclose()
                url = target
        except (*NETWORK_ERRORS, TimeoutError) as error:
            refused = refusal_of(error, self._base, self._proxy.address if self._proxy else None)
            raise SourceFault(replace(refused, detail=self._secrets.mask(refused.detail))) from error
        detail = f"{self._base} redirects more than {_MAX_REDIRECTS} times"
        raise SourceFault(Refused(outcome=ConnectOutcome.REJECTED, detail=detail))

    async def _send(self, client: httpx.AsyncClient, request: httpx.Request) -> httpx.Response:
        """Up to the end of the response header, which has a deadline as a whole: it may come drop by drop."""
        seconds = self._settings.connect_timeout_seconds + self._settings.idle_timeout_seconds
        try:
            async with asyncio.timeout(seconds) as deadline:
                response = await client.send(request, stream=True)
        except TimeoutError as error:
            if not deadline.expired():
                raise
            detail = f"{self._base}{self._via} has sent no whole response header after {seconds:g} s"
            raise SourceFault(Refused(outcome=ConnectOutcome.TIMEOUT, detail=detail)) from error
        if response.status_code in (429, 503) and (response.status_code == 429 or "retry-after" in response.headers):
            self._turns.complained()
        return response

    async def _refusal(self, response: httpx.Response, *, cursor_sent: bool) -> Refused:
        status, types = response.status_code, response.headers.get_list("content-type")
        body = _Body(b"") if is_event_stream(types) else await self._body(response, _MAX_BODY_BYTES)
        await response.aclose()
        if status == 200:
            words = "a body that goes on" if body.fault else self._words(body)
            detail = f"{self._where(response)} answers 200 with {media_type(types) or 'no media type'}: {words}"
            return Refused(outcome=ConnectOutcome.BAD_RESPONSE, status=status, detail=detail)
        outcome = classify_status(status, cursor_sent=cursor_sent)
        detail = f"{self._where(response)} answers {status}: {self._words(body)}"
        if status == 407:
            proxy = f"proxy {self._proxy.address} refuses our" if self._proxy else "a proxy on the way wants"
            detail += f" - {proxy} credentials: check user and password in source.proxy or HTTP_PROXY"
        else:
            detail += advice_on(outcome, key_configured=self._key.configured)
        if response.next_request is not None:
            detail += f" - redirects to another host are not followed: {response.next_request.url.host}"
        retry_after = retry_after_seconds(response.headers.get("retry-after"))
        return Refused(outcome=outcome, status=status, detail=detail, retry_after_seconds=retry_after)

    async def _body(self, response: httpx.Response, limit: int) -> _Body:
        """Up to ``limit`` bytes within the time that a connection may take, undone where they are compressed."""
        coding = content_coding(response.headers.get("content-encoding", ""))
        inflater = inflater_of(coding)
        if coding and inflater is None:
            await response.aclose()
            return _Body(b"", f"content-encoding {coding!r} cannot be undone")
        body = bytearray()
        try:
            async with asyncio.timeout(self._settings.connect_timeout_seconds):
                async for chunk in response.aiter_raw():
                    for part in inflater.steps(chunk) if inflater else (chunk,):
                        body += part
                        if len(body) >= limit:
                            return _Body(bytes(body[:limit]), f"it has more than {limit} bytes")
        except (*NETWORK_ERRORS, TimeoutError, zlib.error) as error:
            return _Body(bytes(body), describe(error))
        finally:
            await response.aclose()
        return _Body(bytes(body))

    @property
    def _via(self) -> str:
        return f" via proxy {self._proxy.address}" if self._proxy else ""

    def _where(self, response: httpx.Response) -> str:
        return f"{response.request.url.copy_with(query=None)}{self._via}"

    def _words(self, body: _Body) -> str:
        if looks_like_events(body.content):
            return "(an event stream)"  # a payload is no error report
        # An error report may quote the request, and with it the key.
        masked = self._secrets.mask(error_text(self._secrets.mask_bytes(body.content)))
        return masked or (f"({body.fault})" if body.fault else "(no text)")


def _same_host_target(response: httpx.Response) -> httpx.URL | None:
    if response.status_code not in (301, 302, 307, 308) or "location" not in response.headers:
        return None
    here = response.request.url
    try:
        there = here.join(response.headers["location"])
    except httpx.InvalidURL:
        return None
    return there if (there.scheme, there.host, there.port) == (here.scheme, here.host, here.port) else None
