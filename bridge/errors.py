"""The bridge's own errors. Each says in one line what went wrong, where, and what to do."""

from __future__ import annotations

__all__ = ["BridgeError", "ConfigurationError", "SinkFault", "SourceFault"]


class BridgeError(Exception):
    """Base of all errors that a user may see. ``retriable``: the same call may succeed later."""

    retriable = False


class ConfigurationError(BridgeError):
    """The configuration is wrong; only a person can mend it. Exit code 2."""


class SourceFault(BridgeError):
    """The lens API did not give what was asked, or a connection to it broke."""

    def __init__(self, kind: str, detail: str, *, retriable: bool = True) -> None:
        super().__init__(detail)
        self.kind = kind  # a short word, bounded in number: it becomes a metric label
        self.detail = detail
        self.retriable = retriable


class SinkFault(BridgeError):
    """Redis did not carry out a call, or did not say whether it did."""

    def __init__(self, kind: str, detail: str, *, retriable: bool = True) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail
        self.retriable = retriable
