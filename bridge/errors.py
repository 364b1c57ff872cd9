"""The bridge's own errors. Each says in one line what went wrong, where, and what to do."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["BridgeError", "ConfigurationError", "FaultKind", "Meaning", "SinkFault"]


class BridgeError(Exception):
    """Base of all errors that a user may see."""


class ConfigurationError(BridgeError):
    """The configuration is wrong; only a person can mend it. Exit code 2."""


class Meaning(StrEnum):
    """What a fault of Redis says about the call that met it, and so what may be done next."""

    UNKNOWN = "unknown"  # it may have been carried out: send the same bytes, or learn first what became of them
    PASSES = "passes"  # the server as a whole refuses for now and has written nothing: the same bytes, later
    CALL = "call"  # this very call is refused and has written nothing: a smaller one may pass
    SESSION = "session"  # the keys of this session cannot be written until a person has mended something


class FaultKind(StrEnum):
    """Why Redis did not carry out a call: a word for the log, and what it means.

    The second value is the whole policy; who commits reads nothing but that.
    """

    meaning: Meaning

    def __new__(cls, word: str, meaning: Meaning) -> FaultKind:
        """A kind is its word; what it means comes along."""
        made = str.__new__(cls, word)
        made._value_ = word
        made.meaning = meaning
        return made

    UNREACHABLE = "unreachable", Meaning.UNKNOWN  # no connection, or it broke with calls under way
    TIMEOUT = "timeout", Meaning.UNKNOWN
    NO_SCRIPT = "no_script", Meaning.PASSES
    LOADING = "loading", Meaning.PASSES
    BUSY = "busy", Meaning.PASSES  # somebody's script has been running for too long
    READ_ONLY = "read_only", Meaning.PASSES
    OUT_OF_MEMORY = "out_of_memory", Meaning.PASSES
    NO_REPLICAS = "no_replicas", Meaning.PASSES
    PRIMARY_DOWN = "primary_down", Meaning.PASSES
    CLUSTER_DOWN = "cluster_down", Meaning.PASSES
    MOVED = "moved", Meaning.PASSES  # another node of the cluster has the slot
    ASK = "ask", Meaning.PASSES  # another node of the cluster has these keys already, of a slot that is on its way
    NO_SCRIPTING = "no_scripting", Meaning.PASSES  # the server runs no Lua
    NOT_PERSISTING = "not_persisting", Meaning.PASSES
    TOO_MANY_CLIENTS = "too_many_clients", Meaning.PASSES
    NOT_DURABLE = "not_durable", Meaning.PASSES  # it stands, but not as safely as `redis.durability` asks for
    UNAUTHORIZED = "unauthorized", Meaning.PASSES
    HANDSHAKE = "handshake", Meaning.PASSES  # it refuses how the connection begins, a database number say
    NO_PERMISSION = "no_permission", Meaning.SESSION
    WRONG_TYPE = "wrong_type", Meaning.SESSION
    DAMAGED = "damaged", Meaning.SESSION
    TOO_LARGE = "too_large", Meaning.CALL
    REFUSED = "refused", Meaning.CALL  # in words that the bridge does not know: managed services have their own limits
    REPLY = "reply", Meaning.SESSION  # an answer that none of our scripts gives


class SinkFault(BridgeError):
    """Redis did not carry out a call, or did not say whether it did."""

    def __init__(self, kind: FaultKind, detail: str) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail
