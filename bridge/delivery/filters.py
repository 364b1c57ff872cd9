"""Which events are published, by patterns of their types and by how strictly JSON is taken; and to which of a session's
streams. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from fnmatch import translate

from bridge.delivery.envelopes import Kind, all_utf8, kind_of, strictly, types_of
from bridge.model.keys import SessionKeys
from bridge.model.records import Piece, Record, Run, ServerSentEvent

__all__ = ["Router", "Selection", "TypeFilter", "passed_over"]

_REMEMBERED = 1000  # types whose answer is known: the set is open, and a server may make up one for each event
_TOLD_LENGTH = 64  # a type may be as long as the event that is not to be kept
_FIRST = ord("1")  # the digit of a session's first stream in a commit


class TypeFilter:
    """Takes a type that one of ``include`` matches and none of ``exclude``; both are globs, and case matters."""

    def __init__(self, include: Sequence[str], exclude: Sequence[str]) -> None:
        self._included, self._excluded = _any_of(include), _any_of(exclude)
        self._known: dict[str, bool] = {}

    @classmethod
    def of(cls, include: Sequence[str], exclude: Sequence[str]) -> TypeFilter | None:
        """None where every type is taken: then nothing has to be asked."""
        return None if "*" in include and not exclude else cls(include, exclude)

    def takes(self, type: str) -> bool:
        """Whether events of this type are published."""
        known = self._known.get(type)
        if known is None:
            known = bool(self._included.match(type)) and not self._excluded.match(type)
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[type] = known
        return known

    def takes_all(self, types: Iterable[str]) -> bool:
        """Whether each of these is taken."""
        return all(map(self.takes, types))


class Selection:
    """What of all events is published: one for all sessions of a worker, so that a change holds for all at once.

    ``types`` is None where every type is taken. ``kind`` tells an event's type, or why it is none; only where JSON is
    taken strictly does it cost more than that.
    """

    types: TypeFilter | None
    strict_json: bool
    kind: Callable[[ServerSentEvent], Kind]

    def __init__(self, include: Sequence[str] = ("*",), exclude: Sequence[str] = (), *, strict_json: bool = False):
        self.use(include, exclude, strict_json=strict_json)

    def use(self, include: Sequence[str], exclude: Sequence[str], *, strict_json: bool) -> None:
        """From the next chunk on this holds."""
        self.types = TypeFilter.of(include, exclude)
        self.strict_json = strict_json
        self.kind = self._strict_kind if strict_json else kind_of

    def _strict_kind(self, event: ServerSentEvent) -> Kind:
        """What is filtered out is so by its type alone: who leaves it out need not hear how it is written."""
        if not event.oversize_bytes and (types := types_of((event.raw,))) and all_utf8((event.raw,)):
            return types[0]  # most are: a second look, for Python's own numbers, would cost as much as the first
        kind = kind_of(event)
        return kind if self.types and isinstance(kind, str) and not self.types.takes(kind) else strictly(event, kind)


class Router:
    """The stream of each type. The first glob that fits counts, and case matters; without one it is the first stream.

    In a commit a stream is named by its place in ``SessionKeys.streams``: a digit, or what follows the digits in ASCII.
    """

    def __init__(self, keys: SessionKeys) -> None:
        self._streams = keys.streams
        self._targets = _Targets(keys)

    @classmethod
    def of(cls, keys: SessionKeys) -> Router | None:
        """None where all events go to one stream: then nothing has to be asked."""
        return cls(keys) if len(keys.streams) > 1 else None

    def stream_of(self, type: str) -> str:
        """The key that events of this type go to."""
        return self._streams[self._targets[type] - _FIRST]

    def targets(self, batch: Iterable[Piece]) -> bytes:
        """The stream of each event in a batch, a byte for each; empty where all go to the first."""
        found, target_of = bytearray(), self._targets.__getitem__
        for piece in batch:
            if isinstance(piece, Run):
                found += bytes(map(target_of, piece.types))
            elif piece.numbered:
                found.append(target_of(piece.type))
        return b"" if found.count(_FIRST) == len(found) else bytes(found)


class _Targets(dict[str, int]):
    """By type, of those that were asked for."""

    def __init__(self, keys: SessionKeys) -> None:
        super().__init__()
        self._globs = [(re.compile(translate(glob)), keys.streams.index(key)) for glob, key in keys.routes]

    def __missing__(self, type: str) -> int:
        if len(self) >= _REMEMBERED:
            self.clear()
        target = next((target for glob, target in self._globs if glob.match(type)), 0) + _FIRST
        self[type] = target
        return target


def passed_over(key: str, type: str, received_at: float, digest: bytes, cursor: str | None, ordinal: int) -> Record:
    """What is left of an event that is filtered out: the window knows it, and the place moves past it. Its type stands
    in the place of its name, for who judges what came.

    All rules about ids hold for it, so a filter that changes changes the key of no other event.
    """
    return Record(key, "", b"", received_at, type[:_TOLD_LENGTH], digest, cursor, ordinal, skip=0)


def _any_of(globs: Sequence[str]) -> re.Pattern[str]:
    return re.compile("|".join(map(translate, globs)) or r"(?!)")  # of none: a pattern that nothing matches
