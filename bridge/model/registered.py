"""What is said of a session at run time: that it is to be read, or paused, or to go elsewhere. Pure."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from bridge.model.keys import NAME_PATTERN
from bridge.model.place import Session

__all__ = ["Order", "Registered", "Verb", "is_name"]

_NAME = re.compile(NAME_PATTERN)


def is_name(text: str) -> bool:
    """Whether this could be the name or the id of a session: both end up in keys and in a URL."""
    return bool(_NAME.fullmatch(text))


@dataclass(frozen=True, slots=True, kw_only=True)
class Registered:
    """The record of one name. ``added_at`` is Unix seconds.

    Without a ``session_id`` it adds no session: it says something of one that is configured or was discovered.
    """

    name: str
    session_id: str | None = None
    paused: bool = False
    added_at: float = 0.0

    @property
    def session(self) -> Session | None:
        """The session that it adds, if it adds one."""
        return Session(name=self.name, session_id=self.session_id) if self.session_id else None

    @property
    def says_nothing(self) -> bool:
        """It may as well be removed."""
        return self.session_id is None and not self.paused

    def render(self) -> str:
        """As it stands in Redis."""
        said: dict[str, Any] = {"session_id": self.session_id} if self.session_id else {}
        if self.paused:
            said["paused"] = True
        return json.dumps(said | {"added_at": round(self.added_at, 3)})

    @classmethod
    def parse(cls, name: str, text: bytes) -> Registered:
        """Raises ValueError, in words, for what the bridge would not write."""
        if not is_name(name):
            raise ValueError(f"{name!r:.80} is no name: use {NAME_PATTERN}")
        try:
            said = json.loads(text)
        except (ValueError, RecursionError):
            raise ValueError("the record is not JSON") from None
        if not isinstance(said, dict):
            raise ValueError("the record is no JSON object")
        session_id, paused, added_at = said.get("session_id"), said.get("paused", False), said.get("added_at", 0.0)
        if session_id is not None and not (isinstance(session_id, str) and is_name(session_id)):
            raise ValueError(f"session_id {session_id!r:.80} is none: use {NAME_PATTERN}")
        if not isinstance(paused, bool):
            raise ValueError("paused is neither true nor false")
        try:
            added = float(added_at) if isinstance(added_at, int | float) else 0.0
        except OverflowError:  # a whole number of hundreds of digits
            raise ValueError("added_at is no time") from None
        return cls(name=name, session_id=session_id, paused=paused, added_at=added)


class Verb(StrEnum):
    """What workers are told to do once."""

    LOOK = "look"  # at the record of this name, and at its place, which may have been moved
    MOVE = "move"  # give the session of this name to the worker in `to`
    DRAIN = "drain"  # the worker in `to` gives all its sessions to others
    REFILL = "refill"  # it takes some again


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One line of the list of changes. ``to`` is the owner as it stands in leases."""

    verb: Verb
    name: str = ""
    to: str = ""

    def render(self) -> str:
        """As it stands in Redis."""
        return f"{self.verb} {self.name} {self.to}"

    @classmethod
    def parse(cls, text: bytes) -> Order | None:
        """None for what a later release may say."""
        verb, _, rest = text.decode(errors="replace").partition(" ")
        name, _, to = rest.partition(" ")
        return cls(verb=Verb(verb), name=name, to=to) if verb in set(Verb) else None
