"""The configuration file. A module of its own, so that a worker without one carries no YAML parser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from bridge.settings import Settings

__all__ = ["from_yaml"]


class _TwiceError(yaml.constructor.ConstructorError):
    pass


class _Loader(yaml.SafeLoader):
    """Refuses a key that stands twice in a mapping: YAML would take the last one and drop the others in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        for place, (key, _) in enumerate(node.value):
            if key.value in keys[:place]:
                raise _TwiceError(problem_mark=key.start_mark)
        return super().construct_mapping(node, deep)


def from_yaml(file: Path | str, problems: list[str]) -> dict[str, Any]:
    """The content of the configuration file; what is wrong with it is added to ``problems``."""
    try:
        with Path(file).open("rb") as opened:
            content = yaml.load(opened, _Loader) or {}  # noqa: S506  a SafeLoader
    except OSError as error:
        problems.append(f"{file}: cannot be read: {error.strerror}; --config or BRIDGE_CONFIG must name a YAML file")
        return {}
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        why = "this key is given twice" if isinstance(error, _TwiceError) else "not valid YAML"
        # Of the parser's own words only these: others may quote a secret.
        tab = "; indent with spaces, not with tabs" if "'\\t'" in str(getattr(error, "problem", "")) else ""
        problems.append(f"{file}: {why}{where}{tab}")
        return {}
    if not isinstance(content, dict):
        problems.append(f"{file}: must be a mapping of sections such as source: and redis:")
        return {}
    # A section with all its lines commented out is None in YAML.
    return {str(k): v for k, v in content.items() if v is not None or k not in Settings.model_fields}
