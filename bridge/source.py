"""The lens API over HTTP: open a session's event stream, ask after a session.

What lies below it, TLS and sockets, is `bridge.transport`.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import time
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

import aiohttp
import httpx

from bridge.backoff import TokenBucket
from bridge.credentials import ApiKey, KeyUnavailableError
from bridge.errors import SourceFault
from bridge.events import ConnectOutcome, DisconnectReason
from bridge.outcomes import Active, Closed, Lookup, Over, Refused, Unanswered
from bridge.reconnect import (
    advice_on,
    classify_status,
    error_text,
    is_event_stream,
    is_over,
    retry_after_seconds,
    sendable,
)
from bridge.secrets import Secrets
from bridge.settings import SourceSettings
from bridge.sse import Decoder, ServerSentEvent
from bridge.transport import open_client

__all__ = ["LensSource", "OpenSource"]

_MAX_BODY_BYTES = 64 * 1024  # of an error report or a metadata answer's first part
_MAX_METADATA_BYTES = 16 * 1024 * 1024  # it may list every session of an organisation
_MAX_REDIRECTS = 3
_INFLATE_STEP_BYTES = 64 * 1024
_NETWORK_ERRORS = (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, aiohttp.ClientError, OSError, ValueError)
"""Not every failure is an httpx.TransportError: encoding and URL errors are ValueErrors, TLS errors OSErrors."""


class OpenSource:
    """One open connection. ``resumed``: it was asked to go on after a cursor."""

    def __init__(self, response: httpx.Response, decoder: Decoder, settings: SourceSettings, *, resumed: bool) -> None:
        self.resumed = resumed
        self.bytes_received = 0
        self._response = response
        self._decoder = decoder
        self._chunks: AsyncIterator[bytes] = response.aiter_raw()
        self._event_timeout_seconds = settings.event_timeout_seconds
        self._idle_timeout_seconds = settings.idle_timeout_seconds
        self._waiting_since: float | None = None
        self._giving_up: asyncio.Task[None] | None = None
        self._watch = asyncio.get_running_loop().call_later(self._idle_timeout_seconds, self._check_idle)
        self._incomplete_since: float | None = None
        coding = response.headers.get("content-encoding", "identity").strip().lower()
        self._inflate = zlib.decompressobj(wbits=47) if coding in ("gzip", "deflate") else None
        self._deflated: bytes | None = None  # what is left to inflate; b"" where zlib itself still holds some
        self._unknown_coding = coding if self._inflate is None and coding not in ("", "identity") else None

    @property
    def retry_floor_seconds(self) -> float:
        """What the server's `retry:` field asks for."""
        return (self._decoder.retry_ms or 0) / 1000

    async def read(self) -> list[ServerSentEvent] | Closed:
        """The events of the next chunk (often none), or how the connection ended. Any byte counts as life."""
        if self._unknown_coding:
            return Closed(reason=DisconnectReason.BAD_ENCODING, detail=f"content-encoding {self._unknown_coding!r}")
        self._waiting_since = time.monotonic()
        try:
            chunk = await self._next_bytes()
        except StopAsyncIteration:
            return Closed(reason=DisconnectReason.CLOSED)
        except _NETWORK_ERRORS as error:
            if self._giving_up or isinstance(error, httpx.ReadTimeout):
                detail = "no byte came for source.idle_timeout_seconds"
                return Closed(reason=DisconnectReason.IDLE_TIMEOUT, detail=detail)
            return Closed(reason=DisconnectReason.RESET, detail=_describe(error))
        self._waiting_since = None
        try:
            events = self._decoder.feed(chunk if self._inflate is None else self._inflated(chunk))
        except zlib.error as error:
            return Closed(reason=DisconnectReason.BAD_ENCODING, detail=f"broken gzip: {error}")
        if events or not self._decoder.pending:
            self._incomplete_since = None
        elif self._incomplete_since is None:
            self._incomplete_since = time.monotonic()
        elif time.monotonic() - self._incomplete_since > self._event_timeout_seconds:
            return Closed(reason=DisconnectReason.EVENT_TIMEOUT, detail="one event took too long to arrive")
        return events

    async def aclose(self) -> None:
        """Close the connection; what was not read is left to the server."""
        self._watch.cancel()
        with suppress(*_NETWORK_ERRORS, RuntimeError):
            await self._response.aclose()

    def _check_idle(self) -> None:
        # aiohttp forgets its own time-out after a chunk that it cannot parse; whoever reads would wait for ever.
        waited = 0.0 if self._waiting_since is None else time.monotonic() - self._waiting_since
        loop = asyncio.get_running_loop()
        if waited < self._idle_timeout_seconds:
            self._watch = loop.call_later(self._idle_timeout_seconds - waited, self._check_idle)
        else:
            self._giving_up = loop.create_task(self._response.aclose())  # which ends the read

    async def _next_bytes(self) -> bytes:
        if self._deflated is not None:
            await asyncio.sleep(0)  # others' turn between two steps
            return self._deflated
        chunk = await anext(self._chunks)
        self.bytes_received += len(chunk)
        return chunk

    def _inflated(self, chunk: bytes) -> bytes:
        """The next step of a body that was compressed; the rest waits for the next read.

        A few bytes of a gzip bomb are millions of events, which would meet neither the decoder's caps nor the buffer's.
        """
        if self._inflate is None or self._inflate.eof:
            self._inflate = zlib.decompressobj(wbits=47)  # a body may be several gzip members (RFC 1952, 2.2)
        plain = self._inflate.decompress(chunk, _INFLATE_STEP_BYTES)
        left = self._inflate.unconsumed_tail or self._inflate.unused_data
        self._deflated = left if left or len(plain) == _INFLATE_STEP_BYTES else None
        return plain


class LensSource:
    """The lens API of one base URL and key, for all sessions. Use as an async context manager."""

    def __init__(
        self, settings: SourceSettings, secrets: Secrets, on_key_read: Callable[[bool], None] = lambda read: None
    ) -> None:
        self._settings = settings
        self._secrets = secrets
        self.echoes = Secrets()
        """The keys that were sent, and nothing else: what an event must not bring back to light."""
        self._key = ApiKey(settings, (secrets, self.echoes), on_key_read)
        self._bucket = TokenBucket(
            rate_per_second=settings.connects_per_second, burst=max(1, int(settings.connects_per_second))
        )
        self._base = settings.base_url.rstrip("/")
        self._client: httpx.AsyncClient | None = None

    async def __aenter__(self) -> LensSource:
        self._client = open_client(self._settings)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._client:
            await self._client.aclose()

    async def open(self, session_id: str, cursor: str | None) -> OpenSource | Refused:
        """Connect to a session's stream, after ``cursor`` where there is one. Never raises for the API's faults."""
        headers = {"Accept": "text/event-stream", "Cache-Control": "no-cache", "Accept-Encoding": "identity"}
        last_event_id = sendable(cursor) if cursor else None
        try:
            response = await self._get(f"/lens/sessions/consumer/{session_id}", headers, last_event_id=last_event_id)
        except SourceFault as fault:
            return Refused(outcome=ConnectOutcome(fault.kind), detail=fault.detail)
        return await self._judge(response, last_event_id is not None, cursor)

    def key_changed(self) -> bool:
        """Whether another key is there than the one last sent: a rejected one need not be waited out."""
        return self._key.changed()

    async def lookup(self, session_id: str) -> Lookup:
        """Ask `/lens/sessions/metadata` whether a session is still active. Never raises for the API's faults."""
        query = f"?session_id={session_id}&shard_index=-1&max_items_per_shard=-1"
        try:
            headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
            response = await self._get(f"/lens/sessions/metadata{query}", headers)
            try:
                body = await self._body(response, _MAX_METADATA_BYTES)
            finally:
                await response.aclose()
        except SourceFault as fault:
            return Unanswered(detail=fault.detail)
        if response.status_code in (404, 410):
            return Over(status="unknown")
        if response.status_code != 200:
            return Unanswered(detail=f"{self._where(response)} answers {response.status_code}: {self._words(body)}")
        return _lookup_of(body, session_id)

    async def _get(self, path: str, headers: dict[str, str], *, last_event_id: bytes | None = None) -> httpx.Response:
        """One GET whose body is still to be read. Raises SourceFault; its kind is a ConnectOutcome."""
        assert self._client is not None, "use LensSource as an async context manager"
        await asyncio.sleep(self._bucket.reserve(time.monotonic()))
        try:
            fields = [(name.encode(), value.encode()) for name, value in (headers | self._key.headers()).items()]
            if last_event_id is not None:
                fields.append((b"Last-Event-ID", last_event_id))  # bytes: httpx refuses a str that is not ASCII
            url = httpx.URL(self._base + path)
            for _ in range(_MAX_REDIRECTS):
                response = await self._client.send(self._client.build_request("GET", url, headers=fields), stream=True)
                target = _same_host_target(response)
                if target is None:
                    return response
                await response.aclose()
                url = target
        except KeyUnavailableError as error:
            raise SourceFault(ConnectOutcome.UNAUTHORIZED, str(error)) from error
        except (*_NETWORK_ERRORS, TimeoutError) as error:
            late = isinstance(error, httpx.TimeoutException | TimeoutError) and not _was_refused(error)
            kind = ConnectOutcome.TIMEOUT if late else ConnectOutcome.REFUSED
            text = f"{self._base} cannot be reached: {_describe(error)} - check source.base_url and the network"
            raise SourceFault(kind, text) from error
        raise SourceFault(ConnectOutcome.REJECTED, f"{self._base} redirects more than {_MAX_REDIRECTS} times")

    async def _judge(self, response: httpx.Response, cursor_sent: bool, cursor: str | None) -> OpenSource | Refused:
        status = response.status_code
        content_type = response.headers.get("content-type", "")
        if status == 200 and is_event_stream(content_type):
            decoder = Decoder(self._settings.max_event_bytes, last_event_id=cursor or "")
            return OpenSource(response, decoder, self._settings, resumed=cursor_sent)
        try:
            body = await self._body(response, _MAX_BODY_BYTES)
        except SourceFault as fault:
            body = fault.detail.encode()
        finally:
            await response.aclose()
        if status == 200:
            detail = f"{self._where(response)} answers 200 with {content_type or 'no media type'}: {self._words(body)}"
            return Refused(outcome=ConnectOutcome.BAD_RESPONSE, status=status, detail=detail)
        outcome = classify_status(status, cursor_sent=cursor_sent)
        detail = f"{self._where(response)} answers {status}: {self._words(body)}"
        detail += advice_on(outcome, key_configured=self._key.configured)
        if response.next_request is not None:
            detail += f" - redirects to another host are not followed: {response.next_request.url.host}"
        retry_after = retry_after_seconds(response.headers.get("retry-after"))
        return Refused(outcome=outcome, status=status, detail=detail, retry_after_seconds=retry_after)

    async def _body(self, response: httpx.Response, limit: int) -> bytes:
        body = bytearray()
        try:
            async with asyncio.timeout(self._settings.connect_timeout_seconds):
                async for chunk in response.aiter_raw():
                    body += chunk
                    if len(body) >= limit:
                        break
        except (*_NETWORK_ERRORS, TimeoutError) as error:
            raise SourceFault(
                ConnectOutcome.REFUSED, f"{self._base} broke off its answer: {_describe(error)}"
            ) from error
        return bytes(body[:limit])

    def _where(self, response: httpx.Response) -> str:
        return str(response.request.url.copy_with(query=None))

    def _words(self, body: bytes) -> str:
        # An error report may quote the request, and with it the key.
        return self._secrets.mask(error_text(self._secrets.mask_bytes(body))) or "(no text)"


def _lookup_of(body: bytes, session_id: str) -> Lookup:
    try:
        answer: Any = json.loads(body)
    except (ValueError, RecursionError):
        return Unanswered(detail="the metadata endpoint did not answer with JSON")
    if isinstance(answer, dict) and "session_id" not in answer:
        answer = answer.get("sessions", answer.get("metadata"))
    sessions = answer if isinstance(answer, list) else [answer]
    if not all(isinstance(entry, dict) and "session_id" in entry for entry in sessions):
        # An error in the shape of an answer, for one: it must not end a session.
        return Unanswered(detail="the metadata endpoint did not answer with a list of sessions")
    for entry in sessions:
        if entry["session_id"] == session_id:
            status = str(entry.get("session_status", ""))
            return Over(status=status) if is_over(status) else Active(status=status)
    return Over(status="unknown")


def _same_host_target(response: httpx.Response) -> httpx.URL | None:
    if response.status_code not in (301, 302, 307, 308) or "location" not in response.headers:
        return None
    here = response.request.url
    try:
        there = here.join(response.headers["location"])
    except httpx.InvalidURL:
        return None
    return there if (there.scheme, there.host, there.port) == (here.scheme, here.host, here.port) else None


def _was_refused(error: BaseException) -> bool:
    # The transport reports a refused or hung-up connection as a time-out; the cause tells the truth.
    return isinstance(error.__cause__, aiohttp.ClientConnectionError) and not isinstance(error.__cause__, TimeoutError)


def _describe(error: BaseException) -> str:
    cause = error.__cause__ if isinstance(error.__cause__, aiohttp.ClientError | OSError) else error
    if isinstance(cause, aiohttp.ClientConnectorError) and not isinstance(cause, ssl.SSLError):
        cause = cause.os_error  # its own text speaks of ssl:default where there is no TLS
    if isinstance(cause, aiohttp.ClientPayloadError):
        return "the connection broke off in the middle of the stream"  # its own text speaks of HTTP chunks
    text = " ".join(str(cause).split())
    if "WRONG_VERSION_NUMBER" in text or "RECORD_LAYER_FAILURE" in text:  # OpenSSL's words, before and since 3.5
        text += " - it does not speak TLS: is it http://?"
    return f"{type(cause).__name__}: {text}" if text else type(cause).__name__
