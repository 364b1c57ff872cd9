"""What stands behind ``redis.url``: one server, a service that Sentinels watch, or a cluster. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import unquote

__all__ = ["Endpoint", "RedisAddress", "Topology", "redis_address", "redis_url"]

_SCHEME = re.compile(r"(?P<family>rediss?|valkeys?)(?:\+(?P<topology>sentinel|cluster))?|unix", re.IGNORECASE)
_HOST = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+(?:%[\w.-]+)?)\]|(?P<name>[^\s\[\]:/,@]+))(?::(?P<port>[0-9]{1,5}))?")
_LIKE = {
    "single": "redis://host:6379/0, or rediss:// for TLS",
    "sentinel": "redis+sentinel://host:26379,host:26379/service/0, or rediss+sentinel:// for TLS",
    "cluster": "redis+cluster://host:6379,host:6379, or rediss+cluster:// for TLS",
    "unix": "unix:///run/redis.sock, with ?db=1 for another database than 0",
}
_SCHEMES = "must begin with redis://, rediss:// (TLS), redis+sentinel://, redis+cluster:// or unix://"
_NO_OPTIONS = "takes no ? and no #; options are settings of their own, and a password must be percent-encoded"
_BAD_PLACE = "has a bad host or port (1 to 65535); special characters must be percent-encoded"


class Topology(StrEnum):
    """How the servers behind an address hang together."""

    SINGLE = "single"
    SENTINEL = "sentinel"
    CLUSTER = "cluster"


@dataclass(frozen=True, slots=True, order=True)
class Endpoint:
    """Where a server listens: host and port, or the path of a Unix socket with port 0."""

    host: str
    port: int

    @property
    def is_socket(self) -> bool:
        """It is a Unix socket."""
        return self.port == 0

    def __str__(self) -> str:
        if self.is_socket:
            return self.host
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisAddress:
    """A URL taken apart. ``endpoints`` are servers of data, or for `sentinel` the Sentinels of ``service``.

    User and password are those of the servers of data, decoded; "" where the URL has none.
    """

    topology: Topology
    endpoints: tuple[Endpoint, ...]
    tls: bool = False
    service: str = ""
    database: int = 0
    username: str = ""
    password: str = ""


def redis_url(text: str) -> str:
    """Return the URL as it is; raise ValueError, in words that never repeat a secret, for what leads to no Redis."""
    redis_address(text)
    return text


def redis_address(text: str) -> RedisAddress:
    """Take a URL apart. Raises ValueError as `redis_url` does."""
    if re.search(r"[\s\x00-\x1f\x7f]", text):
        raise ValueError("must hold no spaces and no line breaks")
    scheme, _, rest = text.partition("://")
    known = _SCHEME.fullmatch(scheme)
    if known is None:
        raise ValueError(_SCHEMES)
    if known[0].lower() == "unix":
        return _socket(rest)
    topology = Topology((known["topology"] or "single").lower())
    if "?" in rest or "#" in rest:
        raise ValueError(_NO_OPTIONS)
    authority, _, path = rest.partition("/")
    credentials, _, hosts = authority.rpartition("@")
    username, _, password = credentials.partition(":")
    if not hosts:
        raise ValueError(f"must look like {_LIKE[topology]}")
    service, database = _path(topology, path)
    endpoints = tuple(_endpoint(host, 26379 if topology is Topology.SENTINEL else 6379) for host in hosts.split(","))
    if topology is Topology.SINGLE and len(endpoints) > 1:
        raise ValueError("names several hosts; for several write redis+sentinel:// or redis+cluster://")
    return RedisAddress(
        topology=topology,
        endpoints=tuple(dict.fromkeys(endpoints)),
        tls=known["family"].lower() in ("rediss", "valkeys"),
        service=service,
        database=database,
        username=unquote(username),
        password=unquote(password),
    )


def _endpoint(text: str, default_port: int) -> Endpoint:
    found = _HOST.fullmatch(text)
    if found is None:
        raise ValueError(_BAD_PLACE)
    port = int(found["port"] or default_port)
    if port == 0:
        raise ValueError("has a bad port: 0; it must be 1 to 65535")
    if port > 65_535:
        raise ValueError(_BAD_PLACE)
    return Endpoint((found["v6"] or found["name"]).lower(), port)


def _path(topology: Topology, path: str) -> tuple[str, int]:
    """Service and database."""
    match topology:
        case Topology.CLUSTER:
            if path not in ("", "0"):
                raise ValueError("must end after the hosts: a cluster has database 0 only")
            return "", 0
        case Topology.SENTINEL:
            service, _, database = path.partition("/")
            if not service or "@" in path:
                raise ValueError(f"must name the service that the Sentinels watch, as {_LIKE['sentinel']}")
            return unquote(service), _database(database)
        case Topology.SINGLE:
            return "", _database(path)


def _database(text: str) -> int:
    if not re.fullmatch(r"[0-9]{0,5}", text):
        raise ValueError("must end with a database number, e.g. /0; a slash in a password must be written %2F")
    return int(text or 0)


def _socket(rest: str) -> RedisAddress:
    credentials, _, path = rest.rpartition("@")
    path, _, query = path.partition("?")
    database = re.fullmatch(r"(?:db=([0-9]{1,5}))?", query)
    if not path.startswith("/") or path.endswith("/") or database is None or "#" in rest:
        raise ValueError(f"must look like {_LIKE['unix']}")
    username, _, password = credentials.partition(":")
    return RedisAddress(
        topology=Topology.SINGLE,
        endpoints=(Endpoint(unquote(path), 0),),
        database=int(database[1] or 0),
        username=unquote(username),
        password=unquote(password),
    )
