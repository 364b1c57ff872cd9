"""Reads the chart's values.yaml with its comments: the one place where a value is declared, explained and defaulted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

__all__ = ["CHART", "Value", "default_values", "documented_values"]

CHART = Path(__file__).parents[2] / "helm"
_MARK = "# -- "


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """One value that a user may set. ``path`` is dotted, as after ``--set``."""

    path: str
    default: Any
    description: str


def default_values() -> dict[str, Any]:
    """values.yaml as Helm reads it."""
    values: dict[str, Any] = yaml.safe_load(_text())
    return values


def documented_values() -> tuple[Value, ...]:
    """Every value with a comment, in the order of the file. Raises ValueError for a leaf that has none."""
    root = yaml.compose(_text(), yaml.SafeLoader)
    assert isinstance(root, yaml.MappingNode)
    return tuple(_walk(root, "", default_values(), _text().splitlines()))


def _text() -> str:
    return (CHART / "values.yaml").read_text(encoding="utf-8")


def _walk(node: yaml.MappingNode, prefix: str, values: Mapping[str, Any], lines: list[str]) -> Iterator[Value]:
    for key, below in node.value:
        path = f"{prefix}{key.value}"
        default = values[key.value]
        description = _comment_above(lines, key.start_mark.line)
        if description:
            yield Value(path=path, default=default, description=description)
        elif isinstance(below, yaml.MappingNode) and below.value:
            yield from _walk(below, f"{path}.", default, lines)
        else:
            raise ValueError(f"values.yaml, line {key.start_mark.line + 1}: {path} has no comment '{_MARK}…' above it")


def _comment_above(lines: list[str], line: int) -> str:
    found: list[str] = []
    for text in reversed([one.strip() for one in lines[:line]]):
        if not text.startswith("# "):
            return ""
        if text.startswith(_MARK):
            return " ".join([text.removeprefix(_MARK), *reversed(found)])
        found.append(text.removeprefix("# "))
    return ""
