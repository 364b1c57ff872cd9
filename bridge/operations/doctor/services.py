"""Managed Redis services, known by the names of their hosts: what they publish, and what follows from it. Pure.

None of them was run with the bridge; each row is what the service's own documentation says, as in the README.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bridge.model.redis_address import RedisAddress, Topology
from bridge.operations.doctor.lines import Line, ok, warn

__all__ = ["service_lines"]

_CHECK = "redis.service"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Service:
    name: str
    endings: tuple[str, ...]
    published: str
    clustered: bool = False
    port: int | None = None


_SERVICES = (  # the first that fits
    _Service(
        name="ElastiCache Serverless",
        endings=(".serverless.*.cache.amazonaws.com",),
        published="3,999 arguments a request; when full it evicts what has a time to live, then refuses writes: set "
        "stream.max_length",
        clustered=True,
    ),
    _Service(
        name="ElastiCache",
        endings=(".cache.amazonaws.com",),
        published="no CONFIG; its default policy evicts what has a time to live: set noeviction in the parameter group",
    ),
    _Service(
        name="MemoryDB",
        endings=(".memorydb.*.amazonaws.com",),
        published="no CONFIG; it keeps what it acknowledged",
        clustered=True,
    ),
    _Service(
        name="Azure Managed Redis",
        endings=(".redis.azure.net", ".redisenterprise.cache.azure.net"),
        published="with the OSS policy its nodes are on ports from 8500 on, and rediss+cluster:// leads there; set its "
        "eviction to NoEviction",
        port=10_000,
    ),
    _Service(
        name="Upstash",
        endings=(".upstash.io",),
        published="10 MB a request; eviction is off unless chosen, and then takes any key: leave it off",
    ),
)


def service_lines(address: RedisAddress) -> Iterator[Line]:
    """What is published about whoever runs these servers, where their names tell; else nothing."""
    host = address.endpoints[0].host
    service = next((one for one in _SERVICES if any(_ends(host, ending) for ending in one.endings)), None)
    if service is None:
        return
    yield ok(_CHECK, f"{host} is of {service.name}, which publishes: {service.published}")
    clustered = address.topology is Topology.CLUSTER
    if not address.tls or (service.clustered and not clustered):
        scheme = "rediss+cluster://" if service.clustered or clustered else "rediss://"
        yield warn(_CHECK, f"{service.name} is spoken to by {scheme}", f"write {scheme} in redis.url")
    ports = {one.port for one in address.endpoints}
    if service.port and service.port not in ports:
        yield warn(_CHECK, f"{service.name} listens on port {service.port}", f"write :{service.port} in redis.url")


def _ends(host: str, ending: str) -> bool:
    """``*`` in the ending is one label, a region."""
    labels, wanted = host.split("."), ending.split(".")[1:]
    last = labels[-len(wanted) :]
    return len(labels) > len(wanted) and all(want in ("*", label) for want, label in zip(wanted, last, strict=True))
