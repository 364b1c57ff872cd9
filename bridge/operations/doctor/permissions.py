"""What a worker must be permitted to do in Redis: each command once, as a call that harms nobody. Pure.

The same calls serve for a question (ACL DRYRUN, with a session's own keys) and for a trial (with throw-away keys, in
this order: each finds what the one before has left).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bridge.model.keys import SessionKeys
from bridge.model.redis_address import Topology
from bridge.operations.doctor.lines import Line, fault, ok, warn
from bridge.settings import DurabilityLevel

__all__ = [
    "KEEP_MS",
    "Call",
    "Refusal",
    "cleaning",
    "everywhere",
    "in_workers_slot",
    "keeping_unread",
    "laying_out",
    "of_session",
    "permission_lines",
]

KEEP_MS = 60_000
"""How long throw-away keys live where nobody comes to remove them."""

Call = tuple[str, ...]
"""A command with its arguments."""

_TTL = str(KEEP_MS)
_FIELD = "doctor"
_KEYS = re.compile(
    r"permissions? to access (?:one of the keys|the '|a key)|No permissions to access a key", re.IGNORECASE
)
_BEGINNING = re.compile(r"[^:{]*:?")
_WITH_SUBCOMMANDS = frozenset(("SCRIPT", "XINFO", "CLUSTER", "CONFIG", "COMMAND"))
_OPTIONAL = frozenset(("info", "config|get", "command|info"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A call that is not permitted, and the server's words about it."""

    call: Call
    words: str

    @property
    def command(self) -> str:
        """As ACL rules have it."""
        name, *rest = self.call
        return f"{name}|{rest[0]}".lower() if name in _WITH_SUBCOMMANDS else name.lower()

    @property
    def of_keys(self) -> bool:
        """The command is permitted, and these keys are not."""
        return _KEYS.search(self.words) is not None


def _pattern(key: str) -> str:
    """What permits a key and all that begin alike, up to the first colon or brace: what follows differs by session."""
    beginning = _BEGINNING.match(key)
    return f"~{beginning[0] if beginning else ''}*"


def cleaning(keys: SessionKeys) -> list[Call]:
    """What has to be permitted before anything is written: to take it away again."""
    return [("DEL", keys.lease), ("PEXPIRE", keys.lease, _TTL)]


def laying_out(keys: SessionKeys) -> list[Call]:
    """Makes the keys that live on, each with an end."""
    return [
        ("HSET", keys.state, _FIELD, "1"),
        ("PEXPIRE", keys.state, _TTL),
        ("XADD", keys.events, "*", _FIELD, "1"),
        ("PEXPIRE", keys.events, _TTL),
        ("XADD", keys.dead_letter, "*", _FIELD, "1"),
        ("PEXPIRE", keys.dead_letter, _TTL),
        *(call for key in keys.streams[1:] for call in (("XADD", key, "*", _FIELD, "1"), ("PEXPIRE", key, _TTL))),
    ]


def of_session(keys: SessionKeys, script: str, sha: str) -> list[Call]:
    """The rest of what scripts and worker do to a session's keys. ``script`` is one that writes nothing."""
    return [
        ("TIME",),
        ("SET", keys.lease, "1", "PX", _TTL),
        ("INCRBY", keys.lease, "1"),
        ("GET", keys.lease),
        ("PTTL", keys.lease),
        ("EXISTS", keys.state),
        ("HSETNX", keys.state, _FIELD, "1"),
        ("HGET", keys.state, _FIELD),
        ("HMGET", keys.state, _FIELD),
        ("HGETALL", keys.state),
        ("HLEN", keys.state),
        ("HDEL", keys.state, f"{_FIELD}-2"),
        ("LPUSH", keys.seen, _FIELD),
        ("RPUSH", keys.seen, _FIELD),
        ("LLEN", keys.seen),
        ("PEXPIRE", keys.seen, _TTL),
        ("TYPE", keys.seen),
        ("LRANGE", keys.seen, "0", "-1"),
        ("LTRIM", keys.seen, "-1", "-1"),
        ("RPOP", keys.seen),
        *(call for key in keys.streams for call in _of_stream(key)),
        ("SCRIPT", "LOAD", script),
        ("EVALSHA", sha, "1", keys.state, "0"),
        ("DEL", keys.lease),  # for whoever takes it next
    ]


def _of_stream(key: str) -> list[Call]:
    return [
        ("XLEN", key),
        ("XREVRANGE", key, "+", "-", "COUNT", "1"),
        ("XINFO", "GROUPS", key),
        ("XTRIM", key, "MAXLEN", "~", "1000"),
        ("XDEL", key, "0-1"),
    ]


def keeping_unread(keys: SessionKeys) -> list[Call]:
    """What ``stream.keep_unread`` needs beside it."""
    each = ((("XRANGE", key, "-", "+", "COUNT", "1"), ("XPENDING", key, _FIELD)) for key in keys.streams)
    return [call for calls in each for call in calls]


def in_workers_slot(key: str) -> list[Call]:
    """What the register of workers and their handovers need, in the slot that all workers share."""
    return [
        *(("ZADD", key, "1", _FIELD), ("PEXPIRE", key, _TTL), ("ZRANGE", key, "0", "-1"), ("ZREM", key, _FIELD)),
        ("DEL", key),
    ]


def everywhere(topology: Topology, durability: DurabilityLevel) -> list[Call]:
    """What concerns no key: where servers are found, what they are, and how safe a commit is."""
    calls: list[Call] = [("INFO", "SERVER"), ("CONFIG", "GET", "appendfsync"), ("COMMAND", "INFO", "EVALSHA")]
    if topology is Topology.SENTINEL:
        calls.append(("ROLE",))
    if topology is Topology.CLUSTER:
        calls += [("CLUSTER", "SLOTS"), ("CLUSTER", "INFO"), ("ASKING",)]
    if durability is DurabilityLevel.REPLICATED:
        calls.append(("WAIT", "0", "1"))
    if durability is DurabilityLevel.FSYNCED:
        calls.append(("WAITAOF", "0", "0", "1"))
    return calls


def permission_lines(refusals: Sequence[Refusal], user: str, asked: int, how: str) -> Iterator[Line]:
    """What is lacking, as the rules to grant. ``asked``: how many calls were tried; ``how``: in words."""
    commands = dict.fromkeys(one.command for one in refusals if not one.of_keys)
    needed = [f"+{one}" for one in commands if one not in _OPTIONAL]
    missing_keys = [one for one in refusals if one.of_keys]
    if needed:
        yield fault(
            "redis.permissions",
            f"user {user} lacks {' '.join(needed)} ({how})",
            f"ACL SETUSER {user} {' '.join(needed)}; all that a worker needs is in the README",
        )
    if missing_keys:
        names = list(dict.fromkeys(part for one in missing_keys for part in one.call[1:] if ":" in part))
        yield fault(
            "redis.permissions",
            f"user {user} may not use keys such as {names[0]} ({how})",
            f"ACL SETUSER {user} {' '.join(dict.fromkeys(map(_pattern, names)))}",
        )
    unheard = [f"+{one}" for one in commands if one in _OPTIONAL]
    if unheard:
        yield warn(
            "redis.permissions",
            f"user {user} lacks {' '.join(unheard)}, so not all of the server could be looked at",
            f"ACL SETUSER {user} {' '.join(unheard)}",
        )
    if not (needed or missing_keys):
        yield ok("redis.permissions", f"user {user} may do all that a worker does: {asked} calls ({how})")
