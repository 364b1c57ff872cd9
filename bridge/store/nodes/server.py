"""What a server is, as far as it may be asked, and what a person should know about it. Facts to findings: pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

__all__ = ["QUESTIONS", "Finding", "ServerFacts", "Weight", "facts_of", "findings", "in_words"]

QUESTIONS: tuple[tuple[str, ...], ...] = (
    ("INFO", "SERVER"),
    ("INFO", "MEMORY"),
    ("INFO", "PERSISTENCE"),
    ("INFO", "REPLICATION"),
    ("COMMAND", "INFO", "EVALSHA"),
    ("CONFIG", "GET", "appendfsync"),  # one by one: before 7.0 it takes one name, and * would bring passwords along
    ("CONFIG", "GET", "save"),
    ("CONFIG", "GET", "min-replicas-to-write"),
    ("CONFIG", "GET", "maxclients"),
    ("CONFIG", "GET", "proto-max-bulk-len"),
)
"""Each may be refused: a managed service tells nothing of its configuration, an ACL user need not be permitted."""

_OLDEST = (6, 2)
_SMALLEST_REQUEST_BYTES = 1024 * 1024  # a batch is smaller than that; a single event may be larger
_FEWEST_CLIENTS = 100
_NEARLY_FULL = 0.8  # of maxmemory
_FAMILIES = {"redis": "Redis", "valkey": "Valkey", "dragonfly": "Dragonfly", "keydb": "KeyDB"}


class Weight(StrEnum):
    """How much a finding matters."""

    FAULT = "fault"  # the guarantee does not hold, or nothing can be written
    WARNING = "warning"  # it holds for as long as nothing happens


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing about a server that a person should know: what is so, and what to do."""

    weight: Weight
    word: str
    detail: str
    advice: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerFacts:
    """What a server says of itself. None: it was not to be learned.

    ``aof_fsync`` is that of the append-only file, "" where there is none; ``limits`` are those below the usual ones.
    """

    where: str
    family: str | None = None
    version: tuple[int, ...] | None = None
    role: str | None = None
    replicas: int | None = None
    eviction: str | None = None
    max_memory_bytes: int | None = None
    used_memory_bytes: int | None = None
    aof_fsync: str | None = None
    snapshots: bool | None = None
    replicas_to_write: int | None = None
    max_clients: int | None = None
    max_value_bytes: int | None = None
    runs_lua: bool | None = None
    failing_writes: bool | None = None  # it cannot write its data to disk


def facts_of(where: str, replies: Mapping[tuple[str, ...], object]) -> ServerFacts:
    """Made of the replies to `QUESTIONS`, as far as there are any."""
    told: dict[str, str] = {}
    config: dict[str, str] = {}
    for (command, *_), reply in replies.items():
        if command == "INFO":
            told |= _info(reply)
        elif command == "CONFIG":
            config |= _config(reply)
    appends = _flag(told.get("aof_enabled"))
    fsync = config.get("appendfsync", "unknown")
    return ServerFacts(
        where=where,
        family=_family(told),
        version=_version(told.get("valkey_version") or told.get("redis_version")),
        role=told.get("role"),
        replicas=_number(told.get("connected_slaves")),
        eviction=told.get("maxmemory_policy"),
        max_memory_bytes=_number(told.get("maxmemory")),
        used_memory_bytes=_number(told.get("used_memory")),
        aof_fsync=None if appends is None else fsync if appends else "",
        snapshots=bool(config["save"]) if "save" in config else None,
        replicas_to_write=_number(config.get("min-replicas-to-write")),
        max_clients=_number(config.get("maxclients")),
        max_value_bytes=_number(config.get("proto-max-bulk-len")),
        runs_lua=_runs(replies.get(("COMMAND", "INFO", "EVALSHA"))),
        failing_writes=_any_failing(told),
    )


def in_words(facts: ServerFacts) -> str:
    """One line: what the server is."""
    version = ".".join(map(str, facts.version)) if facts.version else "of an unknown version"
    parts = [f"{facts.family or 'Redis'} {version}", facts.role or "role unknown"]
    if facts.replicas is not None:
        parts.append(f"{facts.replicas} replica{'' if facts.replicas == 1 else 's'}")
    if facts.aof_fsync is None and facts.snapshots is None:
        parts.append("persistence unknown")
    else:
        kept = [f"append-only file, fsync {facts.aof_fsync}"] if facts.aof_fsync else []
        kept += ["snapshots"] if facts.snapshots else []
        parts.append(" and ".join(kept) or "nothing on disk")
    if facts.max_memory_bytes:
        parts.append(f"maxmemory {facts.max_memory_bytes:,} bytes")
    parts.append(f"eviction {facts.eviction}" if facts.eviction else "eviction unknown")
    return ", ".join(parts)


def findings(facts: ServerFacts) -> Iterator[Finding]:
    """What a person should know, the worst first."""
    if facts.runs_lua is False:
        yield Finding(
            weight=Weight.FAULT,
            word="no_scripting",
            detail="it does not know EVALSHA, and every commit is a Lua script",
            advice="load its Lua module, or take EVALSHA back where it was renamed",
        )
    if facts.version and facts.version[:2] < _OLDEST:
        yield Finding(
            weight=Weight.FAULT,
            word="too_old",
            detail=f"version {'.'.join(map(str, facts.version))} is older than 6.2",
            advice="upgrade it",
        )
    if facts.role == "slave":
        yield Finding(
            weight=Weight.FAULT,
            word="replica",
            detail="it is a replica, which takes no writes",
            advice="point redis.url at the primary, or at the Sentinels",
        )
    if facts.failing_writes:
        yield Finding(
            weight=Weight.FAULT,
            word="not_persisting",
            detail="its last attempt to write its data to disk failed",
            advice="look for room and permissions where it keeps its data",
        )
    if facts.eviction and facts.eviction != "noeviction":
        yield _eviction(facts)
    yield from _memory(facts)
    yield from _durability(facts)
    yield from _limits(facts)


def _eviction(facts: ServerFacts) -> Finding:
    # Streams and state have no time to live, so a policy for volatile keys takes leases and the register alone.
    whole = not facts.eviction or not facts.eviction.startswith("volatile")
    what = "streams and committed places" if whole else "leases"
    bound = "once its memory is full" if facts.max_memory_bytes else "as soon as somebody sets maxmemory"
    return Finding(
        weight=Weight.FAULT if whole and facts.max_memory_bytes else Weight.WARNING,
        word="evicting",
        detail=f"maxmemory-policy {facts.eviction} deletes {what} {bound}",
        advice="set maxmemory-policy noeviction, and stream.max_length to what the memory holds",
    )


def _memory(facts: ServerFacts) -> Iterator[Finding]:
    most, used = facts.max_memory_bytes, facts.used_memory_bytes
    if not most or used is None or used < _NEARLY_FULL * most:
        return
    yield Finding(
        weight=Weight.FAULT if used >= most else Weight.WARNING,
        word="full" if used >= most else "nearly_full",
        detail=f"{used:,} of its {most:,} bytes of memory are in use ({used / most:.0%})",
        advice="raise maxmemory, or trim with stream.max_length",
    )


def _durability(facts: ServerFacts) -> Iterator[Finding]:
    if facts.aof_fsync == "" and not facts.replicas:
        lost = "all that it holds" if facts.snapshots is False else "what came since the last snapshot"
        yield Finding(
            weight=Weight.WARNING,
            word="not_durable",
            detail=f"it has no append-only file and no replica: a restart loses {lost}",
            advice="set appendonly yes",
        )
    elif facts.aof_fsync == "no" and not facts.replicas:
        yield Finding(
            weight=Weight.WARNING,
            word="not_durable",
            detail="appendfsync no leaves it to the system when data reaches the disk",
            advice="set appendfsync everysec or always",
        )
    if facts.replicas and facts.replicas_to_write == 0:
        yield Finding(
            weight=Weight.WARNING,
            word="writes_alone",
            detail="cut off from its replicas it goes on taking writes, which a failover then forgets",
            advice="set min-replicas-to-write 1 and min-replicas-max-lag 10",
        )


def _limits(facts: ServerFacts) -> Iterator[Finding]:
    if facts.max_value_bytes is not None and facts.max_value_bytes < _SMALLEST_REQUEST_BYTES:
        yield Finding(
            weight=Weight.WARNING,
            word="small_values",
            detail=f"proto-max-bulk-len {facts.max_value_bytes:,} is less than an event may have",
            advice="raise it to source.max_event_bytes",
        )
    if facts.max_clients is not None and facts.max_clients < _FEWEST_CLIENTS:
        yield Finding(
            weight=Weight.WARNING,
            word="few_clients",
            detail=f"maxclients {facts.max_clients} is little for workers, consumers and whoever looks",
            advice="raise it",
        )


def _info(reply: object) -> dict[str, str]:
    if not isinstance(reply, bytes):
        return {}
    lines = (line.partition(":") for line in reply.decode(errors="replace").splitlines() if not line.startswith("#"))
    return {name: value.strip() for name, colon, value in lines if colon}


def _config(reply: object) -> dict[str, str]:
    if not isinstance(reply, list):
        return {}
    texts = [one.decode(errors="replace") if isinstance(one, bytes) else "" for one in reply]
    return dict(zip(texts[::2], texts[1::2], strict=False))


def _family(told: Mapping[str, str]) -> str | None:
    if not told.get("redis_version"):
        return None
    if "dragonfly_version" in told:
        return "Dragonfly"
    return _FAMILIES.get(told.get("server_name", "redis"), told.get("server_name"))


def _version(text: str | None) -> tuple[int, ...] | None:
    found = re.match(r"[0-9]+(?:\.[0-9]+)*", text or "")
    return tuple(map(int, found[0].split("."))) if found else None


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdigit() else None


def _flag(text: str | None) -> bool | None:
    return None if text is None else text == "1"


def _runs(reply: object) -> bool | None:
    """COMMAND INFO answers with a null for what is not known."""
    return reply[0] not in (None, []) if isinstance(reply, list) and reply else None


def _any_failing(told: Mapping[str, str]) -> bool | None:
    states = [told[name] for name in ("rdb_last_bgsave_status", "aof_last_write_status") if name in told]
    return any(state != "ok" for state in states) if states else None
