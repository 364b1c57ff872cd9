"""The lens API over real sockets: what is asked, and what each answer is taken for."""

from __future__ import annotations

import asyncio
import gc
import gzip
import json
import socket
import weakref
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from bridge.errors import ConfigurationError
from bridge.masking import Secrets
from bridge.model.labels import ConnectOutcome, DisconnectReason
from bridge.model.outcomes import Active, Closed, Lookup, Over, Refused, Unanswered
from bridge.model.records import PlainEvents
from bridge.settings import SourceSettings
from bridge.source.client import LensClient
from bridge.source.sse import ServerSentEvent
from bridge.source.stream import LensStream
from tests.support.fakes import HOST, FakeApi, answer, fake_api, listening, stream_head

KEY = "atai-a-very-secret-key"
EVENT = b'id: 1\ndata: {"type":"t"}\n\n'


@asynccontextmanager
async def source_of(base_url: str, **settings: Any) -> AsyncIterator[LensClient]:
    """A source with the key, unless told otherwise."""
    given = {"api_key": None if "api_key_file" in settings else KEY, "connects_per_second": 1000, **settings}
    secrets = Secrets()
    secrets.add(KEY)
    made = SourceSettings.model_validate({"base_url": base_url, **given})
    async with LensClient(made, secrets, key_poll_seconds=0.01) as source:
        yield source


async def opened(base_url: str, cursor: str | None = None, **settings: Any) -> LensStream | Refused:
    """Connect once, and close again."""
    async with source_of(base_url, **settings) as source, asyncio.timeout(20):
        result = await source.open("lsn-1", cursor)
        if isinstance(result, LensStream):
            await result.aclose()
        return result


async def refused(response: bytes, cursor: str | None = None) -> Refused:
    """What this answer is taken for."""
    async with fake_api(response) as api:
        result = await opened(api.base_url, cursor)
    assert isinstance(result, Refused)
    assert KEY not in result.detail
    assert result.detail.isprintable()
    return result


async def read_all(response: bytes, **settings: Any) -> tuple[list[ServerSentEvent], Closed]:
    """All that comes over one connection, and how it ended. The server hangs up after its answer."""
    async with fake_api(response) as api, source_of(api.base_url, **settings) as source, asyncio.timeout(30):
        connection = await source.open("lsn-1", None)
        assert isinstance(connection, LensStream), connection
        return await drain(connection)


async def drain(connection: LensStream) -> tuple[list[ServerSentEvent], Closed]:
    """Take all as a session does: what has come is read, and what comes then flows."""
    events: list[ServerSentEvent] = []

    def take(found: PlainEvents | list[ServerSentEvent]) -> bool:
        events.extend(found.events() if isinstance(found, PlainEvents) else found)
        return True

    while not isinstance(found := await connection.read(), Closed):
        take(found)
        await connection.flow(take)
    await connection.aclose()
    return events, found


# What is asked


async def test_the_request_is_the_documented_one() -> None:
    """Path, key and headers; no compression, no cookies, no Last-Event-ID without a cursor."""
    async with fake_api(stream_head()) as api:
        result = await opened(api.base_url)
    assert isinstance(result, LensStream)
    assert not result.resumed
    assert api.requests[0].startswith(b"GET /v0.5/lens/sessions/consumer/lsn-1 HTTP/1.1\r\n")
    assert api.header("Accept") == b"text/event-stream"
    assert api.header("Cache-Control") == b"no-cache"
    assert api.header("Accept-Encoding") == b"identity"
    assert api.header("Authorization") == b"Bearer " + KEY.encode()
    assert api.header("Last-Event-ID") is None
    assert api.header("Cookie") is None


@pytest.mark.parametrize(
    ("cursor", "sent"),
    [
        ("42", b"42"),
        ("h\u00e9", b"h\xc3\xa9"),
        ("\u6f22\u5b57", b"\xe6\xbc\xa2\xe5\xad\x97"),
        ("\U0001f600", b"\xf0\x9f\x98\x80"),
        ("a b\tc", b"a b\tc"),
        ("  outer ", b"outer"),
        ("a,b:c;d", b"a,b:c;d"),
        ("x" * 4000, b"x" * 4000),
    ],
)
async def test_a_cursor_is_sent_as_its_bytes(cursor: str, sent: bytes) -> None:
    """Whatever characters an id has."""
    async with fake_api(stream_head()) as api:
        result = await opened(api.base_url, cursor)
    assert isinstance(result, LensStream)
    assert result.resumed
    assert api.header("Last-Event-ID") == sent


@pytest.mark.parametrize("cursor", ["", " ", "a\x0bb", "a\x0cb", "a\x00b", "\x7f", "a\x1bb", "a\rb", "a\nX-Evil: 1"])
async def test_a_cursor_that_no_header_can_carry_is_not_sent(cursor: str) -> None:
    """The connection stands all the same, and is known not to be resumed."""
    async with fake_api(stream_head()) as api:
        result = await opened(api.base_url, cursor)
    assert isinstance(result, LensStream)
    assert not result.resumed
    assert api.header("Last-Event-ID") is None
    assert api.header("X-Evil") is None


async def test_without_a_key_no_authorization_is_sent() -> None:
    """A simulator, or a proxy that adds it."""
    async with fake_api(stream_head()) as api:
        await opened(api.base_url, api_key=None)
    assert api.header("Authorization") is None


# Statuses


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (201, "rejected"),
        (204, "no_content"),
        (400, "rejected"),
        (401, "unauthorized"),
        (402, "rejected"),
        (403, "unauthorized"),
        (404, "not_found"),
        (409, "not_ready"),
        (410, "not_found"),
        (413, "rejected"),
        (422, "rejected"),
        (425, "not_ready"),
        (429, "rate_limited"),
        (500, "server_error"),
        (502, "server_error"),
        (503, "server_error"),
        (599, "server_error"),
    ],
)
async def test_each_status_has_its_outcome(status: int, outcome: str) -> None:
    """And is named in the error, with the place."""
    result = await refused(answer(status, b"" if status == 204 else b'{"detail": "because"}'))
    assert (result.outcome, result.status) == (outcome, status)
    assert f"answers {status}: " in result.detail
    assert "/v0.5/lens/sessions/consumer/lsn-1" in result.detail


@pytest.mark.parametrize("status", [400, 412, 413, 416, 422, 431])
async def test_some_statuses_are_about_the_cursor_where_one_was_sent(status: int) -> None:
    """They go away without it."""
    assert (await refused(answer(status, b"{}"), "42")).outcome is ConnectOutcome.CURSOR_REFUSED
    assert (await refused(answer(status, b"{}"), "\x00")).outcome is ConnectOutcome.REJECTED


# Media types


@pytest.mark.parametrize(
    "content_type",
    [
        "text/event-stream",
        "text/event-stream; charset=utf-8",
        "TEXT/Event-Stream ;x=1",
        "text/event-stream;charset=latin-1",
    ],
)
async def test_an_event_stream_is_known_whatever_its_parameters(content_type: str) -> None:
    """The standard ignores them."""
    events, closed = await read_all(stream_head(content_type) + EVENT)
    assert [event.id for event in events] == ["1"]
    assert closed.reason is DisconnectReason.CLOSED


@pytest.mark.parametrize("content_type", ["", "application/json", "text/plain", "text/event-stream-not", "text/html"])
async def test_anything_else_with_200_is_no_stream(content_type: str) -> None:
    """Not one byte of it counts as an event."""
    result = await refused(answer(200, b'{"type": "error", "message": "Unknown session id"}', content_type))
    assert (result.outcome, result.status) == (ConnectOutcome.BAD_RESPONSE, 200)
    assert "Unknown session id" in result.detail
    assert (content_type or "no media type") in result.detail


async def test_an_error_with_an_event_stream_body_is_no_stream() -> None:
    """The status comes first."""
    assert (await refused(answer(500, EVENT, "text/event-stream"))).outcome is ConnectOutcome.SERVER_ERROR


@pytest.mark.parametrize("types", [("text/plain", "text/event-stream"), ("text/event-stream", "text/event-stream")])
async def test_a_content_type_that_is_given_twice_is_the_last_one(types: tuple[str, str]) -> None:
    """A proxy adds its own to that of the server, or the other way round."""
    head = stream_head(types[0]).replace(b"\r\n\r\n", f"\r\nContent-Type: {types[1]}\r\n\r\n".encode())
    events, _ = await read_all(head + EVENT)
    assert len(events) == 1


@pytest.mark.parametrize("status", [200, 500])
async def test_a_live_stream_under_another_name_is_never_read_as_an_error_report(status: int) -> None:
    """Its payload is not for a log; and it is left after the time that a connection may take."""
    head = stream_head("text/plain").replace(b"200", str(status).encode())
    async with fake_api(head + EVENT, hold=True) as api, asyncio.timeout(20):
        result = await opened(api.base_url, connect_timeout_seconds=0.2)
        assert isinstance(result, Refused)
        await gone(api, 0)
    assert result.status == status
    assert result.outcome is (ConnectOutcome.BAD_RESPONSE if status == 200 else ConnectOutcome.SERVER_ERROR)
    assert "type" not in result.detail.removeprefix("http://").split(": ", 1)[1]


async def test_an_error_that_is_called_an_event_stream_is_not_waited_for() -> None:
    """It may go on for ever."""
    head = stream_head().replace(b"200", b"500")
    async with fake_api(head + EVENT, hold=True) as api, asyncio.timeout(20):
        result = await opened(api.base_url, connect_timeout_seconds=3600)
    assert isinstance(result, Refused)
    assert result.outcome is ConnectOutcome.SERVER_ERROR


# Error bodies


def nested(depth: int) -> bytes:
    """An error in an error in an error."""
    return b'{"error":' * depth + b'"deep"' + b"}" * depth


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (
            b'{"errors":[{"code":"x","message":"no such key","suggestion":"make one","error_uid":"u"}]}',
            "no such key (make one)",
        ),
        (b'{"errors":["plain text"]}', "plain text"),
        (b'{"errors":[{"odd": 1}]}', "{'odd': 1}"),
        (b'{"detail":"not yours"}', "not yours"),
        (b'{"error":{"code":"x","message":"slow down","details":{"retry_after":60}}}', "slow down"),
        (b'{"error":"short"}', "short"),
        (b'{"type":"error","message":"Unknown session id: lsn-1"}', "Unknown session id: lsn-1"),
        (b'"just a string"', "just a string"),
        (b'{"detail":[{"loc":["path"],"msg":"bad"}]}', '{"detail":[{"loc":["path"],"msg":"bad"}]}'),
        (b"<html>\r\n<h1>Bad\tGateway</h1>\x00\x1b[31m", "<html> <h1>Bad Gateway</h1> [31m"),
        (b"\xff\xfe not utf-8", "not utf-8"),
        (b"", "(no text)"),
        (b"[]", "[]"),
        (b"null", "null"),
        (b'{"message":"two\\nlines \\u2028 and \\u202e more"}', "two lines and more"),
        (b'{"message":"' + b"x" * 5000 + b'"}', "x" * 200 + "\u2026"),
        (nested(5), "deep"),
        *((nested(depth), "") for depth in (500, 900, 950, 980, 2000, 7000)),
    ],
)
async def test_an_error_body_is_one_line_of_words(body: bytes, words: str) -> None:
    """Every shape that was seen, and what a proxy makes of it."""
    assert words in (await refused(answer(500, body))).detail


@pytest.mark.parametrize(
    "body",
    [
        f'{{"detail": "bad key {KEY}"}}',
        f"<pre>Authorization: Bearer {KEY}</pre>",
        f'{{"errors": [{{"message": "{KEY}", "suggestion": "{KEY}"}}]}}',
        '{"detail": "' + "".join(f"\\u{ord(c):04x}" for c in KEY) + '"}',
    ],
)
async def test_an_error_that_quotes_the_key_is_shown_without_it(body: str) -> None:
    """In whatever way it is spelled."""
    detail = (await refused(answer(401, body.encode()))).detail
    assert "**********" in detail
    assert KEY not in detail
    assert KEY not in detail.encode().decode("unicode_escape")


async def test_a_key_is_not_shown_in_part_where_an_error_is_cut() -> None:
    """It is hidden before the line is shortened."""
    detail = (await refused(answer(401, b"x" * 190 + KEY.encode()))).detail
    assert "x" * 190 + "*" in detail
    assert KEY[:6] not in detail


async def test_an_error_body_that_never_ends_is_cut() -> None:
    """By size, and by the time that a connection may take."""
    endless = b"HTTP/1.1 500 Told\r\nContent-Type: text/plain\r\n\r\n" + b"x" * 200_000
    async with fake_api(endless, hold=True) as api:
        result = await opened(api.base_url)
        assert isinstance(result, Refused)
        assert result.outcome is ConnectOutcome.SERVER_ERROR
    drip = b"HTTP/1.1 500 Told\r\nContent-Type: text/plain\r\nContent-Length: 9\r\n\r\nhalf"
    async with fake_api(drip, hold=True) as api:
        result = await opened(api.base_url, connect_timeout_seconds=0.2)
        assert isinstance(result, Refused)
        assert (result.outcome, result.status) == (ConnectOutcome.SERVER_ERROR, 500)


# Retry-After


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("7", 7.0), (" 0 ", 0.0), ("99999999", 86400.0), ("-5", None), ("soon", None), ("1.5", None), ("", None)],
)
async def test_retry_after_in_seconds(value: str, seconds: float | None) -> None:
    """At most a day; nonsense is none."""
    assert (await refused(answer(429, b"{}", Retry_After=value))).retry_after_seconds == seconds


async def test_retry_after_as_a_date() -> None:
    """The other form of RFC 9110; one in the past is now."""
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=3600), usegmt=True)
    found = (await refused(answer(503, b"{}", Retry_After=later))).retry_after_seconds
    assert found is not None
    assert 3500 < found <= 3600
    past = format_datetime(datetime.now(UTC) - timedelta(days=1), usegmt=True)
    assert (await refused(answer(503, b"{}", Retry_After=past))).retry_after_seconds == 0.0


# Redirects


async def test_a_redirect_on_the_same_host_is_followed_with_the_same_headers() -> None:
    """The vendor has moved paths before. The first connection is left."""
    moved = answer(307, Location="/v1/stream").replace(b"Connection: close", b"Connection: keep-alive")
    async with fake_api(moved, stream_head() + EVENT, hold=True) as api, asyncio.timeout(20):
        result = await opened(api.base_url, "42")
        await gone(api, 0)
        assert isinstance(result, LensStream)
        assert result.resumed
        assert api.requests[1].startswith(b"GET /v1/stream HTTP/1.1")
        assert api.header("Authorization") == b"Bearer " + KEY.encode()
        assert api.header("Last-Event-ID") == b"42"


async def test_a_redirect_to_another_host_is_not_followed_and_the_key_stays_here() -> None:
    """Another port is another host."""
    async with fake_api(stream_head()) as other, fake_api(answer(302, Location=f"{other.base_url}/x")) as api:
        result = await opened(api.base_url)
    assert isinstance(result, Refused)
    assert result.outcome is ConnectOutcome.REJECTED
    assert "another host" in result.detail
    assert other.requests == []


@pytest.mark.parametrize(
    "location", ["http://[::1", "http://h:port/", "https://\u00e9..x/", "", "http:///x", "//", "mailto:x"]
)
async def test_a_redirect_to_nowhere_is_a_refusal(location: str) -> None:
    """Whatever stands in Location."""
    head = f"HTTP/1.1 302 Told\r\nContent-Length: 0\r\nConnection: close\r\nLocation: {location}\r\n\r\n"
    result = await refused(head.encode())
    assert result.outcome in (ConnectOutcome.REJECTED, ConnectOutcome.REFUSED)
    result = await refused(head.replace("302", "404").encode())
    assert result.outcome is ConnectOutcome.NOT_FOUND
    assert "redirect" not in result.detail


async def test_redirects_in_a_circle_end() -> None:
    """With an outcome of their own."""
    async with fake_api(answer(307, Location="/again")) as api:
        result = await opened(api.base_url)
        assert isinstance(result, Refused)
        assert result.outcome is ConnectOutcome.REJECTED
        assert "redirects more than" in result.detail
        assert len(api.requests) < 10


# Bodies


async def test_events_arrive_as_they_were_sent() -> None:
    """Also behind a chunked body and a retry line."""
    body = b"retry: 1500\n\n" + EVENT
    chunked = b"".join(b"%x\r\n%s\r\n" % (1, body[at : at + 1]) for at in range(len(body))) + b"0\r\n\r\n"
    async with (
        fake_api(stream_head(Transfer_Encoding="chunked") + chunked) as api,
        source_of(api.base_url) as source,
    ):
        connection = await source.open("lsn-1", None)
        assert isinstance(connection, LensStream)
        events, closed = await drain(connection)
        assert [event.raw for event in events] == [b'{"type":"t"}']
        assert connection.retry_floor_seconds == 1.5
        assert connection.bytes_received == len(body)
        assert closed == Closed(reason=DisconnectReason.CLOSED)


async def test_the_decoder_starts_with_the_cursor() -> None:
    """An event without an id keeps the one that we asked after."""
    async with fake_api(stream_head() + b"data: x\n\n") as api, source_of(api.base_url) as source:
        connection = await source.open("lsn-1", "42")
        assert isinstance(connection, LensStream)
        events, _ = await drain(connection)
        assert [(event.id, event.last_event_id) for event in events] == [(None, "42")]


async def test_a_body_that_breaks_off_is_a_reset_and_its_partial_event_is_dropped() -> None:
    """The server sends it again."""
    events, closed = await read_all(stream_head(Content_Length="1000") + EVENT + b"id: 2\ndata: {")
    assert [event.id for event in events] == ["1"]
    assert closed.reason is DisconnectReason.RESET
    assert closed.detail


async def test_a_broken_chunk_ends_the_connection() -> None:
    """At once, though the HTTP library is silent then: nobody waits for a time-out."""
    async with (
        fake_api(stream_head(Transfer_Encoding="chunked"), hold=True) as api,
        source_of(api.base_url, idle_timeout_seconds=3600) as source,
        asyncio.timeout(60),
    ):
        connection = await source.open("lsn-1", None)
        assert isinstance(connection, LensStream)
        api.writers[0].write(b"%x\r\n%s\r\nzz\r\n%s" % (len(EVENT), EVENT, EVENT))
        _, closed = await drain(connection)
        assert closed.reason is DisconnectReason.RESET


async def test_silence_is_an_idle_time_out() -> None:
    """After what came before it was read."""
    async with (
        fake_api(stream_head() + EVENT, hold=True) as api,
        source_of(api.base_url, idle_timeout_seconds=0.2) as source,
    ):
        connection = await source.open("lsn-1", None)
        assert isinstance(connection, LensStream)
        events, closed = await drain(connection)
    assert len(events) == 1
    assert closed.reason is DisconnectReason.IDLE_TIMEOUT


async def test_a_drip_that_never_completes_an_event_is_given_up() -> None:
    """Bytes alone are no life."""

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(stream_head() + EVENT + b"data: ")
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.01)

    async with (
        listening(drip) as port,
        source_of(f"http://{HOST}:{port}", event_timeout_seconds=0.1) as source,
        asyncio.timeout(20),
    ):
        connection = await source.open("lsn-1", None)
        assert isinstance(connection, LensStream)
        events, closed = await drain(connection)
    assert len(events) == 1
    assert closed.reason is DisconnectReason.EVENT_TIMEOUT


async def test_comments_alone_are_life() -> None:
    """A server may send no other heartbeats, and none of them is an incomplete event."""

    async def beat(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(stream_head())
        for _ in range(20):
            writer.write(b": beat\n\n")
            await writer.drain()
            await asyncio.sleep(0.02)
        writer.write(EVENT)

    async with (
        listening(beat) as port,
        source_of(f"http://{HOST}:{port}", event_timeout_seconds=0.1) as source,
    ):
        connection = await source.open("lsn-1", None)
        assert isinstance(connection, LensStream)
        events, closed = await drain(connection)
    assert (len(events), closed.reason) == (1, DisconnectReason.CLOSED)


async def test_a_stream_that_was_closed_is_forgotten() -> None:
    """Nothing waits for its silence any more, or each reconnect would keep one in memory for 45 s."""
    async with fake_api(stream_head() + EVENT) as api, source_of(api.base_url) as source:
        connection = await source.open("lsn-1", None)
        assert isinstance(connection, LensStream)
        await drain(connection)
        remembered = weakref.ref(connection)
        del connection
        gc.collect()
        assert remembered() is None


# Compression that nobody asked for


def pieces(data: bytes, size: int = 3) -> bytes:
    """As chunks of so many bytes."""
    parts = [data[at : at + size] for at in range(0, len(data), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


@pytest.mark.parametrize(
    ("coding", "compress"), [("gzip", gzip.compress), ("GZIP", gzip.compress), ("deflate", zlib.compress)]
)
async def test_a_compressed_body_is_read_all_the_same(coding: str, compress: Any) -> None:
    """Some proxy may not have listened."""
    head = stream_head(Content_Encoding=coding, Transfer_Encoding="chunked")
    events, closed = await read_all(head + pieces(compress(EVENT * 50)))
    assert len(events) == 50
    assert closed.reason is DisconnectReason.CLOSED


async def test_gzip_in_several_members_is_read_to_its_end() -> None:
    """RFC 1952 lets a body be many of them, one after the other."""
    events, _ = await read_all(stream_head(Content_Encoding="gzip") + b"".join(gzip.compress(EVENT) for _ in range(3)))
    assert len(events) == 3


async def test_a_gzip_bomb_meets_the_cap_and_not_our_memory() -> None:
    """A thousandth of its size on the wire: one oversize event that keeps no more than the cap."""
    bomb = gzip.compress(b"data: " + b"x" * 50_000_000 + b"\n\n" + EVENT)
    events, _ = await read_all(stream_head(Content_Encoding="gzip") + bomb, max_event_bytes=10_000)
    assert [(len(event.raw), event.oversize_bytes) for event in events] == [(10_000, 50_000_000), (12, 0)]


async def test_a_gzip_bomb_of_tiny_events_comes_in_parts() -> None:
    """200,000 events in 1.4 KB: whoever reads can stop where its buffer is full, and others have their turn."""
    bomb = stream_head(Content_Encoding="gzip") + gzip.compress(b"data:\n\n" * 200_000)
    async with fake_api(bomb) as api, source_of(api.base_url) as source, asyncio.timeout(30):
        connection = await source.open("lsn-1", None)
        assert isinstance(connection, LensStream)
        sizes = []
        while not isinstance(found := await connection.read(), Closed):
            sizes.append(len(found))
        await connection.aclose()
    assert sum(sizes) == 200_000
    assert max(sizes) < 10_000


async def test_gzip_that_is_cut_off_gives_what_was_whole() -> None:
    """The rest comes again after the reconnect."""
    whole = gzip.compress(EVENT * 5000, 0)
    events, closed = await read_all(stream_head(Content_Encoding="gzip") + whole[: len(whole) // 2])
    assert 1000 < len(events) < 5000
    assert closed.reason is DisconnectReason.CLOSED


async def test_broken_gzip_is_a_bad_encoding() -> None:
    """And nothing of it an event."""
    events, closed = await read_all(stream_head(Content_Encoding="gzip") + EVENT)
    assert events == []
    assert closed.reason is DisconnectReason.BAD_ENCODING


@pytest.mark.parametrize("coding", ["br", "zstd", "gzip, gzip", "x"])
async def test_an_unknown_coding_is_named(coding: str) -> None:
    """So that one can look for what adds it."""
    events, closed = await read_all(stream_head(Content_Encoding=coding) + EVENT)
    assert events == []
    assert closed.reason is DisconnectReason.BAD_ENCODING
    assert repr(coding) in closed.detail
    assert HOST in closed.detail


@pytest.mark.parametrize("coding", ["none", "UTF-8", "identity", "identity, identity", "Identity,none", "", "binary"])
async def test_what_is_no_coding_is_read_as_it_is(coding: str) -> None:
    """As browsers do: proxies and frameworks write such things."""
    events, closed = await read_all(stream_head(Content_Encoding=coding) + EVENT)
    assert (len(events), closed.reason) == (1, DisconnectReason.CLOSED)


def headerless(data: bytes) -> bytes:
    """Deflate as some servers mean it."""
    engine = zlib.compressobj(wbits=-15)
    return engine.compress(data) + engine.flush()


@pytest.mark.parametrize(
    ("coding", "compress"),
    [("x-gzip", gzip.compress), ("identity, X-Gzip", gzip.compress), ("deflate", headerless)],
)
@pytest.mark.parametrize("size", [1, 7, 1000])
async def test_compression_goes_by_several_names(coding: str, compress: Any, size: int) -> None:
    """Wherever the body is cut."""
    head = stream_head(Content_Encoding=coding, Transfer_Encoding="chunked")
    events, closed = await read_all(head + pieces(compress(EVENT * 50), size))
    assert (len(events), closed.reason) == (50, DisconnectReason.CLOSED)


async def test_a_compressed_error_is_read() -> None:
    """And one in a coding that cannot be undone is said to be."""
    body = gzip.compress(b'{"detail": "so it is"}')
    assert "so it is" in (await refused(answer(500, body, Content_Encoding="gzip"))).detail
    assert "'br' cannot be undone" in (await refused(answer(500, b"\x0b\x02\x80", Content_Encoding="br"))).detail
    assert await looked_up(gzip.compress(json.dumps([entry("RUNNING")]).encode()), Content_Encoding="gzip") == Active(
        status="RUNNING"
    )


# No connection


async def test_a_refused_connection_is_not_a_time_out() -> None:
    """The transport says time-out for both."""
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        result = await opened(f"http://{HOST}:{taken.getsockname()[1]}")
    assert isinstance(result, Refused)
    assert result.outcome is ConnectOutcome.REFUSED
    assert "ConnectionRefusedError" in result.detail
    assert result.detail.endswith("check source.base_url and the network")


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a..b", "x" * 64 + ".invalid"])
async def test_an_unknown_host_is_a_refusal(host: str) -> None:
    """Also one that cannot even be asked for."""
    result = await opened(f"http://{host}/v0.5")
    assert isinstance(result, Refused)
    assert result.outcome in (ConnectOutcome.REFUSED, ConnectOutcome.TIMEOUT)
    assert host in result.detail


async def test_a_server_that_does_not_answer_is_a_time_out() -> None:
    """It accepts, reads, and says nothing."""

    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with listening(mute) as port:
        result = await opened(f"http://{HOST}:{port}", idle_timeout_seconds=0.2)
    assert isinstance(result, Refused)
    assert result.outcome is ConnectOutcome.TIMEOUT
    assert "does not answer" in result.detail
    assert "cannot be reached" not in result.detail


async def test_a_header_that_comes_drop_by_drop_is_a_time_out() -> None:
    """Any byte would keep an idle time-out away: the header has a deadline as a whole."""

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.02)

    async with listening(drip) as port, asyncio.timeout(20):
        address = f"http://{HOST}:{port}"
        result = await opened(address, idle_timeout_seconds=0.5, connect_timeout_seconds=0.5)
        async with source_of(address, idle_timeout_seconds=0.5, connect_timeout_seconds=0.5) as source:
            found = await source.lookup("lsn-1")
    assert isinstance(result, Refused)
    assert result.outcome is ConnectOutcome.TIMEOUT
    assert result.detail == f"{address} has sent no whole response header after 1 s"
    assert isinstance(found, Unanswered)


async def test_tls_that_never_gets_done_is_a_time_out() -> None:
    """The server takes the greeting and says nothing."""

    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with listening(mute) as port, asyncio.timeout(20):
        result = await opened(f"https://{HOST}:{port}", connect_timeout_seconds=0.3)
    assert isinstance(result, Refused)
    assert result.outcome is ConnectOutcome.TIMEOUT


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.0 200 OK\r\nContent-Type: text/event-stream\r\n\r\n",
        b"HTTP/1.1 200\r\nContent-Type: text/event-stream\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Type : text/event-stream\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n",
        stream_head(Set_Cookie="a=b; =c; ;;", Via="1.1 proxy (squid/5.7)", X_Odd="\u00e9"),
        stream_head(Content_Security_Policy="x" * 40_000),
        stream_head(Connection="keep-alive, Keep-Alive", Keep_Alive="timeout=5"),
        stream_head(Transfer_Encoding="identity"),
        stream_head().replace(b"\r\n\r\n", b"\r\nX-Folded: a\r\n b\r\n\r\n"),
        stream_head().replace(b"\r\n", b"\n"),
    ],
)
async def test_what_a_proxy_makes_of_a_header_is_read_or_told_as_what_it_is(head: bytes) -> None:
    """Never as a server that cannot be reached."""
    async with fake_api(head + EVENT) as api, source_of(api.base_url) as source, asyncio.timeout(20):
        found = await source.open("lsn-1", None)
        if isinstance(found, LensStream):
            events, closed = await drain(found)
            assert (len(events), closed.reason) == (1, DisconnectReason.CLOSED)
        else:
            assert "cannot be read as HTTP" in found.detail
            assert "cannot be reached" not in found.detail


async def test_a_server_that_hangs_up_is_a_refusal() -> None:
    """Before its first byte."""

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")

    async with listening(hang_up) as port:
        result = await opened(f"http://{HOST}:{port}")
    assert isinstance(result, Refused)
    assert result.outcome is ConnectOutcome.REFUSED


@pytest.mark.parametrize(
    "greeting", [b"+OK\r\n", b"HTTP/1.1 abc\r\n\r\n", b"\x15\x03\x01\x00\x02\x02", b"SSH-2.0-x\r\n"]
)
async def test_something_that_is_not_http_is_a_refusal(greeting: bytes) -> None:
    """Not a crash."""
    assert (await refused(greeting)).outcome is ConnectOutcome.REFUSED


async def test_https_to_a_plain_port_is_a_refusal() -> None:
    """With the words of the TLS library in one line."""

    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(answer(400))

    async with listening(plain) as port:
        result = await opened(f"https://{HOST}:{port}")
    assert isinstance(result, Refused)
    assert result.outcome is ConnectOutcome.REFUSED
    assert "SSL" in result.detail
    assert "\n" not in result.detail


async def test_a_file_of_authorities_that_is_none_is_a_configuration_error(tmp_path: Path) -> None:
    """It names the setting."""
    with pytest.raises(ConfigurationError, match=r"source\.ca_file"):
        async with source_of("https://127.0.0.1:1", ca_file=tmp_path / "none.pem"):
            pass


async def test_turns_to_connect_are_taken_by_all_sessions_together() -> None:
    """The pace is one for the whole source; with a rate near zero the second one waits, and a question does not."""
    async with fake_api(answer(200, b"[]")) as api, source_of(api.base_url, connects_per_second=0.001) as source:
        await source.turn()
        second = asyncio.create_task(source.turn())
        assert await source.lookup("lsn-1") == Over(status="unknown")
        assert not second.done()
        second.cancel()


@pytest.mark.parametrize("complaint", [answer(429), answer(503, Retry_After="1")])
async def test_a_server_that_has_too_many_connections_slows_the_next_ones(complaint: bytes) -> None:
    """Until then they are not held up."""
    async with (
        fake_api(answer(503), complaint) as api,
        source_of(api.base_url, connects_per_second=0.2) as source,
    ):
        await source.open("lsn-1", None)
        async with asyncio.timeout(10):
            await source.turn()
            await source.open("lsn-1", None)
        turn = asyncio.create_task(source.turn())
        done, _ = await asyncio.wait({turn}, timeout=1.0)
        turn.cancel()
        assert not done  # 10 s from the complaint; it would have been half a second


# Keys


async def test_a_key_file_is_read_at_each_connect(tmp_path: Path) -> None:
    """A line end behind the key does not belong to it."""
    file = tmp_path / "key"
    file.write_text("the-first-key\n")
    async with fake_api(answer(401)) as api, source_of(api.base_url, api_key_file=file) as source:
        await source.open("lsn-1", None)
        file.write_text("the-second-key\r\n")
        await source.open("lsn-1", None)
        assert [api.header("Authorization", n) for n in (0, 1)] == [b"Bearer the-first-key", b"Bearer the-second-key"]
        assert source.sent_keys.mask("the-first-key the-second-key") == "********** **********"


async def test_every_session_that_was_refused_hears_of_another_key(tmp_path: Path) -> None:
    """Each compares with the key that it was refused with, not with the one that another has sent since."""
    file = tmp_path / "key"
    file.write_text("the-first-key")
    async with fake_api(answer(401)) as api, source_of(api.base_url, api_key_file=file) as source:
        refusals = [await source.open(f"lsn-{number}", None) for number in (1, 2, 3)]
        versions = [one.key_version for one in refusals if isinstance(one, Refused)]
        assert len(versions) == 3
        waiting = [asyncio.create_task(source.wait_for_key(version, 3600)) for version in versions]
        done, _ = await asyncio.wait(waiting, timeout=0.05)
        assert not done
        file.write_text("the-second-key")
        again = await source.open("lsn-4", None)
        async with asyncio.timeout(20):
            await asyncio.gather(*waiting)
        assert isinstance(again, Refused)
        patient = asyncio.create_task(source.wait_for_key(again.key_version, 3600))
        done, _ = await asyncio.wait({patient}, timeout=0.05)
        assert not done
        patient.cancel()


async def test_a_key_that_changes_while_an_answer_is_under_way_is_another_than_the_refused_one(tmp_path: Path) -> None:
    """The answer is about the key that was sent."""
    file = tmp_path / "key"
    file.write_text("the-first-key")
    asked, told = asyncio.Event(), asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        asked.set()
        await told.wait()
        writer.write(answer(401))

    async with (
        listening(slow) as port,
        source_of(f"http://{HOST}:{port}", api_key_file=file) as source,
        asyncio.timeout(20),
    ):
        opening = asyncio.create_task(source.open("lsn-1", None))
        await asked.wait()
        file.write_text("the-second-key")
        other = asyncio.create_task(source.open("lsn-2", None))
        await asyncio.sleep(0)
        told.set()
        refused = await opening
        await other
        assert isinstance(refused, Refused)
        await source.wait_for_key(refused.key_version, 3600)


async def test_waiting_for_a_key_that_stays_ends(tmp_path: Path) -> None:
    """It may be the server that is mended."""
    async with source_of("http://127.0.0.1:1") as source, asyncio.timeout(20):
        refused = await source.open("lsn-1", None)
        assert isinstance(refused, Refused)
        await source.wait_for_key(refused.key_version, 0.05)


@pytest.mark.parametrize("content", [None, b"", b" \n", b"two words", b"line\nbreak", b"\xff", "clé".encode()])
async def test_a_key_file_without_a_usable_key_is_unauthorized(tmp_path: Path, content: bytes | None) -> None:
    """Nothing is sent, the file is named and its content is not; and it may be mended while we run."""
    file = tmp_path / "key"
    if content is not None:
        file.write_bytes(content)
    async with fake_api(stream_head()) as api, source_of(api.base_url, api_key_file=file) as source:
        result = await source.open("lsn-1", None)
        assert isinstance(result, Refused)
        assert result.outcome is ConnectOutcome.UNAUTHORIZED
        assert f"source.api_key_file {file}" in result.detail
        assert api.requests == []
        file.write_text("a-good-key")
        async with asyncio.timeout(20):
            await source.wait_for_key(result.key_version, 3600)
        connection = await source.open("lsn-1", None)
        assert isinstance(connection, LensStream)
        await connection.aclose()


# Asking after a session


async def looked_up(body: object, status: int = 200, **headers: str) -> Lookup:
    """What this answer of the metadata endpoint says of lsn-1."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    async with fake_api(answer(status, raw, **headers)) as api, source_of(api.base_url) as source:
        found = await source.lookup("lsn-1")
        assert api.requests[0].startswith(
            b"GET /v0.5/lens/sessions/metadata?session_id=lsn-1&shard_index=-1&max_items_per_shard=-1 HTTP/1.1"
        )
    if isinstance(found, Unanswered):
        assert KEY not in found.detail
    return found


def entry(status: object, session_id: str = "lsn-1") -> dict[str, object]:
    """One session of the list."""
    return {"session_id": session_id, "session_status": status}


@pytest.mark.parametrize(
    "status",
    [
        "SESSION_STATUS_RUNNING",
        "LensSessionStatus.SESSION_STATUS_RUNNING",
        "RUNNING",
        "3",
        3,
        "STALE",
        "STARTING",
        "new",
        None,
    ],
)
async def test_a_status_that_is_not_known_to_be_final_is_active(status: object) -> None:
    """In each of its spellings."""
    assert await looked_up([entry("FAILED", "lsn-2"), entry(status)]) == Active(status=str(status))


@pytest.mark.parametrize(
    "status",
    ["SESSION_STATUS_FAILED", "LensSessionStatus.SESSION_STATUS_DESTROYED", "destroyed", "FAILED", "6", 6],
)
async def test_a_final_status_is_over(status: object) -> None:
    """In each of its spellings."""
    assert await looked_up([entry(status)]) == Over(status=str(status))


@pytest.mark.parametrize("body", [[], [entry("RUNNING", "lsn-2")], {"sessions": []}, {"metadata": []}])
async def test_a_session_that_is_not_listed_is_over(body: object) -> None:
    """The list is that of the active ones."""
    assert await looked_up(body) == Over(status="unknown")


@pytest.mark.parametrize("status", [404, 410])
async def test_a_session_that_is_not_found_is_over(status: int) -> None:
    """The other way to say it."""
    assert await looked_up({"detail": "no"}, status) == Over(status="unknown")


@pytest.mark.parametrize("body", [entry("RUNNING"), {"sessions": [entry("RUNNING")]}, {"metadata": [entry("RUNNING")]}])
async def test_a_session_may_stand_alone_or_in_a_wrapper(body: object) -> None:
    """Shapes that such endpoints have."""
    assert await looked_up(body) == Active(status="RUNNING")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"\xff\xfe",
        b"null",
        b"7",
        b'"text"',
        b"[" * 100_000,
        {},
        {"sessions": None},
        {"sessions": {"lsn-1": entry("RUNNING")}},
        {"data": [entry("RUNNING")]},
        {"type": "error", "message": f"try later, {KEY}"},
        {"errors": [{"message": "overloaded"}]},
        {"detail": "overloaded"},
        ["lsn-1"],
        [None],
        [[entry("RUNNING")]],
        [{"id": "lsn-1", "status": "RUNNING"}],
    ],
)
async def test_an_answer_that_says_nothing_of_sessions_ends_none(body: object) -> None:
    """A session must not be given up over an error in the shape of an answer."""
    assert isinstance(await looked_up(body), Unanswered)


@pytest.mark.parametrize("status", [401, 403, 429, 500, 302])
async def test_a_refused_question_is_unanswered(status: int) -> None:
    """With the status and the API's words, but without the key."""
    found = await looked_up({"detail": f"no, {KEY}"}, status)
    assert isinstance(found, Unanswered)
    assert KEY not in found.detail
    assert str(status) in found.detail


async def test_nobody_to_ask_is_unanswered() -> None:
    """The same outage that closed the stream."""
    async with source_of("http://127.0.0.1:1") as source:
        assert isinstance(await source.lookup("lsn-1"), Unanswered)


async def test_an_answer_that_breaks_off_is_unanswered() -> None:
    """Half a list does not tell who is missing from it."""
    half = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n[]"
    async with fake_api(half) as api, source_of(api.base_url) as source:
        assert isinstance(await source.lookup("lsn-1"), Unanswered)


async def test_a_list_of_a_whole_organisation_is_read() -> None:
    """Larger than any error report."""
    many = [entry("RUNNING", f"other-{number}") | {"pad": "x" * 200} for number in range(5000)]
    assert await looked_up([*many, entry("RUNNING")]) == Active(status="RUNNING")


async def test_the_question_asks_for_no_compression() -> None:
    """Its answer is read as it comes."""
    async with fake_api(answer(200, b"[]")) as api, source_of(api.base_url) as source:
        await source.lookup("lsn-1")
        assert api.header("Accept-Encoding") == b"identity"
        assert api.header("Accept") == b"application/json"


async def test_cancelling_a_connect_or_a_read_leaves_no_connection_behind() -> None:
    """A stop comes at any time."""

    async with fake_api(stream_head(), hold=True) as api, source_of(api.base_url) as source:
        connection = await source.open("lsn-1", None)
        assert isinstance(connection, LensStream)
        reading = asyncio.create_task(connection.read())
        await asyncio.sleep(0)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        await connection.aclose()
        await gone(api, 0)

    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        await reader.read()
        left.set()

    asked, left = asyncio.Event(), asyncio.Event()
    async with listening(mute) as port, source_of(f"http://{HOST}:{port}") as source, asyncio.timeout(20):
        connecting = asyncio.create_task(source.open("lsn-1", None))
        await asked.wait()
        connecting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await connecting
        await left.wait()


async def gone(api: FakeApi, connection: int) -> None:
    """Wait until the client has closed it."""
    async with asyncio.timeout(20):
        await api.writers[connection].wait_closed()


# What a person is told


async def test_who_forgot_the_key_is_told_where_it_goes() -> None:
    """Not that it is wrong: there is none."""
    async with fake_api(answer(401)) as api:
        without = await opened(api.base_url, api_key=None)
        wrong = await opened(api.base_url)
    assert isinstance(without, Refused)
    assert isinstance(wrong, Refused)
    assert "no key is configured: set ATAI_API_KEY" in without.detail
    assert "no key" not in wrong.detail


async def test_a_base_url_without_its_path_is_shown_as_it_was_asked() -> None:
    """Whole, so that it can be tried with curl."""
    async with fake_api(answer(404)) as api:
        found = await opened(f"http://{HOST}:{api.port}")
    assert isinstance(found, Refused)
    assert f"http://{HOST}:{api.port}/lens/sessions/consumer/lsn-1 answers 404" in found.detail
    assert "with its path" in found.detail


async def test_a_closed_port_and_https_to_a_plain_one_are_told_apart() -> None:
    """Each with what to do, and no word of TLS where there is none."""
    closed = await opened(f"http://{HOST}:1/v0.5")

    async def speak_plainly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(answer(400))
        await writer.drain()

    async with listening(speak_plainly) as port:
        plain = await opened(f"https://{HOST}:{port}/v0.5")
    assert isinstance(closed, Refused)
    assert isinstance(plain, Refused)
    assert "ConnectionRefusedError" in closed.detail
    assert "ssl" not in closed.detail
    assert "it does not speak TLS: is it http://?" in plain.detail
    assert all(one.outcome is ConnectOutcome.REFUSED for one in (closed, plain))
    assert all(one.detail.endswith("check source.base_url and the network") for one in (closed, plain))
