"""What a reader asks for: where to begin, which entries, in which form. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from bridge.delivery.filters import TypeFilter
from bridge.serve.frames import Entry, Format
from bridge.serve.places import EntryId, parse_id

__all__ = ["TOKEN_PARAMETER", "Begin", "Choice", "Wish", "WishError", "wish_of"]

TOKEN_PARAMETER = "access_token"  # noqa: S105  its name
_MOST_GLOBS, _LONGEST_GLOB = 32, 256  # of each kind; what they cost is asked for each entry
_SINGLE = ("format", "from", "last_event_id", TOKEN_PARAMETER)
_SEVERAL = ("session", "type")


class WishError(ValueError):
    """It asks for what there is not; says what to write instead."""


class Begin(StrEnum):
    """Where a stream begins for who has no place in it."""

    START = "start"
    NOW = "now"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Which entries a reader gets. ``sessions``: names or session ids; empty: of all."""

    types: TypeFilter | None = None
    sessions: frozenset[str] = frozenset()
    only: frozenset[str] | None = None
    """Of a stream that several sessions share, those of one: its name and its session id."""

    @property
    def all(self) -> bool:
        """Nothing is left out."""
        return self.types is None and not self.sessions and self.only is None

    def takes(self, entry: Entry) -> bool:
        """Whether it belongs to them. Markers are entries like others."""
        if self.types and not self.types.takes(entry.text(b"type")):
            return False
        if self.sessions and not self.sessions & {entry.text(b"name"), entry.text(b"session_id")}:
            return False
        if self.only is None:
            return True
        return (entry.text(b"name") or entry.text(b"session_id")) in self.only


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """``resume``: the last entry that it has; what is missing behind that is told. ``begin``: without one."""

    choice: Choice = Choice()
    format: Format = Format.ENTRY
    begin: Begin | EntryId = Begin.NOW
    resume: EntryId | None = None


def wish_of(parameters: Iterable[tuple[str, str]], last_event_id: str | None, only: frozenset[str] | None) -> Wish:
    """From the query of the URL and the header. Raises WishError.

    The header wins over ``last_event_id``: an EventSource that reconnects sends it with the URL that it began with.
    """
    single: dict[str, str] = {}
    several: dict[str, list[str]] = {name: [] for name in _SEVERAL}
    for name, value in parameters:
        if name in several:
            several[name] += [one.strip() for one in value.split(",")]
        elif name in _SINGLE and name not in single:
            single[name] = value
        else:
            known = ", ".join(sorted((*_SINGLE, *_SEVERAL)))
            raise WishError(f"{_shown(name)}: {'given twice' if name in single else f'unknown; there are {known}'}")
    for name, values in several.items():
        if len(values) > _MOST_GLOBS or not all(0 < len(one) <= _LONGEST_GLOB for one in values):
            raise WishError(f"{name}: use 1 to {_MOST_GLOBS} of them, each of 1 to {_LONGEST_GLOB} characters")
    types = TypeFilter.of(several["type"], ()) if several["type"] else None
    choice = Choice(types=types, sessions=frozenset(several["session"]), only=only)
    last = last_event_id or single.get("last_event_id") or None
    return Wish(
        choice=choice,
        format=_format(single.get("format", Format.ENTRY)),
        begin=_begin(single.get("from", Begin.NOW)),
        resume=_place("last_event_id", last) if last else None,
    )


def _format(text: str) -> Format:
    try:
        return Format(text)
    except ValueError:
        raise WishError(f"format: use {' or '.join(Format)}, not {_shown(text)}") from None


def _begin(text: str) -> Begin | EntryId:
    try:
        return Begin(text)
    except ValueError:
        return _place("from", text, f"use {', '.join(Begin)} or the id of an entry: ")


def _place(name: str, text: str, advice: str = "") -> EntryId:
    try:
        return parse_id(text)
    except ValueError as error:
        raise WishError(f"{name}: {advice}{_shown(text)} {error}") from None


def _shown(text: str) -> str:
    """What came from outside, short and without anything that a terminal or a log would obey."""
    return "'" + re.sub(r"[^\x20-\x7e]", "?", text[:60]) + "'"
