"""The names of a session's keys in Redis. All of them stand in one hash slot (Redis Cluster specification)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from bridge.errors import ConfigurationError
from bridge.model.place import Session

__all__ = [
    "CHANGES_KEY",
    "NAME_PATTERN",
    "SESSIONS_KEY",
    "VERSION_KEY",
    "WORKERS_KEY",
    "SessionKeys",
    "found_key",
    "given_key",
    "hash_tag",
    "keys_beside",
    "room_key",
    "session_keys",
    "wishes_key",
]

NAME_PATTERN = r"[A-Za-z0-9._:-]{1,128}"  # no braces, no slashes: names end up in keys and in a URL
SESSIONS_KEY = "lens:sessions"
WORKERS_KEY = "lens:workers"
VERSION_KEY = f"{SESSIONS_KEY}:{{{SESSIONS_KEY}}}:version"  # beside the sessions added at run time, in their slot
CHANGES_KEY = f"{SESSIONS_KEY}:{{{SESSIONS_KEY}}}:changes"

_PLACEHOLDER = re.compile(r"<([^<>]*)>")


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionKeys:
    """Every key that one session's commit may touch."""

    events: str
    dead_letter: str
    state: str
    seen: str
    lease: str
    routes: tuple[tuple[str, str], ...] = ()
    """Globs on types, each with the key that such events go to in place of ``events``; the first that fits counts."""

    @property
    def streams(self) -> tuple[str, ...]:
        """Every key that entries may go to: ``events``, then those of the routes, each once."""
        return tuple(dict.fromkeys((self.events, *(key for _, key in self.routes))))

    def streams_with(self, told: bytes | None) -> tuple[str, ...]:
        """The same, and those that events were routed to before, as the state's `routed` has them: a JSON object."""
        try:
            before = json.loads(told or b"{}")
        except ValueError:
            before = {}
        keys = before if isinstance(before, dict) else {}
        mine = sorted(key for key in keys if hash_tag(key) == hash_tag(self.events))
        return tuple(dict.fromkeys((*self.streams, *mine)))

    def part_of(self, stream_key: str) -> str:
        """What tells one of the streams from others, for eyes and labels: `results` of `lens:{camera-1}:results`."""
        prefix = f"lens:{{{hash_tag(self.events)}}}:"
        return stream_key.removeprefix(prefix) or stream_key


def wishes_key(digest: str) -> str:
    """Where the list stands that ``digest`` is made of: beside the register of workers, in its slot."""
    return f"{WORKERS_KEY}:{{{WORKERS_KEY}}}:{digest}"


def found_key(digest: str) -> str:
    """Where the sessions stand that were found at the API by the rules that ``digest`` is made of."""
    return f"{SESSIONS_KEY}:{{{SESSIONS_KEY}}}:found:{digest}"


def room_key(owner: str) -> str:
    """Where a worker says how many more sessions it could begin to read at once."""
    return f"{WORKERS_KEY}:{{{WORKERS_KEY}}}:room:{owner}"


def given_key(owner: str) -> str:
    """Where a worker is told which leases were left to it."""
    return f"{WORKERS_KEY}:{{{WORKERS_KEY}}}:given:{owner}"


def hash_tag(key: str) -> str:
    """What Redis Cluster hashes of a key: the text between the first ``{`` and the next ``}``, else all of it."""
    start = key.find("{")
    if start >= 0:
        end = key.find("}", start + 1)
        if end > start + 1:
            return key[start + 1 : end]
    return key


def session_keys(template: str, session: Session, routes: Mapping[str, str] | None = None) -> SessionKeys:
    """Fill in a stream key template and derive the keys beside it; the same for those of ``routes``, by their globs.

    Raises ConfigurationError for an unknown placeholder, a template without a fixed beginning, or braces that
    would put the keys into different slots.
    """
    events = _filled("stream.key", template, session)
    keys = keys_beside(events, session.session_id)
    if hash_tag(keys.state) != hash_tag(events):
        raise ConfigurationError(f"stream.key {template!r}: its braces leave no usable hash tag")
    if not routes:
        return keys
    filled = [(glob, _filled("stream.routes", route, session)) for glob, route in routes.items()]
    for _, key in filled:
        if hash_tag(key) != hash_tag(events):
            raise ConfigurationError(
                f"stream.routes: {key} and {events} stand in different hash slots, and one commit writes to both: give "
                f"both the same text in braces, as lens:{{{hash_tag(events)}}}:results has"
            )
    return replace(keys, routes=tuple(filled))


def _filled(setting: str, template: str, session: Session) -> str:
    if not template or template.startswith("<"):
        raise ConfigurationError(f"{setting} {template!r} needs a fixed beginning, e.g. lens:{{<name>}}:events")
    values = {"name": session.name, "session_id": session.session_id}

    def fill(match: re.Match[str]) -> str:
        try:
            return values[match[1]]
        except KeyError:
            raise ConfigurationError(
                f"{setting} {template!r}: unknown placeholder <{match[1]}>; use <name> or <session_id>"
            ) from None

    return _PLACEHOLDER.sub(fill, template)


def keys_beside(events: str, session_id: str) -> SessionKeys:
    """Every key of a session whose stream key is known."""
    prefix = f"lens:{{{hash_tag(events)}}}:"
    return SessionKeys(
        events=events,
        dead_letter=f"{prefix}dead-letter",
        state=f"{prefix}state:{session_id}",
        seen=f"{prefix}seen:{session_id}",
        lease=f"{prefix}lease:{session_id}",
    )
