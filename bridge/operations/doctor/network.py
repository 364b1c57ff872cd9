"""Names, ports and TLS, looked at one by one with nothing of ours above them: which of the three is it?"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import re
import socket
import ssl
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

__all__ = ["Reached", "connect", "is_address", "reason_of", "resolve", "speaks_plainly"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """A server that answers. ``tls``: the version that was agreed on, ``good_until``: the end of its certificate; None
    where no TLS was spoken, or it does not say."""

    seconds: float
    tls: str | None = None
    good_until: datetime | None = None


def is_address(host: str) -> bool:
    """Nobody has to be asked for it."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def reason_of(error: OSError) -> str:
    """Why a name or a server is not there, in the system's words: asyncio's own speak of calls."""
    errno = error.errno if not isinstance(error, socket.gaierror) else None
    told = re.search(r"\[Errno (\d+)\]", str(error))  # of several addresses: the first
    if errno or told:
        return os.strerror(errno or int(told[1] if told else 0))
    return " ".join(str(error.strerror or error).split()) or type(error).__name__


async def resolve(host: str, seconds: float) -> list[str]:
    """The addresses of a name. Raises OSError (TimeoutError too) where there are none."""
    try:
        async with asyncio.timeout(seconds):
            found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except UnicodeError as error:  # a label that is empty or too long
        raise OSError(f"{host} is no name that could be asked for") from error
    except TimeoutError:
        raise TimeoutError(f"no name server has answered within {seconds:g} s") from None
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


async def connect(host: str, port: int, seconds: float, tls: ssl.SSLContext | None = None) -> Reached:
    """Connect, shake hands where ``tls`` is given, and hang up. Port 0: ``host`` is the path of a Unix socket.

    Raises OSError (TimeoutError and ssl.SSLError too).
    """
    began = time.monotonic()
    try:
        async with asyncio.timeout(seconds):
            if port:
                _, writer = await asyncio.open_connection(host, port, ssl=tls)
            else:
                _, writer = await asyncio.open_unix_connection(host)
    except TimeoutError:
        raise TimeoutError(f"nothing answers within {seconds:g} s") from None
    took = time.monotonic() - began
    spoken = writer.get_extra_info("ssl_object")
    version, until = (None, None) if spoken is None else (spoken.version(), _good_until(spoken))
    writer.close()
    with suppress(OSError, TimeoutError):
        async with asyncio.timeout(seconds):
            await writer.wait_closed()
    return Reached(seconds=took, tls=version, good_until=until)


async def speaks_plainly(host: str, port: int, seconds: float) -> bool:
    """Whether a Redis answers here without TLS. Nothing is told to it but PING."""
    try:
        async with asyncio.timeout(seconds):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                writer.write(b"PING\r\n")
                return (await reader.readline()).startswith((b"+PONG", b"-NOAUTH", b"-NOPERM", b"-DENIED"))
            finally:
                writer.close()
    except (OSError, ValueError):
        return False


def _good_until(spoken: ssl.SSLObject) -> datetime | None:
    told = (spoken.getpeercert() or {}).get("notAfter")
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(told), UTC) if isinstance(told, str) else None
