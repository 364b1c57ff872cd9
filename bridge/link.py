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

from bridge.channel import Argument, Channel, pack
from bridge.errors import SinkFault
from bridge.secrets import Secrets
from bridge.settings import RedisSettings

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
        self._channel: Channel | None = None
        self._connecting = asyncio.Lock()
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
            if fault.kind != "no_script":
                raise
        await self.call("SCRIPT", "LOAD", script.source)
        return await self.send(packed)

    async def send(self, packed: bytes) -> Any:
        """Send packed bytes and wait for the one reply. Raises SinkFault."""
        channel = await self._open_channel()
        try:
            return await channel.post(packed)
        except SinkFault as fault:
            if channel.broken and self._channel is channel:
                self._channel = None
                self._on_change(fault.detail)
            raise

    async def aclose(self) -> None:
        """Close the connection; calls under way fail."""
        channel, self._channel = self._channel, None
        if channel:
            channel.close()

    async def _open_channel(self) -> Channel:
        if self._channel and not self._channel.broken:
            return self._channel
        async with self._connecting:
            if self._channel and not self._channel.broken:
                return self._channel
            try:
                self._channel = await self._connect()
            except SinkFault as fault:
                self._on_change(fault.detail)
                raise
            self._on_change(None)
            return self._channel

    async def _connect(self) -> Channel:
        settings = self._settings
        handshake = self._handshake()
        try:
            tls = ssl.create_default_context(cafile=settings.ca_file) if self._url.scheme == "rediss" else None
            async with asyncio.timeout(settings.connect_timeout_seconds):
                return await Channel.open(self._host, self._port, tls, settings.timeout_seconds, handshake)
        except TimeoutError as error:
            seconds = settings.connect_timeout_seconds
            detail = f"Redis at {self.where} cannot be reached within {seconds:g} s - check redis.url and the network"
            if tls:
                detail += ", and that this port speaks TLS"
            raise SinkFault("unreachable", detail) from error
        except (OSError, UnicodeError) as error:  # the latter for a host name with an empty or an overlong label
            reason = " ".join(str(error).split()) or type(error).__name__
            raise SinkFault(
                "unreachable", f"Redis at {self.where} cannot be reached: {reason} - check redis.url"
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
            raise SinkFault("unauthorized", f"redis.password_file {file} cannot be read: {reason}") from error
        self._secrets.add(password, "redis.password_file")
        return password
