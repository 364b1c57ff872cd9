"""What becomes of a configuration that is read again under a running worker: what changes at once, and what cannot."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from bridge.errors import ConfigurationError
from bridge.settings import Settings
from bridge.settings.contradictions import contradictions
from bridge.settings.loading import Configuration
from bridge.settings.reference import SETTINGS

__all__ = ["LIVE", "Change", "difference", "merged", "weigh"]

LIVE = frozenset(
    {
        "discovery.enabled",
        "discovery.interval_seconds",
        "discovery.lens_ids",
        "discovery.name",
        "discovery.statuses",
        "events.exclude",
        "events.include",
        "events.strict_json",
        "log.level",
        "metrics.detail",
        "redis.ca_file",
        "redis.cert_file",
        "redis.key_file",
        "redis.password",
        "redis.password_file",
        "redis.sentinel_password",
        "redis.sentinel_password_file",
        "redis.sentinel_username",
        "redis.username",
        "retention.ended_seconds",
        "sessions",
        "source.api_key",
        "source.api_key_file",
    }
)
"""Settings that take effect in a running worker: at once, or, of keys, passwords and certificates, at the next connect.
What is not here was built into something that lives as long as the process or a session does. So is `stream.routes`:
each commit names the streams that it writes to, so workers with different routes may take turns while a restart goes
through them, and no event is in two."""


_OF_OTHERS = "serve."  # of another process, which may have the same file


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """``in_force`` is what holds from now on; ``taken`` and ``held`` are the settings that differ from what was read.

    ``taken`` has taken effect, ``held`` takes a restart. Both are sorted.
    """

    in_force: Configuration
    taken: tuple[str, ...]
    held: tuple[str, ...]


def weigh(old: Configuration, new: Configuration) -> Change:
    """What of ``new`` can follow ``old`` at once.

    Raises ConfigurationError where that, together with what stays as it was, is wrong.
    """
    differ = difference(old, new)
    taken = tuple(path for path in differ if path in LIVE)
    held = tuple(path for path in differ if path not in LIVE)
    settings = merged(old.settings, new.settings, taken)
    if held and (problems := list(contradictions(settings))):
        until = f" (until a restart, what it was at the start is in force of {', '.join(held)})"
        raise ConfigurationError("\n".join(problem + until for problem in problems))
    origins = {path: (old if path in held else new).origins[path] for path in SETTINGS}
    in_force = Configuration(settings=settings, warnings=new.warnings, origins=origins)
    return Change(in_force=in_force, taken=taken, held=held)


def difference(old: Configuration, new: Configuration) -> tuple[str, ...]:
    """The settings of a worker that differ, sorted. An id that each reading makes up anew does not."""
    made_up = old.origins["worker.id"] == new.origins["worker.id"] == "default"
    return tuple(
        path
        for path in sorted(SETTINGS)
        if not path.startswith(_OF_OTHERS)
        and _value(old.settings, path) != _value(new.settings, path)
        and not (path == "worker.id" and made_up)
    )


def merged(old: Settings, new: Settings, paths: Iterable[str]) -> Settings:
    """The old settings, with those of ``paths`` from the new ones."""
    sections: dict[str, dict[str, Any]] = {}
    whole: dict[str, Any] = {}
    for path in paths:
        section, dot, name = path.partition(".")
        if dot:
            sections.setdefault(section, {})[name] = _value(new, path)
        else:
            whole[path] = _value(new, path)
    changed = {section: getattr(old, section).model_copy(update=values) for section, values in sections.items()}
    return old.model_copy(update={**whole, **changed})


def _value(settings: Settings, path: str) -> Any:
    section, _, name = path.partition(".")
    value = getattr(settings, section)
    return getattr(value, name) if name else value
