"""The configuration file. A module of its own, so that a worker without one carries no YAML parser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from bridge.settings import Settings
from bridge.settings.places.sources import Given, Layer
from bridge.settings.reference import SECTIONS

__all__ = ["from_yaml"]


class _TwiceError(yaml.constructor.ConstructorError):
    pass


class _RefusingTwice(yaml.constructor.SafeConstructor):
    """Refuses a key that stands twice in a mapping: YAML would take the last one and drop the others in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        for place, (key, _) in enumerate(node.value):
            if key.value in keys[:place]:
                raise _TwiceError(problem_mark=key.start_mark)
        return super().construct_mapping(node, deep)


class _Loader(_RefusingTwice, yaml.SafeLoader):
    """The one that says what is wrong."""


class _FastLoader(_RefusingTwice, getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Ten times as fast, with thousands of sessions seconds; other words for the same mistakes."""


def from_yaml(file: Path | str, problems: list[str]) -> Layer:
    """The settings in the configuration file; what is wrong with it is added to ``problems``."""
    try:
        root, content = _parsed(Path(file).read_bytes())
    except OSError as error:
        problems.append(f"{file}: cannot be read: {error.strerror}; --config or BRIDGE_CONFIG must name a YAML file")
        return {}
    except yaml.YAMLError as error:
        problems.append(f"{file}: {_reason(error)}")
        return {}
    if not content:
        return {}
    if not isinstance(content, dict) or not isinstance(root, yaml.MappingNode):
        problems.append(f"{file}: must be a mapping of sections such as source: and redis:")
        return {}
    lines = dict(_lines(root))
    return {
        path: Given(value=value, origin=f"{file}:{lines[path]}" if path in lines else str(file))
        for path, value in _flat(content, problems)
    }


def _parsed(text: bytes) -> tuple[yaml.Node | None, Any]:
    """The document as nodes and as values. Raises YAMLError."""
    try:
        return _parsed_by(_FastLoader, text)
    except yaml.YAMLError:
        return _parsed_by(_Loader, text)


def _parsed_by(kind: Any, text: bytes) -> tuple[yaml.Node | None, Any]:
    loader = kind(text)
    root = loader.get_single_node()
    return root, loader.construct_document(root) if root else {}


def _reason(error: yaml.YAMLError) -> str:
    """Of the parser's own words only the place: others may quote a secret."""
    mark = getattr(error, "problem_mark", None)
    where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
    why = "this key is given twice" if isinstance(error, _TwiceError) else "not valid YAML"
    tab = "; indent with spaces, not with tabs" if "'\\t'" in str(getattr(error, "problem", "")) else ""
    return f"{why}{where}{tab}"


def _flat(content: dict[Any, Any], problems: list[str]) -> Iterator[tuple[str, Any]]:
    """Settings by path. What is unknown goes along, and is told of with the values that are wrong."""
    for name, value in content.items():
        section = str(name)
        if section in SECTIONS and isinstance(value, dict):
            yield from ((f"{section}.{inner}", given) for inner, given in value.items())
        elif value is None and section in Settings.model_fields:
            pass  # a section with all its lines commented out
        elif section in SECTIONS:
            problems.append(f"{section}: must be a mapping")
        elif "." in section:
            problems.append(f"{section}: unknown setting; in YAML a setting stands indented below its section")
        else:
            yield section, value


def _lines(mapping: yaml.MappingNode, section: str = "") -> Iterator[tuple[str, int]]:
    """Where each setting stands, from 1."""
    for key, value in mapping.value:
        path = f"{section}{key.value}"
        yield path, key.start_mark.line + 1
        if not section and isinstance(value, yaml.MappingNode):
            yield from _lines(value, f"{path}.")
