"""What a dataclass of choices lets one choose: which names there are, what each means, which values it takes. Pure.

The declarations are the only source: the type of a field says what it takes, the docstring below it what it means.
"""

from __future__ import annotations

import ast
import inspect
import reprlib
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, fields
from difflib import get_close_matches
from enum import StrEnum
from itertools import pairwise
from types import NoneType, UnionType
from typing import Annotated, Any, Self, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec

from bridge.errors import ConfigurationError

__all__ = ["Choice", "Count", "Explained", "HttpStatus", "Positive", "Rate", "Seconds", "checked", "choices", "made"]

T = TypeVar("T")
Seconds = Annotated[float, msgspec.Meta(ge=0, le=86_400)]
Rate = Annotated[float, msgspec.Meta(gt=0, le=1_000_000)]
Count = Annotated[int, msgspec.Meta(ge=0)]
Positive = Annotated[int, msgspec.Meta(ge=1)]
HttpStatus = Annotated[int, msgspec.Meta(ge=200, le=599)]

_FEW = 12  # names that still fit into an error of one line
_PLAIN = {bool: "true or false", int: "a whole number", float: "a number", str: "text", NoneType: "none"}


class Explained(StrEnum):
    """Values that say what they mean: each member is declared as its value and its meaning."""

    means: str

    def __new__(cls, value: str, means: str = "") -> Self:
        """The member is its value; the meaning is an attribute."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.means = means
        return member


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One field. ``default`` is written as on a command line; None: it has to be given."""

    name: str
    means: str
    takes: str
    default: str | None
    values: Mapping[str, str]
    """What each value means, where they are few and have names."""

    def as_json(self) -> dict[str, object]:
        """The choice for a program."""
        told: dict[str, object] = {"name": self.name, "means": self.means, "takes": self.takes, "default": self.default}
        return {**told, "values": dict(self.values)} if self.values else told

    def as_text(self) -> str:
        """The choice for eyes: ``name=default``, and below it what it means and takes."""
        lines = [self.name if self.default is None else f"{self.name}={self.default}", f"    {self.means}"]
        width = max(map(len, self.values), default=0)
        lines += [f"      {value:<{width}}  {means}" for value, means in self.values.items()]
        return "\n".join(lines if self.values else [*lines, f"    It takes {self.takes}."])


def choices(kind: type) -> tuple[Choice, ...]:
    """The fields of a dataclass, as they are declared."""
    means, hints, required = _docstrings(kind), _hints(kind), _required(kind)
    return tuple(
        Choice(
            name=field.name,
            means=means[field.name],
            takes=_takes(hints[field.name]),
            default=None if field.name in required else _written(field.default),
            values={value: value.means for value in _members(hints[field.name])},
        )
        for field in _fields(kind)
    )


def checked(kind: type, given: Mapping[str, object], *, noun: str, from_text: bool = False) -> dict[str, Any]:
    """The given values, converted to the types of the fields. ``noun`` is what errors call a field.

    ``from_text``: values are strings, as on a command line. Raises ConfigurationError for an unknown name and for a
    value of the wrong type or outside its range; it tells the right ones.
    """
    hints = _hints(kind)
    values: dict[str, Any] = {}
    for name, value in given.items():
        if name not in hints:
            raise ConfigurationError(f"no {noun} named {reprlib.repr(name)}; {_instead(name, hints)}")
        plain = None if from_text and value == "none" else value
        try:
            values[name] = msgspec.convert(msgspec.to_builtins(plain), hints[name], strict=not from_text)
        except (msgspec.ValidationError, TypeError) as error:
            takes = _takes(hints[name])
            raise ConfigurationError(f"{noun} {name!r} takes {takes}, not {reprlib.repr(value)}") from error
    return values


def made(kind: type[T], given: Mapping[str, object], *, noun: str) -> T:
    """A value of the dataclass. Raises ConfigurationError as `checked` does, and for a field that has to be given."""
    values = checked(kind, given, noun=noun)
    for name in _required(kind):
        if name not in values:
            raise ConfigurationError(f"{noun} {name!r} is missing; it takes {_takes(_hints(kind)[name])}")
    return kind(**values)


def _instead(name: str, known: Mapping[str, object]) -> str:
    if close := get_close_matches(name, known, n=1):
        return f"did you mean {close[0]!r}?"
    if len(known) <= _FEW:
        return f"there are {', '.join(known)}" if known else "there are none"
    return "all of them: lens-bridge simulate --list-switches, or GET / of one that runs"


def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind, include_extras=True)


def _fields(kind: Any) -> tuple[Field[Any], ...]:
    return fields(kind)


def _required(kind: type) -> list[str]:
    return [one.name for one in _fields(kind) if one.default is MISSING and one.default_factory is MISSING]


def _docstrings(kind: type) -> dict[str, str]:
    """What stands below each field. Python does not keep it, so it is read from the source."""
    (declared,) = ast.parse(inspect.getsource(kind)).body
    found = {}
    for field, text in pairwise(getattr(declared, "body", [])):
        match field, text:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(said))):
                found[name] = " ".join(said.split())
    return found


def _takes(hint: Any) -> str:
    """In words: which values a type has."""
    if get_origin(hint) in (Union, UnionType):
        return ", or ".join(_takes(one) for one in get_args(hint))
    if get_origin(hint) is Annotated:
        plain, meta = get_args(hint)
        if meta.gt is not None:
            return f"{_PLAIN[plain]} above {meta.gt}" + ("" if meta.le is None else f", {meta.le} at most")
        return f"{_PLAIN[plain]} " + (f"of {meta.ge} or more" if meta.le is None else f"from {meta.ge} to {meta.le}")
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        *most, last = (member.value for member in hint)
        return f"{', '.join(most)} or {last}"
    return _PLAIN.get(hint) or ("a list" if get_origin(hint) is list else "an object")


def _members(hint: Any) -> list[Explained]:
    """The values of an enumeration, also of one that may be None."""
    if isinstance(hint, type) and issubclass(hint, Explained):
        return list(hint)
    return [member for one in get_args(hint) for member in _members(one)]


def _written(value: object) -> str:
    """A value as it is written on a command line."""
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
