"""What an error of Redis means for those who read: wait, make the group again, or tell a person. Pure."""

from __future__ import annotations

from enum import Enum, auto

from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    ConnectionError,
    NoPermissionError,
    NoScriptError,
    RedisClusterException,
    TimeoutError,
)

from bridge.errors import BridgeError

__all__ = ["ConsumerError", "GroupMissingError", "Meaning", "meaning", "told"]


class ConsumerError(BridgeError):
    """What only a person can mend: wrong credentials, a missing permission, a key of another type, a bad address."""


class GroupMissingError(Exception):
    """Redis does not know the group (any more)."""


class Meaning(Enum):
    """What may be done about an error."""

    PASSES = auto()  # the servers are away, or refuse for now: the same again, later
    NO_GROUP = auto()
    NO_SCRIPT = auto()
    FATAL = auto()


_PASSES = (
    *("LOADING", "BUSY ", "READONLY", "MASTERDOWN", "NOREPLICAS", "OOM", "MISCONF", "UNBLOCKED", "CLUSTERDOWN"),
    *("TRYAGAIN", "MOVED", "ASK ", "UNKILLABLE", "FAILOVER", "NOGOODSLAVE", "ERR max number of clients"),
)


def meaning(error: Exception) -> Meaning:
    """Of an error that redis-py raised; it has taken the first word off some of them."""
    text = str(error)
    if isinstance(error, AuthenticationError | AuthorizationError):
        return Meaning.FATAL
    if "invalid username-password" in text or "invalid password" in text or text.startswith(("NOAUTH", "WRONGPASS")):
        return Meaning.FATAL  # redis-py's Sentinel passes it on as a connection that could not be made
    if isinstance(error, RedisClusterException) and isinstance(error.__cause__, AuthenticationError):
        return Meaning.FATAL
    if isinstance(error, ConnectionError | TimeoutError | RedisClusterException | OSError):
        return Meaning.PASSES
    if text.startswith("NOGROUP") or "consumer group this client was blocked on no longer exists" in text:
        return Meaning.NO_GROUP
    if isinstance(error, NoScriptError):
        return Meaning.NO_SCRIPT
    if text.startswith(_PASSES) or type(error).__name__ in _PASSING:
        return Meaning.PASSES
    if "UNBLOCKED" in text or "stream key no longer exists" in text:
        return Meaning.PASSES
    return Meaning.FATAL


_PASSING = frozenset(
    (
        *("BusyLoadingError", "ReadOnlyError", "OutOfMemoryError", "ClusterDownError", "MasterDownError"),
        *("TryAgainError", "MovedError", "AskError", "ClusterError", "MaxConnectionsError", "SlotNotCoveredError"),
    )
)


_REFUSED_IN_A_SCRIPT = ("can't run this command", "has no permissions", "NOPERM")  # as servers differ


def told(error: Exception, stream: str, where: str) -> ConsumerError:
    """One sentence for a person: what, where, what to do."""
    text = str(error).rstrip(".") or type(error).__name__
    if meaning(error) is Meaning.PASSES:
        return ConsumerError(f"Redis at {where} does not answer for {stream}: {text}")
    if isinstance(error, AuthenticationError) or "password" in text or text.startswith(("NOAUTH", "WRONGPASS")):
        return ConsumerError(f"Redis at {where} refuses user or password ({text}): check the address of the consumer")
    if "WRONGTYPE" in text:
        return ConsumerError(f"{stream} in Redis at {where} is no stream ({text}): check the name of the stream")
    if isinstance(error, NoPermissionError) or any(words in text for words in _REFUSED_IN_A_SCRIPT):
        return ConsumerError(f"Redis at {where} does not permit what a consumer of {stream} does: {text}")
    return ConsumerError(f"Redis at {where} refuses to read {stream}: {text}")
