"""Where values come from: flags, variables and a directory of secret files. Problems are added to a list."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bridge.settings.reference import KEY_ALIAS, SETTINGS, variable

__all__ = ["Given", "Layer", "did_you_mean", "from_environment", "from_flags", "from_secrets", "nested"]

_VARIABLES = {variable(path): path for path in SETTINGS}
_OWN_VARIABLES = {*_VARIABLES, "BRIDGE_CONFIG", "BRIDGE_SECRETS_DIR"}

# Kubernetes tells every pod about each Service of its namespace in such variables; a Service may be called "bridge".
_SERVICE_VARIABLE = re.compile(r"BRIDGE_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_\w+)?)")
_SERVICE_URL = re.compile(r"(tcp|udp|sctp)://")


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """A value as it was found, and where: a variable's name, a file, a line of one."""

    value: Any
    origin: str


Layer = Mapping[str, Given]
"""What one place gives, by the path of the setting."""


def from_flags(flags: Mapping[str, Any]) -> Layer:
    """Those that were given: None stands for the others."""
    return {path: Given(value=value, origin="flag") for path, value in flags.items() if value is not None}


def from_environment(environment: Mapping[str, str], problems: list[str]) -> Layer:
    """The settings among the variables of this process."""
    variables = {name: Given(value=text, origin=name) for name, text in environment.items()}
    return _settings_among(variables, "environment", problems)


def from_secrets(directory: str | None, problems: list[str]) -> Layer:
    """The settings among the files of the secrets directory."""
    return _settings_among(_secret_files(directory, problems), "secrets directory", problems)


def _settings_among(variables: Layer, where: str, problems: list[str]) -> Layer:
    """By path; an empty one is not set, and a BRIDGE_ variable that is no setting is a problem."""
    found = {path: variables[name] for name, path in _VARIABLES.items() if name in variables and variables[name].value}
    if KEY_ALIAS in variables and variables[KEY_ALIAS].value:
        found.setdefault("source.api_key", variables[KEY_ALIAS])
    for name, given in variables.items():
        if name.startswith("BRIDGE_") and name not in _OWN_VARIABLES and not _foreign(name, given.value):
            problems.append(f"{name}: unknown variable in the {where}{did_you_mean(name, _OWN_VARIABLES)}")
    return found


def _foreign(name: str, value: str) -> bool:
    """Not a setting and not a mistake: made by Kubernetes, or meant for this project's own tests."""
    if name.startswith("BRIDGE_TEST_"):
        return True
    return _SERVICE_VARIABLE.fullmatch(name) is not None or (
        name.endswith("_PORT") and _SERVICE_URL.match(value) is not None
    )


def _secret_files(directory: str | None, problems: list[str]) -> Layer:
    """Files named like variables, in any case: Kubernetes mounts a Secret that way, with links that are not ours."""
    if not directory:
        return {}
    found = {}
    try:
        for file in sorted(Path(directory).iterdir()):
            name = file.name.upper()
            if file.is_file() and (name == KEY_ALIAS or name.startswith("BRIDGE_")):
                found[name] = Given(value=file.read_text(encoding="utf-8").rstrip("\r\n"), origin=str(file))
    except OSError as error:
        problems.append(f"BRIDGE_SECRETS_DIR: {error.filename} cannot be read: {error.strerror}")
    except UnicodeDecodeError:
        problems.append(f"BRIDGE_SECRETS_DIR: {file} is not text in UTF-8")
    return found


def nested(layer: Layer) -> dict[str, Any]:
    """The values alone, ``log.level`` as ``{"log": {"level": ...}}``."""
    sections: dict[str, Any] = {}
    for path, given in layer.items():
        section, dot, name = path.partition(".")
        if dot:
            sections.setdefault(section, {})[name] = given.value
        else:
            sections[path] = given.value
    return sections


_IN_THE_ADDRESS = {f"redis.{part}" for part in ("host", "hostname", "port", "db", "database", "ssl", "tls")}
"""What other programs call the parts of Redis's address."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown name."""
    if name.removeprefix("BRIDGE_").lower().replace("__", ".") in _IN_THE_ADDRESS:
        return "; it is a part of redis.url, e.g. redis://redis.example:6379/0"
    close = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.7)
    return f"; did you mean {close[0]}?" if close else "; remove it (all settings: lens-bridge config schema)"
