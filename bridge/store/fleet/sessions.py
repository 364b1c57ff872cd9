"""What people say of sessions at run time, in the hash ``lens:sessions`` (name -> JSON).

Beside it stand a number that grows with each change and the last changes themselves, so that a worker that has followed
so far asks one short question a second, however many sessions there are, and reads only what has changed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.resources import files
from typing import Any

from bridge.errors import FaultKind, SinkFault
from bridge.model.keys import CHANGES_KEY, SESSIONS_KEY, VERSION_KEY
from bridge.model.registered import Order, Registered, Verb
from bridge.store.link import Argument, RedisLink, Script

__all__ = ["Change", "News", "SessionBook"]

_LUA = files("bridge.store").joinpath("scripts")
_FOLLOW = Script.of(_LUA.joinpath("follow.lua").read_text())
_CHANGE = Script.of(_LUA.joinpath("change.lua").read_text())
_KEYS = (SESSIONS_KEY, VERSION_KEY, CHANGES_KEY)

_KEPT_CHANGES = 1000  # who has missed more reads all records
_AT_ONCE = 500  # changes in one call: under the limits of arguments and bytes that some services set


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """What has changed. ``records``: all of them where ``whole``, else those that changed; None for one removed.

    ``unreadable``: why a record is none, by name. ``orders`` are to be carried out once. ``lost``: Redis was
    emptied since the last call; what stands there was said after that.
    """

    whole: bool = False
    records: Mapping[str, Registered | None] = field(default_factory=dict)
    unreadable: Mapping[str, str] = field(default_factory=dict)
    orders: Sequence[Order] = ()
    lost: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What a record shall be, in the place of what was read; None is none."""

    name: str
    after: Registered | None


class SessionBook:
    """Read by whoever follows it, and written by commands."""

    def __init__(self, link: RedisLink) -> None:
        self._link = link.to(SESSIONS_KEY)
        self._version: int | None = None
        self._raw: dict[str, bytes] = {}

    async def follow(self) -> News | None:
        """What has changed since the last call; all that there is at the first; None for nothing. Raises SinkFault."""
        known = "" if self._version is None else self._version
        reply = await self._link.run(_FOLLOW, _FOLLOW.pack(_KEYS, (known, len(self._raw), _KEPT_CHANGES)))
        before = self._version
        match reply:
            case [int(version), b"same"]:
                return None
            case [int(version), b"all", list(found), int(emptied)]:
                self._version = version
                self._raw = dict(zip(map(_name, found[::2]), found[1::2], strict=True))
                return replace(self.standing(), lost=bool(before) and bool(emptied or not version))
            case [int(version), b"some", list(told), list(found)]:
                self._version = version
                changed = dict(zip(map(_name, found[::2]), found[1::2], strict=True))
                for name, record in changed.items():
                    self._raw.pop(name, None)
                    if record is not None:
                        self._raw[name] = record
                return _news(changed, orders=[order for each in told if (order := Order.parse(each))])
        raise SinkFault(
            FaultKind.REPLY, f"Redis gave an answer about {SESSIONS_KEY} that it should not: {reply!r:.100}"
        )

    def standing(self) -> News:
        """All that there was when it was followed last."""
        return _news(self._raw, whole=True)

    async def change(self, changes: Sequence[Change], orders: Sequence[Order] = ()) -> list[str]:
        """Change records that were read by `follow`, and tell it. Gives the names of those that somebody else has
        changed meanwhile, of which nothing was changed: then follow again. Raises SinkFault.
        """
        stale: list[str] = []
        for at in range(0, len(changes) or 1, _AT_ONCE):
            part = changes[at : at + _AT_ONCE]
            arguments: list[Argument] = [_KEPT_CHANGES, len(part)]
            for one in part:
                arguments += (one.name, self._raw.get(one.name, b""), one.after.render() if one.after else "")
            arguments += [Order(verb=Verb.LOOK, name=one.name).render() for one in part]
            if at + _AT_ONCE >= len(changes):
                arguments += [order.render() for order in orders]
            stale += map(_name, await self._link.run(_CHANGE, _CHANGE.pack(_KEYS, arguments)))
        return stale


def _name(raw: bytes) -> str:
    return raw.decode(errors="surrogateescape")  # no two names may become one


def _news(raw: Mapping[str, Any], *, whole: bool = False, orders: Sequence[Order] = ()) -> News:
    records: dict[str, Registered | None] = {}
    unreadable: dict[str, str] = {}
    for name, record in raw.items():
        try:
            records[name] = None if record is None else Registered.parse(name, record)
        except ValueError as error:
            records[name], unreadable[name] = None, str(error)
    return News(whole=whole, records=records, unreadable=unreadable, orders=orders)
