"""Where values come from: variables and a directory of secret files. Problems are added to a list."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from bridge.settings_reference import SETTINGS, variable

__all__ = ["KEY_ALIAS", "did_you_mean", "from_variables", "nested", "secret_files"]

KEY_ALIAS = "ATAI_API_KEY"  # the vendor's own name for it
_VARIABLES = {variable(path): path for path in SETTINGS}
_OWN_VARIABLES = {*_VARIABLES, "BRIDGE_CONFIG", "BRIDGE_SECRETS_DIR"}

# Kubernetes tells every pod about each Service of its namespace in such variables; a Service may be called "bridge".
_SERVICE_VARIABLE = re.compile(r"BRIDGE_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_\w+)?)")
_SERVICE_URL = re.compile(r"(tcp|udp|sctp)://")


def from_variables(variables: Mapping[str, str], where: str, problems: list[str]) -> dict[str, str]:
    """The settings among the variables, by path; a BRIDGE_ variable that is none of them is a problem."""
    found = {path: variables[name] for name, path in _VARIABLES.items() if variables.get(name)}
    if variables.get(KEY_ALIAS):
        found.setdefault("source.api_key", variables[KEY_ALIAS])
    for name, value in variables.items():
        if name.startswith("BRIDGE_") and name not in _OWN_VARIABLES and not _foreign(name, value):
            problems.append(f"{name}: unknown variable in the {where}{did_you_mean(name, _OWN_VARIABLES)}")
    return found


def _foreign(name: str, value: str) -> bool:
    """Not a setting and not a mistake: made by Kubernetes, or meant for this project's own tests."""
    if name.startswith("BRIDGE_TEST_"):
        return True
    return _SERVICE_VARIABLE.fullmatch(name) is not None or (
        name.endswith("_PORT") and _SERVICE_URL.match(value) is not None
    )


def secret_files(directory: str | None, problems: list[str]) -> dict[str, str]:
    """Files named like variables, in any case: Kubernetes mounts a Secret that way, with links that are not ours."""
    if not directory:
        return {}
    found = {}
    try:
        for file in sorted(Path(directory).iterdir()):
            name = file.name.upper()
            if file.is_file() and (name == KEY_ALIAS or name.startswith("BRIDGE_")):
                found[name] = file.read_text(encoding="utf-8").rstrip("\r\n")
    except OSError as error:
        problems.append(f"BRIDGE_SECRETS_DIR: {error.filename} cannot be read: {error.strerror}")
    except UnicodeDecodeError:
        problems.append(f"BRIDGE_SECRETS_DIR: {file} is not text in UTF-8")
    return found


def nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """``{"log.level": "debug"}`` as ``{"log": {"level": "debug"}}``."""
    sections: dict[str, Any] = {}
    for path, value in flat.items():
        section, dot, name = path.partition(".")
        if dot:
            sections.setdefault(section, {})[name] = value
        else:
            sections[path] = value
    return sections


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown name."""
    close = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.7)
    return f"; did you mean {close[0]}?" if close else "; remove it (all settings: lens-bridge config schema)"
