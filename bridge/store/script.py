"""Lua scripts as Redis knows them: by their digest, loaded where it has forgotten them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from bridge.store.connection import Argument, pack

__all__ = ["Script"]


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script and the name under which Redis caches it.

    ``confirmation`` is a packed command that is sent right behind each call; both are answered then.
    """

    source: str
    sha: str
    confirmation: bytes = b""

    @classmethod
    def of(cls, source: str) -> Script:
        return cls(source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())

    def named(self, keys: Sequence[str]) -> tuple[Argument, ...]:
        """What stands in a call between the command and the arguments."""
        return (self.sha, len(keys), *keys)

    def pack(self, keys: Sequence[str], arguments: Sequence[Argument]) -> bytes:
        """The call as bytes, to be sent, and sent again unchanged where the outcome is unknown."""
        return pack("EVALSHA", *self.named(keys), *arguments)
