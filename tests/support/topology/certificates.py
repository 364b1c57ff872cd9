"""An authority of the tests, and what it vouches for: a server, and workers."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from contextlib import AsyncExitStack
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from bridge.lab.redis_server import RedisServer, RedisServerError, find_redis_server

__all__ = ["Authority", "Rotating", "needs_tls", "server_arguments"]

HOST = "127.0.0.1"

_EC = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]


class Authority:
    """Signs what stands in a directory of its own. Made with the openssl of this machine."""

    def __init__(self, directory: Path, name: str = "authority") -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self.file = directory / "ca.crt"
        # Python 3.13 asks an authority for its usages, and to be told from others.
        usages = ["-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign"]
        where = ["-keyout", str(directory / "ca.key"), "-out", str(self.file)]
        _openssl("req", "-x509", *_EC, "-subj", f"/CN={name}", "-days", "2", *usages, *where)

    def vouch_for(self, name: str) -> tuple[Path, Path]:
        """A certificate for 127.0.0.1 under this name and its key, as files."""
        made = self._directory / name
        key, request, cert = (made.with_suffix(suffix) for suffix in (".key", ".csr", ".crt"))
        extensions = made.with_suffix(".ext")
        extensions.write_text(
            "subjectAltName=IP:127.0.0.1,DNS:localhost\n"
            "keyUsage=critical,digitalSignature\nextendedKeyUsage=serverAuth,clientAuth\n"
            "basicConstraints=CA:FALSE\nauthorityKeyIdentifier=keyid\n"
        )
        _openssl("req", *_EC, "-subj", f"/CN={name}", "-keyout", str(key), "-out", str(request))
        signer = ["-CA", str(self.file), "-CAkey", str(self._directory / "ca.key"), "-CAcreateserial"]
        _openssl(
            "x509", "-req", "-in", str(request), *signer, "-days", "2", "-extfile", str(extensions), "-out", str(cert)
        )
        return cert, key


def server_arguments(authority: Authority, tls_port: int) -> list[str]:
    """For a server that speaks TLS on one port, and asks its clients for a certificate there, as is its default."""
    cert, key = authority.vouch_for("server")
    return [
        *("--tls-port", str(tls_port), "--tls-cert-file", str(cert), "--tls-key-file", str(key)),
        *("--tls-ca-cert-file", str(authority.file)),
    ]


class Rotating:
    """A server that asks for certificates, and the three files of a worker, as a Secret mounts them.

    An async context manager; the server is not started yet.
    """

    def __init__(self, directory: Path) -> None:
        self.port, self.plain_port = _free_port(), _free_port()
        self._directory = directory
        self._mounted, self._data = directory / "mounted", directory / "data"
        self._data.mkdir(parents=True)
        self._mounted.mkdir(parents=True)
        self.files = {name: self._mounted / name for name in ("ca.crt", "tls.crt", "tls.key")}
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    @property
    def settings(self) -> dict[str, object]:
        """What a worker is told."""
        return {"ca_file": self.files["ca.crt"], "cert_file": self.files["tls.crt"], "key_file": self.files["tls.key"]}

    @property
    def url(self) -> str:
        """With TLS."""
        return f"rediss://{HOST}:{self.port}"

    @property
    def plain_url(self) -> str:
        """Without, for whoever only looks."""
        return f"redis://{HOST}:{self.plain_port}"

    @property
    def nodes(self) -> list[RedisServer]:
        """The one, as long as it is not started again."""
        return [self.server]

    async def serve(self, authority: Authority) -> None:
        """Start, or start again on the same data, believing in this authority alone."""
        await self._stack.aclose()
        arguments = [*server_arguments(authority, self.port), "--dir", str(self._data), "--appendonly", "yes"]
        self.server = await self._stack.enter_async_context(RedisServer(arguments=arguments, port=self.plain_port))

    def mount(self, authority: Authority, *names: str) -> None:
        """New files in the place of the old ones, in one step each."""
        cert, key = authority.vouch_for("worker")
        sources = {"ca.crt": authority.file, "tls.crt": cert, "tls.key": key}
        for name in names or sources:
            fresh = self._directory / "fresh"
            shutil.copy(sources[name], fresh)
            os.replace(fresh, self.files[name])


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _openssl(*arguments: str) -> None:
    done = subprocess.run(["openssl", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@cache
def _speaks_tls() -> bool:
    """Servers are built with TLS or without."""
    try:
        server = find_redis_server()
    except RedisServerError:
        return False
    told = subprocess.run([server, "--port", "0", "--tls-port", "1"], capture_output=True, text=True, check=False)
    return "tls-cert-file" in told.stdout + told.stderr  # it misses one, and so has a use for it


needs_tls = pytest.mark.skipif(not _speaks_tls(), reason="the redis-server of these tests is built without TLS")
