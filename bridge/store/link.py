"""The way to Redis that commits and leases share: connects when needed, and says why where it can't.

Calls of all sessions go out together, so a thousand sessions cost one round trip. Nothing is ever sent twice here but a
script that Redis did not know; who calls decides what to send again.
"""

from __future__ import annotations

import asyncio
import hashlib
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from bridge.errors import FaultKind, SinkFault
from bridge.masking import Secrets
from bridge.settings import RedisSettings
from bridge.store.connection import Argument, Connection, pack

__all__ = ["Argument", "RedisLink", "Script"]


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script and the name under which Redis caches it."""

    source: str
    sha: str

    @classmethod
    def of(cls, source: str) -> Script:
        return cls(source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())

    def pack(self, keys: Sequence[str], arguments: Sequence[Argument]) -> bytes:
        """The call as bytes, to be sent, and sent again unchanged where the outcome is unknown."""
        return pack("EVALSHA", self.sha, len(keys), *keys, *arguments)


class RedisLink:
    """One connection at a time. ``on_change`` hears None when it stands and the reason when it does not."""

    def __init__(
        self, settings: RedisSettings, secrets: Secrets, on_change: Callable[[str | None], None] = lambda error: None
    ) -> None:
        self._settings = settings
        self._secrets = secrets
        self._on_change = on_change
        self._connection: Connection | None = None
        self._attempt: asyncio.Task[Connection] | None = None
        self._url = urlsplit(settings.url.get_secret_value())
        self._host, self._port = self._url.hostname or "localhost", self._url.port or 6379
        self.where = f"{self._host}:{self._port}"

    async def call(self, *arguments: Argument) -> Any:
        """Send one command. Raises SinkFault; after `timeout` or `unreachable` it may still have been carried out."""
        return await self.send(pack(*arguments))

    async def run(self, script: Script, packed: bytes) -> Any:
        """Send a packed script call; loads the script where Redis has forgotten it. Raises SinkFault."""
        try:
            return await self.send(packed)
        except SinkFault as fault:
            if fault.kind is not FaultKind.NO_SCRIPT:
                raise
        await self.call("SCRIPT", "LOAD", script.source)
        return await self.send(packed)

    def post(self, script: Script, packed: bytes) -> asyncio.Future[object]:
        """As `run`, without a wait before it is sent where the connection stands, and without a task.

        A script that Redis has forgotten is not loaded then: SinkFault of the kind `no_script`.
        """
        if self._connection is None or self._connection.broken:
            return asyncio.ensure_future(self.run(script, packed))
        return self._connection.post(packed)

    async def send(self, packed: bytes) -> Any:
        """Send packed bytes and wait for the one reply. Raises SinkFault."""
        connection = await self._open_connection()
        try:
            return await connection.post(packed)
        except SinkFault as fault:
            if connection.broken and self._connection is connection:
                self._connection = None
                self._on_change(fault.detail)
            raise

    async def aclose(self) -> None:
        """Close the connection; calls under way fail."""
        connection, self._connection = self._connection, None
        if connection:
            connection.close()
        if self._attempt:
            self._attempt.cancel()
            await asyncio.gather(self._attempt, return_exceptions=True)

    async def _open_connection(self) -> Connection:
        if self._connection and not self._connection.broken:
            return self._connection
        if self._attempt is None:
            self._attempt = asyncio.create_task(self._connect_and_tell(), name="connect to Redis")
            self._attempt.add_done_callback(lambda attempt: attempt.cancelled() or attempt.exception())
        try:
            # One attempt and one answer for all who wait, a thousand sessions say; who gives up leaves it to the rest.
            return await asyncio.shield(self._attempt)
        except SinkFault as fault:
            raise SinkFault(fault.kind, fault.detail) from fault

    async def _connect_and_tell(self) -> Connection:
        try:
            self._connection = await self._connect()
        except SinkFault as fault:
            self._on_change(fault.detail)
            raise
        finally:
            self._attempt = None
        self._on_change(None)
        return self._connection

    async def _connect(self) -> Connection:
        settings = self._settings
        handshake = self._handshake()
        try:
            tls = ssl.create_default_context(cafile=settings.ca_file) if self._url.scheme == "rediss" else None
            async with asyncio.timeout(settings.connect_timeout_seconds):
                return await Connection.open(self._host, self._port, tls, settings.timeout_seconds, handshake)
        except TimeoutError as error:
            seconds = settings.connect_timeout_seconds
            detail = f"Redis at {self.where} cannot be reached within {seconds:g} s - check redis.url and the network"
            if tls:
                detail += ", and that this port speaks TLS"
            raise SinkFault(FaultKind.UNREACHABLE, detail) from error
        except (OSError, UnicodeError) as error:  # the latter for a host name with an empty or an overlong label
            reason = " ".join(str(error).split()) or type(error).__name__
            raise SinkFault(
                FaultKind.UNREACHABLE, f"Redis at {self.where} cannot be reached: {reason} - check redis.url"
            ) from error

    def _handshake(self) -> list[bytes]:
        commands = []
        username = self._settings.username or unquote(self._url.username or "")
        if password := self._password():
            commands.append(pack("AUTH", username, password) if username else pack("AUTH", password))
        if database := self._url.path.strip("/"):
            commands.append(pack("SELECT", database))
        return commands

    def _password(self) -> str:
        file = self._settings.password_file
        if file is None:
            given = self._settings.password
            return given.get_secret_value() if given else unquote(self._url.password or "")
        try:
            password = file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not text"
            raise SinkFault(FaultKind.UNAUTHORIZED, f"redis.password_file {file} cannot be read: {reason}") from error
        self._secrets.add(password, "redis.password_file")
        return password
