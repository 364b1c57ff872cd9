"""Reads the configuration: flag > environment > secrets directory > YAML > default.

An empty variable counts as not set. A mistake is one line that names the YAML path and the variable and says what to
do; all mistakes are told at once, and no secret is ever repeated.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from pydantic import ValidationError

from bridge.errors import ConfigurationError
from bridge.events import Session
from bridge.keys import SESSIONS_KEY, WORKERS_KEY, session_keys
from bridge.settings import LAYERS, SessionSettings, Settings
from bridge.settings_reference import SETTINGS, masked, render_yaml, schema, variable
from bridge.settings_sources import KEY_ALIAS, did_you_mean, from_variables, nested, secret_files

__all__ = ["load", "masked", "render_yaml", "schema", "secret_values"]


def load(
    config_file: Path | None = None,
    flags: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Settings:
    """Merge all places into one valid ``Settings``.

    ``flags`` has dotted paths (``{"log.level": "debug"}``); None stands for a flag that was not given.
    Raises ConfigurationError with one line per problem.
    """
    environment = os.environ if environment is None else environment
    problems: list[str] = []
    secrets = secret_files(environment.get("BRIDGE_SECRETS_DIR"), problems)
    layers = (
        nested({path: value for path, value in (flags or {}).items() if value is not None}),
        nested(from_variables(environment, "environment", problems)),
        nested(from_variables(secrets, "secrets directory", problems)),
        _from_file(config_file or environment.get("BRIDGE_CONFIG"), problems),
    )
    token = LAYERS.set(layers)
    try:
        settings = Settings()
    except ValidationError as error:
        raise _failed([*problems, *map(_problem, _causes(error))]) from None
    finally:
        LAYERS.reset(token)
    problems += _contradictions(settings)
    if problems:
        raise _failed(problems)
    return settings


def _from_file(file: Path | str | None, problems: list[str]) -> dict[str, Any]:
    if not file:
        return {}
    from bridge.settings_yaml import from_yaml

    return from_yaml(file, problems)


def secret_values(settings: Settings) -> tuple[str, ...]:
    """What must never be shown. What stands in files is known only to those who read them."""
    secrets = (settings.source.api_key, settings.redis.password)
    found = [secret.get_secret_value() for secret in secrets if secret]
    if password := urlsplit(settings.redis.url.get_secret_value()).password:
        found += [password, unquote(password)]
    return tuple(dict.fromkeys(found))


def _failed(problems: Iterable[str]) -> ConfigurationError:
    return ConfigurationError("\n".join(dict.fromkeys(problems)))


def _causes(error: ValidationError) -> list[Any]:
    """Without those that only follow from another one."""
    return [one for one in error.errors(include_url=False) if one["type"] != "default_factory_not_called"]


_WORDS = {
    "missing": "is required",
    "dict_type": "must be a mapping",
    "model_type": "must be a mapping",
    "model_attributes_type": "must be a mapping",
    "string_pattern_mismatch": "must be 1 to 128 of A-Z a-z 0-9 . _ : -",  # the only pattern is that of names
    "tuple_type": "must be a list, or a mapping of name to session id",
}


def _problem(error: Mapping[str, Any]) -> str:
    """One of pydantic's findings, in one line."""
    first, *rest = (str(part) for part in error["loc"])
    path = first if first == "sessions" or not rest else f"{first}.{rest[0]}"
    shown = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error["loc"]).lstrip(".")
    if error["type"] == "extra_forbidden":
        return f"{shown}: unknown setting{did_you_mean(shown, _siblings(shown))}"
    if error["type"] == "value_error":
        message = str(error["ctx"]["error"])
    else:
        message = _WORDS.get(error["type"]) or error["msg"].replace("Input should", "should").replace("String ", "")
    where = f"{shown} ({_variables(path)})" if path in SETTINGS else shown
    return f"{where}: {message}{_value(path, error['input'])}"


def _variables(path: str) -> str:
    return f"{KEY_ALIAS} or {variable(path)}" if path == "source.api_key" else variable(path)


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


def _contradictions(settings: Settings) -> Iterator[str]:
    """What is wrong only together with something else."""
    source, redis, commit, lease = settings.source, settings.redis, settings.commit, settings.lease
    if source.api_key and source.api_key_file:
        yield _both("source.api_key", "source.api_key_file", f"set only one (also as {KEY_ALIAS})")
    if redis.password and redis.password_file:
        yield _both("redis.password", "redis.password_file", "set only one")
    if source.backoff_initial_seconds > source.backoff_max_seconds:
        yield _both("source.backoff_initial_seconds", "source.backoff_max_seconds", "the first must not be larger")
    if redis.backoff_initial_seconds > redis.backoff_max_seconds:
        yield _both("redis.backoff_initial_seconds", "redis.backoff_max_seconds", "the first must not be larger")
    if commit.max_events > commit.buffer_events:
        yield _both("commit.max_events", "commit.buffer_events", "a batch must fit into the buffer")
    if commit.max_bytes > commit.buffer_bytes:
        yield _both("commit.max_bytes", "commit.buffer_bytes", "a batch must fit into the buffer")
    if lease.ttl_seconds <= 3 * lease.poll_seconds:
        yield _both("lease.ttl_seconds", "lease.poll_seconds", "the first must be over three times the second")
    yield from _session_contradictions(settings)


def _session_contradictions(settings: Settings) -> Iterator[str]:
    names: set[str] = set()
    states: dict[str, str] = {}
    template = f"stream.key ({variable('stream.key')})"
    try:
        _check_keys(settings.stream.key, Session(name="name", session_id="lsn-id"))
        for one in settings.sessions:
            if one.name in names:
                yield f"sessions ({variable('sessions')}): the name {one.name} is given twice; names must be unique"
                continue
            names.add(one.name)
            state = _check_keys(settings.stream.key, Session(name=one.name, session_id=one.session_id))
            if state in states:
                yield (
                    f"sessions ({variable('sessions')}): {states[state]} and {one.name} read {one.session_id} into the "
                    f"same place; remove one, or put <name> into the braces of {template}"
                )
            states.setdefault(state, one.name)
    except ConfigurationError as error:
        yield f"{template}: {error}"


def _check_keys(template: str, session: Session) -> str:
    keys = session_keys(template, session)
    if keys.events in {keys.dead_letter, keys.state, keys.seen, keys.lease, SESSIONS_KEY, WORKERS_KEY}:
        raise ConfigurationError(
            f"{template!r} gives {keys.events}, which the bridge needs for itself; use another name"
        )
    return keys.state


def _both(first: str, second: str, advice: str) -> str:
    return f"{first} ({variable(first)}) and {second} ({variable(second)}): {advice}"
