"""How to get into a server: user, password and certificates, read anew where they may have been rotated."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import Any

from bridge.errors import FaultKind, Meaning, SinkFault
from bridge.masking import Secrets
from bridge.model.redis_address import Endpoint
from bridge.settings import RedisSettings
from bridge.store.connection import Connection, pack

__all__ = ["Access"]


class Access:
    """Opens connections to the servers of data and to the Sentinels that the settings tell of."""

    def __init__(self, settings: RedisSettings, secrets: Secrets) -> None:
        self.address = settings.address
        self.patience_seconds = settings.connect_timeout_seconds
        self._settings = settings
        self._secrets = secrets
        self._certificates = _Certificates(settings)

    def use(self, settings: RedisSettings) -> None:
        """Take users, passwords and certificates from these from the next connection on; all else stays as it was."""
        self._settings = settings
        self._certificates = _Certificates(settings)

    async def open(self, endpoint: Endpoint) -> Connection:
        """A connection to a server of data, logged in and at the right database. Raises SinkFault."""
        return await self._open(endpoint, self._greeting())

    async def ask(self, endpoint: Endpoint, *commands: bytes) -> list[Any]:
        """Ask a server of data on a connection of its own; a refused command's reply is its SinkFault.

        Raises SinkFault where it cannot be asked.
        """
        return await _answers(await self._open(endpoint, self._greeting()), commands)

    async def open_sentinel(self, endpoint: Endpoint) -> Connection:
        """A connection to a Sentinel, logged in. Raises SinkFault."""
        return await self._open(endpoint, self._greeting_of_sentinels())

    async def _open(self, endpoint: Endpoint, greeting: list[bytes]) -> Connection:
        seconds = self.patience_seconds
        tls = self._certificates.context() if self.address.tls else None
        try:
            async with asyncio.timeout(seconds):
                return await Connection.open(endpoint, tls, self._settings.timeout_seconds, greeting)
        except TimeoutError as error:
            detail = f"Redis at {endpoint} cannot be reached within {seconds:g} s - check redis.url and the network"
            if tls:
                detail += ", and that this port speaks TLS"
            raise SinkFault(FaultKind.UNREACHABLE, detail) from error
        except (OSError, UnicodeError) as error:  # the latter for a host name with an empty or an overlong label
            reason = " ".join(str(error).split()) or type(error).__name__
            detail = f"Redis at {endpoint} cannot be reached: {reason} - {_advice_on(error)}"
            raise SinkFault(FaultKind.UNREACHABLE, detail) from error

    def _greeting(self) -> list[bytes]:
        settings, address = self._settings, self.address
        given = settings.password.get_secret_value() if settings.password else address.password
        password = self._password(settings.password_file, "redis.password_file", given)
        commands = _login(settings.username or address.username, password)
        if address.database:  # where it is 0, nobody needs to be permitted to choose it
            commands.append(pack("SELECT", address.database))
        return commands

    def _greeting_of_sentinels(self) -> list[bytes]:
        settings = self._settings
        given = settings.sentinel_password.get_secret_value() if settings.sentinel_password else ""
        password = self._password(settings.sentinel_password_file, "redis.sentinel_password_file", given)
        return _login(settings.sentinel_username or "", password)

    def _password(self, file: Path | None, setting: str, given: str) -> str:
        if file is None:
            return given
        try:
            password = file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not text"
            raise SinkFault(FaultKind.UNAUTHORIZED, f"{setting} {file} cannot be read: {reason}") from error
        self._secrets.add(password, setting)
        return password


class _Certificates:
    """What TLS is spoken with. Loaded again when one of the files has changed, and else kept: a load takes 10 ms."""

    def __init__(self, settings: RedisSettings) -> None:
        self._ca_file = settings.ca_file
        self._cert_file = settings.cert_file
        self._key_file = settings.key_file
        self._loaded: ssl.SSLContext | None = None
        self._stamps: list[tuple[int, ...]] = []

    def context(self) -> ssl.SSLContext:
        """The files as they are now. Raises SinkFault: in the middle of a rotation they need not fit together."""
        try:
            stamps = [_stamp(file) for file in (self._ca_file, self._cert_file, self._key_file) if file]
            if self._loaded is None or stamps != self._stamps:
                self._loaded, self._stamps = self._load(), stamps
            return self._loaded
        except (OSError, ValueError) as error:
            settings = {
                "redis.ca_file": self._ca_file,
                "redis.cert_file": self._cert_file,
                "redis.key_file": self._key_file,
            }
            named = ", ".join(f"{name} {file}" for name, file in settings.items() if file)
            reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
            raise SinkFault(
                FaultKind.UNAUTHORIZED, f"{named or 'the certificates'} cannot be used: {reason}"
            ) from error

    def _load(self) -> ssl.SSLContext:
        made = ssl.create_default_context(cafile=self._ca_file)
        if self._cert_file:
            made.load_cert_chain(self._cert_file, self._key_file, _no_password)
        return made


def _no_password() -> str:
    """Asked for only where the key is encrypted; OpenSSL would ask the terminal."""
    raise ValueError("the key is encrypted")


def _stamp(file: Path) -> tuple[int, ...]:
    told = file.stat()
    return told.st_dev, told.st_ino, told.st_size, told.st_mtime_ns


def _login(username: str, password: str) -> list[bytes]:
    if not password:
        return []
    return [pack("AUTH", username, password) if username else pack("AUTH", password)]


def _advice_on(error: Exception) -> str:
    match error:
        case ssl.SSLCertVerificationError():
            return "name the authority that signed its certificate in redis.ca_file"
        case ssl.SSLError():
            return "check that this port speaks TLS, or write redis:// in redis.url"
    return "check redis.url"


async def _answers(connection: Connection, commands: tuple[bytes, ...]) -> list[Any]:
    try:
        replies = await asyncio.gather(*map(connection.post, commands), return_exceptions=True)
    finally:
        connection.close()
    for reply in replies:
        if isinstance(reply, BaseException) and not _is_refusal(reply):
            raise reply
    return replies


def _is_refusal(error: BaseException) -> bool:
    return isinstance(error, SinkFault) and error.kind.meaning is not Meaning.UNKNOWN
