"""What is wrong with a single value, in words: one line with the YAML path, the variable and what to do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from bridge.settings.places.sources import did_you_mean
from bridge.settings.reference import SETTINGS, named
from bridge.settings.sections import SessionSettings, Settings

__all__ = ["mistakes"]

_WORDS = {
    "missing": "is required",
    "dict_type": "must be a mapping",
    "model_type": "must be a mapping",
    "model_attributes_type": "must be a mapping",
    "string_pattern_mismatch": "must be 1 to 128 of A-Z a-z 0-9 . _ : -",  # the only pattern is that of names
    "string_type": "must be text; in YAML put it into quotes",
    "path_type": "must be the path of a file",
    "tuple_type": "must be a list, or a mapping of name to session id",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
}
_NO_NUMBER = {"float_type", "float_parsing", "int_type", "int_parsing", "int_parsing_size", "int_from_float"}
_EXAMPLES = {
    "serve.max_stream_seconds": 3600,
    "stream.hard_max_length": 1_000_000,
    "stream.max_age_seconds": 86_400,
    "stream.max_length": 100_000,
}
"""Where there is no default to show."""


def mistakes(error: ValidationError) -> Iterator[str]:
    """Pydantic's findings, without those that only follow from another one."""
    for one in error.errors(include_url=False):
        if one["type"] != "default_factory_not_called":
            yield _line(one)


def _line(error: Mapping[str, Any]) -> str:
    first, *rest = (str(part) for part in error["loc"])
    path = first if first == "sessions" or not rest else f"{first}.{rest[0]}"
    shown = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error["loc"]).lstrip(".")
    if error["type"] == "extra_forbidden":
        return f"{shown}: unknown setting{did_you_mean(shown, _siblings(shown))}"
    where = named(path, shown) if path in SETTINGS else shown
    return f"{where}: {_message(path, error)}{_value(path, error['input'])}"


def _message(path: str, error: Mapping[str, Any]) -> str:
    kind = error["type"]
    if kind == "value_error":
        return str(error["ctx"]["error"])
    if kind in _NO_NUMBER:
        return _number_wanted(path, whole=kind.startswith("int"))
    return _WORDS.get(kind) or str(error["msg"]).replace("Input should", "should").replace("String ", "")


def _number_wanted(path: str, *, whole: bool) -> str:
    """The unit is in the setting's name, so a number stands alone: ``45``, not ``45s``."""
    unit = next((f" of {unit}" for unit in ("seconds", "bytes", "events") if path.endswith(f"_{unit}")), "")
    example = _EXAMPLES.get(path, SETTINGS[path].default)
    return f"must be a {'whole ' if whole else ''}number{unit}, e.g. {example:{'d' if whole else 'g'}}"


def _siblings(shown: str) -> set[str]:
    """The settings that could have been meant in the place of an unknown one."""
    place, dot, _ = shown.rpartition(".")
    if place.startswith("sessions["):
        return {f"{place}.{name}" for name in SessionSettings.model_fields}
    return {path for path in SETTINGS if path.startswith(f"{place}.")} if dot else {*Settings.model_fields}


def _value(path: str, value: object) -> str:
    """The value at fault, where it may be shown and says something."""
    if (
        path not in SETTINGS
        or "SecretStr" in str(SETTINGS[path].annotation)
        or not isinstance(value, str | int | float)
    ):
        return ""
    text = repr(value)
    return "" if "@" in text or "?" in text else f", not {text if len(text) <= 60 else text[:57] + '...'}"
