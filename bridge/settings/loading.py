"""Reads the configuration: flag > environment > secrets directory > YAML > default.

An empty variable counts as not set. A mistake is one line that names the YAML path and the variable and says what to
do; all mistakes are told at once, and no secret is ever repeated.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from pydantic import ValidationError

from bridge.errors import ConfigurationError
from bridge.settings.contradictions import contradictions
from bridge.settings.mistakes import mistakes
from bridge.settings.reference import SETTINGS, masked, render_yaml, schema
from bridge.settings.sections import Settings
from bridge.settings.sources import Layer, from_environment, from_flags, from_secrets, nested
from bridge.settings.values import url_password
from bridge.settings.warnings import warnings

__all__ = ["Configuration", "load", "masked", "read", "render_yaml", "schema", "secret_values"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """What is in force, and what a person should know about it."""

    settings: Settings
    warnings: tuple[str, ...]
    """What is allowed and probably not meant, a line each."""
    origins: Mapping[str, str]
    """Where each setting comes from: ``flag``, a variable's name, a file, with its line for YAML, or ``default``."""


def read(
    config_file: Path | None = None,
    flags: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Configuration:
    """Merge all places into one valid configuration.

    ``flags`` has dotted paths (``{"log.level": "debug"}``); None stands for a flag that was not given.
    Raises ConfigurationError with one line per problem.
    """
    environment = os.environ if environment is None else environment
    problems: list[str] = []
    # The weakest first: a setting of a stronger place replaces it, whole.
    places = reversed(
        (
            from_flags(flags or {}),
            from_environment(environment, problems),
            from_secrets(environment.get("BRIDGE_SECRETS_DIR"), problems),
            _from_file(config_file or environment.get("BRIDGE_CONFIG"), problems),
        )
    )
    merged = {path: given for place in places for path, given in place.items()}
    try:
        settings = Settings(**nested(merged))
    except ValidationError as error:
        raise _failed([*problems, *mistakes(error)]) from None
    problems += contradictions(settings)
    if problems:
        raise _failed(problems)
    origins = {path: merged[path].origin if path in merged else "default" for path in SETTINGS}
    return Configuration(settings=settings, warnings=tuple(warnings(settings)), origins=origins)


def load(
    config_file: Path | None = None,
    flags: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Settings:
    """The settings alone, as ``read`` finds them. Raises ConfigurationError."""
    return read(config_file, flags, environment).settings


def _from_file(file: Path | str | None, problems: list[str]) -> Layer:
    if not file:
        return {}
    from bridge.settings.yaml_file import from_yaml

    return from_yaml(file, problems)


def secret_values(settings: Settings) -> tuple[str, ...]:
    """What must never be shown. What stands in files is known only to those who read them."""
    secrets = (settings.source.api_key, settings.redis.password, settings.redis.sentinel_password)
    found = [secret.get_secret_value() for secret in secrets if secret]
    for url in (settings.redis.url, settings.source.proxy):
        if url and (password := url_password(url.get_secret_value())):
            found += [password, unquote(password)]
    return tuple(dict.fromkeys(found))


def _failed(problems: Iterable[str]) -> ConfigurationError:
    return ConfigurationError("\n".join(dict.fromkeys(problems)))
