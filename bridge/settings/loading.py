"""Reads the configuration: flag > environment > secrets directory > YAML > default.

An empty variable counts as not set. A mistake is one line that names the YAML path and the variable and says what to
do; all mistakes are told at once, and no secret is ever repeated.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from pydantic import ValidationError

from bridge.errors import ConfigurationError
from bridge.masking import Secrets
from bridge.settings.contradictions import contradictions
from bridge.settings.mistakes import mistakes
from bridge.settings.places.sources import Layer, from_environment, from_flags, from_secrets, nested
from bridge.settings.reference import SETTINGS, masked, render_yaml, schema
from bridge.settings.sections import Settings
from bridge.settings.values import url_password
from bridge.settings.warnings import warnings

__all__ = [
    "Configuration",
    "Places",
    "hide_secrets",
    "load",
    "masked",
    "read",
    "render_yaml",
    "schema",
    "secret_values",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """What is in force, and what a person should know about it."""

    settings: Settings
    warnings: tuple[str, ...]
    """What is allowed and probably not meant, a line each."""
    origins: Mapping[str, str]
    """Where each setting comes from: ``flag``, a variable's name, a file, with its line for YAML, or ``default``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where a configuration comes from; the arguments of `read`."""

    config_file: Path | None = None
    flags: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))

    def read(self) -> Configuration:
        """Read all of them. Raises ConfigurationError."""
        return read(self.config_file, self.flags, self.environment)

    def read_again(self) -> Configuration:
        """The same under a running worker. Raises ConfigurationError also for a file that says nothing any more.

        A file that is cut off, or a pipe, would stop every session.
        """
        for file in (one for name, one in self.files.items() if name == "configuration" and one.exists()):
            if not file.is_file():
                raise ConfigurationError(f"{file}: is no file, and cannot be read again; restart the worker")
            if not file.read_bytes().strip():
                raise ConfigurationError(f"{file}: is empty; to read no session any more write `sessions: []`")
        return self.read()

    @property
    def files(self) -> dict[str, Path]:
        """The file and the directory of it, by what a person calls them."""
        named = {
            "configuration": self.config_file or self.environment.get("BRIDGE_CONFIG"),
            "secrets directory": self.environment.get("BRIDGE_SECRETS_DIR"),
        }
        return {name: Path(place) for name, place in named.items() if place}


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
    from bridge.settings.places.yaml_file import from_yaml

    return from_yaml(file, problems)


def secret_values(settings: Settings) -> tuple[str, ...]:
    """What must never be shown. What stands in files is known only to those who read them."""
    return tuple(dict.fromkeys(value for _, value in _secrets_in(settings)))


def hide_secrets(settings: Settings, secrets: Secrets) -> None:
    """Add them to those that are masked, each under its setting: a register keeps the last few of each origin."""
    for path, value in _secrets_in(settings):
        secrets.add(value, path)


def _secrets_in(settings: Settings) -> Iterator[tuple[str, str]]:
    source, redis = settings.source, settings.redis
    given = {
        "source.api_key": source.api_key,
        "redis.password": redis.password,
        "redis.sentinel_password": redis.sentinel_password,
        "serve.token": settings.serve.token,
    }
    yield from ((path, secret.get_secret_value()) for path, secret in given.items() if secret)
    for path, url in {"redis.url": redis.url, "source.proxy": source.proxy}.items():
        if url and (password := url_password(url.get_secret_value())):
            yield path, password
            yield path, unquote(password)


def _failed(problems: Iterable[str]) -> ConfigurationError:
    return ConfigurationError("\n".join(dict.fromkeys(problems)))
