"""The one connection to Redis that commits and leases share.

Calls of all sessions are written in one go and answered in order, so a thousand sessions cost one round trip. redis-py
opens the connection (TLS, ACL, URLs) and parses replies; its retries are off, since a command that is sent again by a
client that does not know whether it landed is how entries come twice. Whoever calls decides what to send again.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import hiredis
from redis import exceptions
from redis.asyncio.connection import AbstractConnection, ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from bridge.errors import SinkFault
from bridge.secrets import Secrets
from bridge.settings import RedisSettings

__all__ = ["Argument", "RedisLink", "Script"]

Argument = bytes | str | int


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
        return _pack("EVALSHA", self.sha, len(keys), *keys, *arguments)


class RedisLink:
    """Connects when needed, breaks as a whole, and says why in words for a person."""

    def __init__(
        self, settings: RedisSettings, secrets: Secrets, on_change: Callable[[str | None], None] = lambda error: None
    ) -> None:
        self._settings = settings
        self._secrets = secrets
        self._on_change = on_change
        self._channel: _Channel | None = None
        self._connecting = asyncio.Lock()
        parts = urlsplit(settings.url.get_secret_value())
        self.where = f"{parts.hostname or 'localhost'}:{parts.port or 6379}"

    async def call(self, *arguments: Argument) -> Any:
        """Send one command. Raises SinkFault; after `timeout` or `unreachable` it may still have been carried out."""
        return await self.send(_pack(*arguments))

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
                self._on_change(str(fault))
            raise

    async def aclose(self) -> None:
        """Close the connection; calls under way fail."""
        channel, self._channel = self._channel, None
        if channel:
            await channel.aclose()

    async def _open_channel(self) -> _Channel:
        if self._channel and not self._channel.broken:
            return self._channel
        async with self._connecting:
            if self._channel and not self._channel.broken:
                return self._channel
            connection = self._new_connection()
            try:
                async with asyncio.timeout(self._settings.connect_timeout_seconds):
                    await connection.connect()  # type: ignore[no-untyped-call]
            except (exceptions.RedisError, OSError, TimeoutError, ValueError) as error:
                await _disconnect(connection)
                fault = _fault_of(error, self.where)
                self._on_change(str(fault))
                raise fault from error
            except BaseException:
                await _disconnect(connection)
                raise
            self._channel = _Channel(connection, self._settings.timeout_seconds, self.where)
            self._on_change(None)
            return self._channel

    def _new_connection(self) -> AbstractConnection:
        settings = self._settings
        options: dict[str, Any] = {
            "socket_timeout": None,  # the channel has its own, which knows what is outstanding
            "socket_connect_timeout": settings.connect_timeout_seconds,
            "socket_keepalive": True,
            "retry": Retry(NoBackoff(), 0),
            "retry_on_error": [],
            "health_check_interval": 0,
            "protocol": 2,
            "client_name": "lens-bridge",
        }
        url = settings.url.get_secret_value()
        if settings.username:
            options["username"] = settings.username
        password = self._password()
        if password:
            options["password"] = password
        if settings.ca_file and url.startswith("rediss://"):
            options["ssl_ca_certs"] = str(settings.ca_file)
        pool: Any = ConnectionPool.from_url(url, **options)  # knows the URL's schemes and options
        made: AbstractConnection = pool.make_connection()
        return made

    def _password(self) -> str | None:
        if self._settings.password_file:
            try:
                password = self._settings.password_file.read_text().strip()
            except OSError as error:
                raise SinkFault(
                    "unauthorized", f"redis.password_file {self._settings.password_file}: {error.strerror}"
                ) from error
            self._secrets.add(password, "redis.password_file")
            return password
        return self._settings.password.get_secret_value() if self._settings.password else None


class _Channel:
    """One open connection: what is written and what is still to be answered."""

    def __init__(self, connection: AbstractConnection, timeout_seconds: float, where: str) -> None:
        self.broken = False
        self._connection = connection
        self._timeout_seconds = timeout_seconds
        self._where = where
        self._outbox: list[bytes] = []
        self._waiting: deque[asyncio.Future[Any]] = deque()
        self._wake_writer, self._wake_reader = asyncio.Event(), asyncio.Event()
        self._tasks = [
            asyncio.create_task(self._run(self._write), name="redis.write"),
            asyncio.create_task(self._run(self._read), name="redis.read"),
        ]

    async def post(self, packed: bytes) -> Any:
        """Write and wait for the reply. The caller may be cancelled: the reply is then read and thrown away."""
        future = asyncio.get_running_loop().create_future()
        self._outbox.append(packed)
        self._waiting.append(future)
        self._wake_writer.set()
        self._wake_reader.set()
        return await future

    async def aclose(self) -> None:
        self._break(SinkFault("unreachable", f"the connection to Redis at {self._where} was closed"))
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await _disconnect(self._connection)

    async def _run(self, loop: Callable[[], Awaitable[None]]) -> None:
        try:
            await loop()
        except (exceptions.RedisError, OSError, TimeoutError, EOFError) as error:
            self._break(_fault_of(error, self._where))
            for task in self._tasks:
                if task is not asyncio.current_task():
                    task.cancel()
            await _disconnect(self._connection)

    async def _write(self) -> None:
        while True:
            await self._wake_writer.wait()
            self._wake_writer.clear()
            outbox, self._outbox = self._outbox, []
            await self._connection.send_packed_command(outbox, check_health=False)

    async def _read(self) -> None:
        while True:
            if not self._waiting:
                self._wake_reader.clear()
                await self._wake_reader.wait()
            reply: Any
            try:
                async with asyncio.timeout(self._timeout_seconds):
                    reply = await self._connection.read_response(disable_decoding=True)
            except exceptions.ResponseError as error:
                reply = _fault_of(error, self._where)  # an answer too: this call failed, the connection is fine
            future = self._waiting.popleft()
            if future.done():
                continue  # its caller was cancelled; the reply had to be read all the same
            if isinstance(reply, SinkFault):
                future.set_exception(reply)
            else:
                future.set_result(reply)

    def _break(self, fault: SinkFault) -> None:
        self.broken = True
        waiting, self._waiting = self._waiting, deque()
        for future in waiting:
            if not future.done():
                future.set_exception(SinkFault(fault.kind, fault.detail))


def _pack(*arguments: Argument) -> bytes:
    packed: bytes = hiredis.pack_command(arguments)  # type: ignore[arg-type]  # its stub knows one argument only
    return packed


_REPLIES: tuple[tuple[type[Exception], str, str], ...] = (
    (exceptions.NoScriptError, "no_script", "the script cache was flushed"),
    (exceptions.BusyLoadingError, "loading", "it is loading its data; this passes"),
    (exceptions.ReadOnlyError, "read_only", "it is a replica; point redis.url at the primary"),
    (exceptions.OutOfMemoryError, "out_of_memory", "it is full; raise maxmemory, or trim with stream.max_length"),
    (exceptions.NoPermissionError, "no_permission", "grant the user these commands and keys by ACL"),
    (exceptions.AuthenticationError, "unauthorized", "check redis.username, redis.password or the URL"),
    (exceptions.MasterDownError, "primary_down", "the primary is away; this passes"),
    (exceptions.ClusterDownError, "cluster_down", "the cluster does not serve this slot; this passes"),
)


def _fault_of(error: BaseException, where: str) -> SinkFault:
    """Put an error of redis-py or of the socket into our words. Faults that can pass are retriable: all but none."""
    text = str(error).strip() or type(error).__name__
    for kind, name, advice in _REPLIES:
        if isinstance(error, kind):
            return SinkFault(name, f"Redis at {where} answers: {text} - {advice}")
    if isinstance(error, TimeoutError | exceptions.TimeoutError):
        return SinkFault("timeout", f"Redis at {where} does not answer in time - is it busy or hung?")
    if isinstance(error, exceptions.ConnectionError | OSError | EOFError | ValueError):
        return SinkFault(
            "unreachable", f"Redis at {where} cannot be reached: {text} - check redis.url and that it runs"
        )
    if "invalid bulk length" in text:
        return SinkFault(
            "too_large", f"Redis at {where} answers: {text} - proto-max-bulk-len is below the event's size"
        )
    if "NOREPLICAS" in text:
        return SinkFault("no_replicas", f"Redis at {where} answers: {text} - min-replicas-to-write is not met")
    if "WRONGTYPE" in text:
        return SinkFault("wrong_type", f"Redis at {where} answers: {text} - a key of this session is used otherwise")
    return SinkFault("reply", f"Redis at {where} answers: {text}")


async def _disconnect(connection: AbstractConnection) -> None:
    with contextlib.suppress(exceptions.RedisError, OSError, RuntimeError):
        await connection.disconnect(nowait=True)
