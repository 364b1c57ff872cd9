"""What the settings are called, and how they are shown: the commented YAML, the JSON schema, the masked values."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from bridge.settings import Settings, process, sections, serving
from bridge.settings.values import masked_url

__all__ = ["KEY_ALIAS", "SECTIONS", "SETTINGS", "masked", "named", "render_yaml", "schema", "variable"]

KEY_ALIAS = "ATAI_API_KEY"  # the vendor's own name for the variable of source.api_key

_HEADER = """\
Every setting of Lens Bridge, with its default and the reason for it. Made by `make schema`; loads to the defaults.
Stronger than this file, in this order: command-line flag, environment variable, file in BRIDGE_SECRETS_DIR.
The variable of a setting is BRIDGE_SECTION__SETTING, e.g. BRIDGE_SOURCE__IDLE_TIMEOUT_SECONDS."""


def _declared() -> Iterator[tuple[str, FieldInfo]]:
    for name, field in Settings.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            for inner_name, inner in field.annotation.model_fields.items():
                yield f"{name}.{inner_name}", inner
        else:
            yield name, field


SETTINGS = dict(_declared())
"""Every setting by its path in YAML, e.g. ``source.base_url``."""

SECTIONS = frozenset(path.partition(".")[0] for path in SETTINGS if "." in path)
"""The mappings that hold them, e.g. ``source``."""


def variable(path: str) -> str:
    """The environment variable of a setting, e.g. ``BRIDGE_SOURCE__BASE_URL``."""
    return "BRIDGE_" + path.replace(".", "__").upper()


def named(path: str, shown: str | None = None) -> str:
    """How a message names a setting: its path, or the part of it that is ``shown``, and the variables that set it."""
    alias = f"{KEY_ALIAS} or " if path == "source.api_key" else ""
    return f"{shown or path} ({alias}{variable(path)})"


def masked(settings: Settings) -> dict[str, Any]:
    """All values, fit for JSON and for eyes: secrets are stars, and a URL keeps what is no secret."""
    values = settings.model_dump(mode="json")
    values["redis"]["url"] = masked_url(settings.redis.url.get_secret_value())
    if settings.source.proxy:
        values["source"]["proxy"] = masked_url(settings.source.proxy.get_secret_value())
    return values


def _docstrings() -> dict[str, dict[str, str]]:
    """What stands below each setting, by class and name.

    Read from the source when asked for, not by pydantic at import: it would cost every worker a MiB.
    """
    found: dict[str, dict[str, str]] = {}
    for node in (node for module in (sections, process, serving) for node in ast.parse(inspect.getsource(module)).body):
        if isinstance(node, ast.ClassDef):
            texts = found.setdefault(node.name, {})
            for setting, text in zip(node.body, node.body[1:], strict=False):
                match setting, text:
                    case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(said))):
                        texts[name] = inspect.cleandoc(said)
    return found


def schema() -> dict[str, Any]:
    """The JSON schema of the YAML file, for editors and for checks before a roll-out."""
    made = Settings.model_json_schema()
    for name, texts in _docstrings().items():
        properties = (made if name == "Settings" else made["$defs"].get(name, {})).get("properties", {})
        for setting, text in texts.items():
            properties[setting]["description"] = text
    made["$defs"]["RedisSettings"]["properties"]["url"]["default"] = _plain(SETTINGS["redis.url"].default)
    for section in made["properties"].values():
        if "$ref" in section:
            section.pop("default", None)  # its settings name their own
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **made, "title": "Lens Bridge"}


def render_yaml() -> str:
    """``config/bridge.yaml``: every setting with its default, and what its docstring says."""
    texts = _docstrings()
    lines = [*_comment(_HEADER.replace("\n", " ")), ""]
    for name, field in Settings.model_fields.items():
        if not isinstance(field.annotation, type) or not issubclass(field.annotation, BaseModel):
            lines += [*_comment(texts["Settings"][name]), f"{name}: {_scalar(list(field.default))}", ""]
            continue
        lines += [*_comment(field.annotation.__doc__ or ""), f"{name}:"]
        for inner_name, inner in field.annotation.model_fields.items():
            said = texts[field.annotation.__name__][inner_name]
            lines += [f"  {line}" for line in (*_comment(said), _setting(inner_name, inner))]
        lines.append("")
    return "\n".join(lines)


def _setting(name: str, field: FieldInfo) -> str:
    if field.default_factory is not None:
        return f"# {name}: made anew at each start"
    return f"{name}: {_scalar(_plain(field.default))}"


def _comment(text: str) -> list[str]:
    return [f"# {line}" for line in textwrap.wrap(" ".join(text.split()), 114)]


def _plain(value: object) -> object:
    match value:
        case SecretStr():
            return value.get_secret_value()
        case Enum():
            return value.value
        case Path():
            return str(value)
        case _:
            return value


def _scalar(value: object) -> str:
    import yaml  # only where the file is written: a worker has no use for it

    return yaml.safe_dump(value, default_flow_style=True, width=1000).removesuffix("\n").removesuffix("\n...")
