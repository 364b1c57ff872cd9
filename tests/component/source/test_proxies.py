"""The lens API through an HTTP proxy, over real sockets: what the proxy sees, and what a person is told of it."""

from __future__ import annotations

import base64
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from bridge.errors import ConfigurationError
from bridge.masking import Secrets
from bridge.model.labels import ConnectOutcome
from bridge.model.outcomes import Active, Refused, Unanswered
from bridge.settings import SourceSettings
from bridge.source.client import LensClient
from bridge.source.stream import LensStream
from tests.support.fakes import HOST, FakeApi, answer, fake_api, listening, stream_head
from tests.support.http_proxy import HttpProxy, http_proxy

KEY = "atai-a-very-secret-key"
EVENT = b'id: 1\ndata: {"type":"t"}\n\n'
NAME = "lens.example"
PLAIN = f"http://{NAME}/v0.5"
TLS = f"https://{NAME}/v0.5"


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the machine that runs the tests."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed one for the API's name, with its key in the same file."""
    made = tmp_path_factory.mktemp("tls") / "both.pem"
    subject = ["-subj", f"/CN={NAME}", "-addext", f"subjectAltName=DNS:{NAME}", "-days", "2"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{made}", "-out", f"{made}.crt"]
    subprocess.run([*command, *subject], check=True, capture_output=True)
    with made.open("a") as both:
        both.write(Path(f"{made}.crt").read_text())
    return made


@asynccontextmanager
async def tls_api(certificate: Path, *answers: bytes) -> AsyncIterator[FakeApi]:
    """The API behind TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    api = FakeApi(answers)
    async with listening(api.serve, context) as api.port:
        yield api


async def opened(base_url: str, secrets: Secrets | None = None, **settings: Any) -> LensStream | Refused:
    """Connect once, read what comes, and close again."""
    made = SourceSettings.model_validate(
        {"base_url": base_url, "api_key": KEY, "connect_timeout_seconds": 5, **settings}
    )
    async with LensClient(made, secrets or Secrets()) as source:
        found = await source.open("lsn-1", None)
        if isinstance(found, LensStream):
            events = await found.read()
            assert isinstance(events, list)
            assert [event.id for event in events] == ["1"]
            await found.aclose()
        return found


async def refused(base_url: str, **settings: Any) -> Refused:
    """How it is refused."""
    found = await opened(base_url, **settings)
    assert isinstance(found, Refused)
    assert found.detail.isprintable()
    return found


def with_credentials(proxy: HttpProxy, credentials: str) -> str:
    """Its address with these."""
    return proxy.url.replace("://", f"://{credentials}@")


# What goes through


async def test_tls_goes_through_a_tunnel_and_the_proxy_sees_neither_path_nor_key(certificate: Path) -> None:
    """CONNECT, and bytes that it can't read."""
    async with tls_api(certificate, stream_head() + EVENT) as api, http_proxy(lens_example=api.port) as proxy:
        assert isinstance(await opened(TLS, proxy=proxy.url, ca_file=certificate), LensStream)
    (head,) = proxy.heads
    assert head.startswith(f"CONNECT {NAME}:443 HTTP/1.1\r\n".encode())
    assert KEY.encode() not in head
    assert b"proxy-authorization" not in head.lower()
    assert api.header("Authorization") == f"Bearer {KEY}".encode()
    assert api.requests[0].startswith(b"GET /v0.5/lens/sessions/consumer/lsn-1 HTTP/1.1\r\n")


async def test_plain_http_is_asked_for_by_its_whole_address() -> None:
    """As RFC 9112, 3.2.2 has it. The question after a session goes the same way."""
    listed = answer(200, b'[{"session_id": "lsn-1", "session_status": "RUNNING"}]')
    async with fake_api(stream_head() + EVENT, listed) as api, http_proxy(lens_example=api.port) as proxy:
        assert isinstance(await opened(PLAIN, proxy=proxy.url), LensStream)
        settings = SourceSettings.model_validate({"base_url": PLAIN, "api_key": KEY, "proxy": proxy.url})
        async with LensClient(settings, Secrets()) as source:
            assert await source.lookup("lsn-1") == Active(status="RUNNING")
    assert [head.split(b" ")[1].split(b"?")[0].decode() for head in proxy.heads] == [
        f"{PLAIN}/lens/sessions/consumer/lsn-1",
        f"{PLAIN}/lens/sessions/metadata",
    ]
    assert api.header("Host") == NAME.encode()


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
async def test_the_usual_variables_are_used(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    """As by every other program in the same pod."""
    async with fake_api(stream_head() + EVENT) as api, http_proxy(lens_example=api.port) as proxy:
        monkeypatch.setenv(variable, proxy.url)
        assert isinstance(await opened(PLAIN), LensStream)
        assert len(proxy.heads) == 1
        monkeypatch.setenv("NO_PROXY", ".example")
        assert NAME in (await refused(PLAIN)).detail  # nobody else knows the name
        assert len(proxy.heads) == 1


async def test_this_machine_is_reached_without_the_proxy_of_the_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """The simulator and the demo have to work where they are set."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    async with fake_api(stream_head() + EVENT) as api:
        assert isinstance(await opened(api.base_url), LensStream)


# Credentials


@pytest.mark.parametrize(
    ("credentials", "written"),
    [("user:hunter22", "user:hunter22"), ("an@user:p:\u00e9", "an%40user:p%3A%C3%A9"), ("user:", "user:")],
)
@pytest.mark.parametrize("base_url", [PLAIN, TLS])
async def test_credentials_of_the_proxy_are_sent_to_it_and_to_nobody_else(
    certificate: Path, base_url: str, credentials: str, written: str
) -> None:
    """In UTF-8, as RFC 7617 has it; and they are hidden from then on."""
    async with (
        tls_api(certificate, stream_head() + EVENT) as tls,
        fake_api(stream_head() + EVENT) as plain,
        http_proxy(credentials, lens_example=(tls if base_url is TLS else plain).port) as proxy,
    ):
        secrets = Secrets()
        address = with_credentials(proxy, written)
        assert isinstance(await opened(base_url, secrets, proxy=address, ca_file=certificate), LensStream)
        api = tls if base_url is TLS else plain
    assert api.header("Proxy-Authorization") is None
    sent = base64.b64encode(credentials.encode()).decode()
    if len(credentials) >= 8:
        assert sent not in secrets.mask(f"Basic {sent}")
        assert credentials not in secrets.mask(credentials)


@pytest.mark.parametrize("base_url", [PLAIN, TLS])
@pytest.mark.parametrize("credentials", ["user:wrong-password", None])
async def test_credentials_that_the_proxy_refuses_are_told_as_that(base_url: str, credentials: str | None) -> None:
    """Not as a refused API key, nor as a host that cannot be reached; and not shown."""
    async with http_proxy("user:right-password") as proxy:
        found = await refused(base_url, proxy=with_credentials(proxy, credentials) if credentials else proxy.url)
        assert (found.outcome, found.status) == (ConnectOutcome.UNAUTHORIZED, 407)
        assert f"proxy {proxy.url} refuses our credentials" in found.detail
        assert "407" in found.detail
        assert "cannot be reached" not in found.detail
        assert "api_key" not in found.detail
        assert "wrong-password" not in found.detail


# What goes wrong on the way


async def test_a_proxy_that_refuses_a_tunnel_is_told_as_that() -> None:
    """By its status and its words."""
    async with http_proxy() as proxy:
        proxy.refuse_with = b"HTTP/1.1 403 Not\x20on our list\r\nContent-Length: 0\r\n\r\n"
        found = await refused(TLS, proxy=proxy.url)
        assert found.outcome is ConnectOutcome.REFUSED
        assert f"proxy {proxy.url} refuses to connect to {TLS}: 403 Not on our list" in found.detail
        proxy.refuse_with = None
        unknown = await refused(TLS, proxy=proxy.url)  # the proxy does not know the name
        assert f"proxy {proxy.url} refuses to connect to {TLS}: 502" in unknown.detail


async def test_an_answer_of_the_proxy_itself_is_told_with_its_name() -> None:
    """With plain HTTP nobody can say who answered."""
    async with http_proxy() as proxy:
        proxy.refuse_with = answer(503, b"<h1>Backend  down</h1>", "text/html", Retry_After="7")
        found = await refused(PLAIN, proxy=proxy.url)
    assert found == Refused(
        outcome=ConnectOutcome.SERVER_ERROR,
        status=503,
        retry_after_seconds=7.0,
        detail=f"{PLAIN}/lens/sessions/consumer/lsn-1 via proxy {proxy.url} answers 503: <h1>Backend down</h1>",
        key_version=found.key_version,
    )


@pytest.mark.parametrize("base_url", [PLAIN, TLS])
async def test_a_proxy_that_is_not_there_is_told_as_that(base_url: str) -> None:
    """The API may well be."""
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        address = f"http://{HOST}:{taken.getsockname()[1]}"
        found = await refused(base_url, proxy=address.replace("://", "://user:hunter22@"))
    assert found.outcome is ConnectOutcome.REFUSED
    assert found.detail.startswith(f"proxy {address} cannot be reached: ConnectionRefusedError")
    assert "hunter22" not in found.detail


@pytest.mark.parametrize("base_url", [PLAIN, TLS])
@pytest.mark.parametrize("greeting", [b"+OK\r\n", b"", None])
async def test_something_else_that_listens_where_the_proxy_should_is_a_refusal(
    base_url: str, greeting: bytes | None
) -> None:
    """It speaks another protocol, hangs up, or says nothing."""

    async def serve(reader: Any, writer: Any) -> None:
        await reader.readuntil(b"\r\n\r\n")
        if greeting is None:
            await reader.read()
        writer.write(greeting or b"")

    async with listening(serve) as port:
        address = f"http://{HOST}:{port}"
        found = await refused(base_url, proxy=address, connect_timeout_seconds=0.3, idle_timeout_seconds=0.3)
    assert found.outcome is (ConnectOutcome.TIMEOUT if greeting is None else ConnectOutcome.REFUSED)
    assert f"proxy {address}" in found.detail


async def test_a_certificate_that_is_not_trusted_is_told_with_what_to_do(certificate: Path) -> None:
    """A proxy that looks into TLS has an authority of its own."""
    async with tls_api(certificate, stream_head() + EVENT) as api, http_proxy(lens_example=api.port) as proxy:
        found = await refused(TLS, proxy=proxy.url)
    assert found.outcome is ConnectOutcome.REFUSED
    assert "CERTIFICATE_VERIFY_FAILED" in found.detail
    assert "source.ca_file" in found.detail
    assert f"via proxy {proxy.url}" in found.detail


async def test_an_outage_of_the_proxy_leaves_a_question_unanswered() -> None:
    """No session is given up over it."""
    async with http_proxy("user:right-password") as proxy:
        settings = SourceSettings.model_validate({"base_url": PLAIN, "api_key": KEY, "proxy": proxy.url})
        async with LensClient(settings, Secrets()) as source:
            assert isinstance(await source.lookup("lsn-1"), Unanswered)


async def test_an_address_that_is_none_is_found_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """With exit code 2, and the name of the variable."""
    monkeypatch.setenv("HTTPS_PROXY", "socks5://user:hunter22@proxy:1080")
    with pytest.raises(ConfigurationError, match="HTTPS_PROXY"):
        await opened(TLS)
