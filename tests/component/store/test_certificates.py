"""TLS with a certificate of one's own, rotated under a link that runs; and Redis behind a Unix socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest

from bridge.errors import FaultKind, SinkFault
from bridge.lab.redis_server import RedisServer
from bridge.masking import Secrets
from bridge.settings import RedisSettings
from bridge.store.link import RedisLink
from tests.support.fakes import HOST
from tests.support.topology.certificates import Authority, Rotating, needs_tls
from tests.support.topology.watched import asked


def link_to(url: str, **settings: object) -> RedisLink:
    """A way there."""
    return RedisLink(RedisSettings.model_validate({"url": url, **settings}), Secrets())


async def fault_of(link: RedisLink) -> SinkFault:
    """What a call fails with."""
    with pytest.raises(SinkFault) as caught:
        async with asyncio.timeout(60):
            await link.call("PING")
    return caught.value


@pytest.fixture
async def rotating(tmp_path: Path) -> AsyncIterator[Rotating]:
    """Not started yet."""
    async with Rotating(tmp_path / "rotating") as made:
        yield made


@needs_tls
async def test_a_server_that_asks_for_a_certificate_is_shown_one(rotating: Rotating, tmp_path: Path) -> None:
    """Without it, or with one that another authority vouches for, it is refused."""
    ours, theirs = Authority(tmp_path / "ours"), Authority(tmp_path / "theirs", "somebody else")
    await rotating.serve(ours)
    rotating.mount(ours)
    link = link_to(rotating.url, **rotating.settings)
    assert await link.call("PING") == b"PONG"
    await link.aclose()
    strange = dict(zip(("cert_file", "key_file"), theirs.vouch_for("worker"), strict=True))
    for settings in ({"ca_file": ours.file}, {"ca_file": ours.file, **strange}):
        link = link_to(rotating.url, **settings)
        fault = await fault_of(link)
        assert fault.kind is FaultKind.UNREACHABLE
        assert f"{HOST}:{rotating.port}" in fault.detail
        await link.aclose()


@needs_tls
async def test_certificates_that_were_rotated_are_used_from_the_next_connect_on(
    rotating: Rotating, tmp_path: Path
) -> None:
    """Both the authority that is trusted and what the worker shows; the same link goes on."""
    old, new = Authority(tmp_path / "old"), Authority(tmp_path / "new")
    await rotating.serve(old)
    rotating.mount(old)
    link = link_to(rotating.url, **rotating.settings)
    assert await link.call("PING") == b"PONG"
    rotating.mount(new)
    assert await link.call("PING") == b"PONG"  # the connection that stands goes on
    await rotating.serve(new)
    with suppress(SinkFault):
        await link.call("PING")  # the old connection, unless its end was seen already
    assert await link.call("PING") == b"PONG"
    await link.aclose()


@needs_tls
async def test_in_the_middle_of_a_rotation_the_files_are_named_and_it_passes(
    rotating: Rotating, tmp_path: Path
) -> None:
    """A certificate without its key, a file that is away: told by its setting, and tried again."""
    authority = Authority(tmp_path / "ours")
    await rotating.serve(authority)
    rotating.mount(authority)
    rotating.mount(authority, "tls.crt")  # a new one, and still the old key
    link = link_to(rotating.url, **rotating.settings)
    fault = await fault_of(link)
    assert f"redis.key_file {rotating.files['tls.key']} cannot be used: " in fault.detail
    assert "mismatch" in fault.detail.lower()
    rotating.files["tls.key"].unlink()
    assert "No such file" in (await fault_of(link)).detail
    rotating.mount(authority)
    assert await link.call("PING") == b"PONG"
    await link.aclose()


async def test_a_unix_socket_leads_to_redis(tmp_path: Path) -> None:
    """With a database and a password as anywhere else; a fault names the path."""
    path = tmp_path / "redis.sock"
    async with RedisServer(arguments=["--unixsocket", str(path)]) as server:
        link = link_to(f"unix://{path}?db=2")
        await link.call("SET", "key", "value")
        assert await asked(server, "DBSIZE") == 0
        await link.aclose()
        await asked(server, "CONFIG", "SET", "requirepass", "a-right-one")
        link = link_to(f"unix://:a-right-one@{path}?db=2")
        assert await link.call("GET", "key") == b"value"
        await link.aclose()
    link = link_to(f"unix://{path}")
    fault = await fault_of(link)
    assert f"Redis at {path} cannot be reached" in fault.detail
    await link.aclose()
