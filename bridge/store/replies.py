"""Error replies of Redis in our words: what kind of fault each is, and what a person may do about it. Pure."""

from __future__ import annotations

import re

from bridge.errors import FaultKind, SinkFault

__all__ = ["Redirected", "fault_of"]

_GRANT = (
    "grant the user by ACL, on the keys lens:*: evalsha script|load time type get set pttl del pexpire hget hmget "
    "hgetall hlen hset hsetnx hdel incrby lpush llen rpush rpop lrange ltrim xadd xdel xtrim xlen xrevrange "
    "xinfo|groups zadd zrem zrange exists; for stream.keep_unread: xrange xpending; behind Sentinels: role; "
    "in a cluster: cluster|slots cluster|info asking; for redis.durability: wait waitaof"
)
"""Every command of a worker, as in the README: Redis 7.0 does not say which one it was."""

_CLUSTER = "it is a node of a cluster; write redis+cluster:// in redis.url"
_LUA = "it runs no Lua scripts, which every commit is: a module that is not loaded, or a command that is renamed"

_REPLIES = (
    # how the reply begins; the kind of fault; what to do about it
    ("NOSCRIPT", FaultKind.NO_SCRIPT, "the script cache was flushed"),
    ("LOADING", FaultKind.LOADING, "it is loading its data; this passes"),
    ("BUSY", FaultKind.BUSY, "another script keeps it busy; this passes, or SCRIPT KILL ends it"),
    ("READONLY", FaultKind.READ_ONLY, "it is a replica; point redis.url at the primary, or at the Sentinels"),
    ("OOM", FaultKind.OUT_OF_MEMORY, "it is full; raise maxmemory, or trim with stream.max_length"),
    ("NOREPLICAS", FaultKind.NO_REPLICAS, "min-replicas-to-write is not met"),
    ("NOPERM", FaultKind.NO_PERMISSION, _GRANT),
    ("ERR ACL failure", FaultKind.NO_PERMISSION, _GRANT),
    ("ERR The user executing the script", FaultKind.NO_PERMISSION, _GRANT),
    ("The user executing the script", FaultKind.NO_PERMISSION, _GRANT),  # before 7.0
    ("NOAUTH", FaultKind.UNAUTHORIZED, "set redis.password or redis.password_file"),
    ("WRONGPASS", FaultKind.UNAUTHORIZED, "check redis.username and redis.password, or the file that holds it"),
    ("ERR AUTH", FaultKind.UNAUTHORIZED, "redis.password is set, but the server has none"),
    ("ERR invalid password", FaultKind.UNAUTHORIZED, "check redis.password, or the file that holds it"),
    ("WRONGTYPE", FaultKind.WRONG_TYPE, "a key of this session is used for something else"),
    ("DAMAGED", FaultKind.DAMAGED, "delete that key: the place is then read off the stream"),
    ("ERR The stream has exhausted", FaultKind.DAMAGED, "its entry ids are used up: read it out, then delete it"),
    ("MASTERDOWN", FaultKind.PRIMARY_DOWN, "the primary is away; this passes"),
    ("CLUSTERDOWN", FaultKind.CLUSTER_DOWN, "the cluster does not serve this slot; this passes"),
    ("TRYAGAIN", FaultKind.CLUSTER_DOWN, "the slot is being moved; this passes"),
    ("MOVED", FaultKind.MOVED, _CLUSTER),
    ("ASK", FaultKind.ASK, _CLUSTER),
    ("ERR unknown command 'EVALSHA'", FaultKind.NO_SCRIPTING, _LUA),
    ("ERR unknown command 'evalsha'", FaultKind.NO_SCRIPTING, _LUA),
    ("ERR unknown command `EVALSHA`", FaultKind.NO_SCRIPTING, _LUA),  # before 7.0
    ("MISCONF", FaultKind.NOT_PERSISTING, "it cannot write its data to disk"),
    ("ERR max number of clients", FaultKind.TOO_MANY_CLIENTS, "raise maxclients, or close what is not used"),
    ("ERR Protocol error: invalid bulk length", FaultKind.TOO_LARGE, "the event is over proto-max-bulk-len"),
)

_IN_SCRIPT = re.compile(r"(?:ERR Error running script .*?: )?(?:@user_script: ?\d+: )+-?")
"""What Redis before 7.0 puts in front of an error that a script met, once or twice; 6.2 leaves the first words out."""


_BY_SCRIPT = re.compile(r" ?script: [0-9a-f]{40}, on @user_script:\d+\.?$")
"""What Redis since 7.0 puts behind it: it says something to nobody but who wrote the script."""

_REDIRECTION = re.compile(r"(?:MOVED|ASK) (?P<slot>[0-9]{1,5}) (?P<host>.*):(?P<port>[0-9]{1,5})")


class Redirected(SinkFault):
    """Another node has the keys. ``host`` is "" where it is the one that answered, under another port."""

    def __init__(self, kind: FaultKind, detail: str, host: str, port: int) -> None:
        super().__init__(kind, detail)
        self.host = host
        self.port = port


def fault_of(reply: str, where: str) -> SinkFault:
    """The fault that an error reply of the server at ``where`` tells of; `refused` where its words are not known."""
    reply = _BY_SCRIPT.sub("", reply)
    code = _IN_SCRIPT.sub("", reply, count=1)
    for beginning, kind, advice in _REPLIES:
        if code.startswith(beginning):  # not anywhere in it: a key's name may hold any of these words
            if to := _REDIRECTION.fullmatch(code):
                detail = f"Redis at {where} answers: {reply} - {advice}"
                return Redirected(kind, detail, to["host"].strip("[]").lower(), int(to["port"]))
            return SinkFault(kind, f"Redis at {where} answers: {reply} - {advice}")
    return SinkFault(FaultKind.REFUSED, f"Redis at {where} answers: {reply}")
