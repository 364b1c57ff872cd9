"""The sockets that a server listens on."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import resource
import socket
from typing import Any

__all__ = ["ALL_ADDRESSES", "is_loopback", "listen"]

ALL_ADDRESSES = "0.0.0.0"  # noqa: S104  Prometheus and the kubelet come from outside the pod


async def listen(host: str, port: int) -> list[socket.socket]:
    """A socket for each address of ``host``. Raises OSError where one cannot be had.

    ``0.0.0.0``, the default, means every address of this machine: of IPv6 too, where it has that.
    """
    if host == ALL_ADDRESSES:
        try:
            return [_Socket.bound(socket.AF_INET6, ("::", port), dual=True)]
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise
            return [_Socket.bound(socket.AF_INET, (host, port))]  # a kernel without IPv6
    sockets: list[socket.socket] = []
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    try:
        for family, address in dict.fromkeys((family, address) for family, _, _, _, address in found):
            sockets.append(_Socket.bound(family, address))
    except OSError:
        for one in sockets:
            one.close()
        raise
    return sockets


def is_loopback(host: str) -> bool:
    """Whether only programs of this machine reach who listens there."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


class _Socket(socket.socket):
    """A listening socket that can take a connection when everything else is out of descriptors.

    The limit of this process is kept somewhat below what it may be (`bridge.worker.process`). Sessions that reconnect
    meet that limit; a probe goes beyond it, else a pod that is only short of descriptors would be killed.
    """

    @classmethod
    def bound(cls, family: int, address: Any, *, dual: bool = False) -> _Socket:
        made = cls(family, socket.SOCK_STREAM)
        try:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not dual)
            made.bind(address)
            made.setblocking(False)
        except OSError:
            made.close()
            raise
        return made

    def accept(self) -> tuple[socket.socket, Any]:
        try:
            return super().accept()
        except OSError as error:
            if error.errno != errno.EMFILE:
                raise
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        try:
            return super().accept()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
