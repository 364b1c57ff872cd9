"""What is wrong only together with something else: two settings, a setting and a file, two sessions.

Each is one line that names the settings and their variables and says what to do.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

from bridge.errors import ConfigurationError
from bridge.model.keys import SESSIONS_KEY, WORKERS_KEY, SessionKeys, session_keys
from bridge.model.place import Session
from bridge.settings.kinds import DurabilityLevel
from bridge.settings.reference import KEY_ALIAS, named, variable
from bridge.settings.sections import RedisSettings, Settings, StreamSettings
from bridge.settings.values import listed, misread_placeholder, speaks_tls

__all__ = ["MOST_ROUTED", "checked_keys", "contradictions"]

MOST_ROUTED = 12
"""Keys that events may be routed to: each is one more argument of a commit, and some services refuse 4,000 of them."""


def contradictions(settings: Settings) -> Iterator[str]:
    """All of them. Reads the certificates that are named."""
    source, commit, lease = settings.source, settings.commit, settings.lease
    if source.api_key and source.api_key_file:
        yield _both("source.api_key", "source.api_key_file", f"set only one (also as {KEY_ALIAS})")
    if source.backoff_initial_seconds > source.backoff_max_seconds:
        yield _both("source.backoff_initial_seconds", "source.backoff_max_seconds", "the first must not be larger")
    if commit.max_events > commit.buffer_events:
        yield _both("commit.max_events", "commit.buffer_events", "a batch must fit into the buffer")
    if commit.max_bytes > commit.buffer_bytes:
        yield _both("commit.max_bytes", "commit.buffer_bytes", "a batch must fit into the buffer")
    if lease.ttl_seconds <= 3 * lease.poll_seconds:
        yield _both("lease.ttl_seconds", "lease.poll_seconds", "the first must be over three times the second")
    if settings.serve.token and settings.serve.token_file:
        yield _both("serve.token", "serve.token_file", "set only one")
    yield from _stream_contradictions(settings.stream)
    yield from _route_contradictions(settings.stream)
    yield from _redis_contradictions(settings.redis)
    if source.ca_file and speaks_tls(source.base_url):
        yield from _unusable_authorities("source.ca_file", source.ca_file)
    yield from _session_contradictions(settings)


def _stream_contradictions(stream: StreamSettings) -> Iterator[str]:
    cap = stream.hard_max_length
    if cap and not stream.keep_unread:
        advice = "a cap is for what is kept unread; turn the second on, or set stream.max_length instead"
        yield _both("stream.hard_max_length", "stream.keep_unread", advice)
    elif cap and stream.max_length and cap < stream.max_length:
        yield _both("stream.hard_max_length", "stream.max_length", "the first must not be smaller")


def _redis_contradictions(redis: RedisSettings) -> Iterator[str]:
    for name in ("redis.password", "redis.sentinel_password"):
        field = name.removeprefix("redis.")
        if getattr(redis, field) and getattr(redis, f"{field}_file"):
            yield _both(name, f"{name}_file", "set only one")
    if redis.backoff_initial_seconds > redis.backoff_max_seconds:
        yield _both("redis.backoff_initial_seconds", "redis.backoff_max_seconds", "the first must not be larger")
    asked = redis.durability is not DurabilityLevel.MEMORY
    if asked and redis.durability_timeout_seconds >= redis.timeout_seconds:
        yield _both("redis.durability_timeout_seconds", "redis.timeout_seconds", "the first must be less")
    yield from _user_without_password(redis)
    if redis.address.tls:
        if redis.ca_file:
            yield from _unusable_authorities("redis.ca_file", redis.ca_file)
        yield from _unusable_certificate(redis)


def _user_without_password(redis: RedisSettings) -> Iterator[str]:
    """AUTH takes both: without a password the worker would be the default user, and nobody would know."""
    user = redis.username or redis.address.username
    if user and user != "default" and not (redis.password or redis.password_file or redis.address.password):
        path = "redis.username" if redis.username else "redis.url"
        yield (
            f"{named(path)}: user {user} has no password, and Redis would take the worker for its default user; "
            f"set {named('redis.password_file')} or {named('redis.password')}"
        )
    other = redis.sentinel_username
    if other and other != "default" and not (redis.sentinel_password or redis.sentinel_password_file):
        yield (
            f"{named('redis.sentinel_username')}: user {other} has no password, and a Sentinel would take the worker "
            f"for its default user; set {named('redis.sentinel_password_file')} or {named('redis.sentinel_password')}"
        )


def _unusable_authorities(path: str, file: Path) -> Iterator[str]:
    try:
        with file.open("rb"):
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=file)
    except ssl.SSLError as error:
        reason = (error.reason or "unknown reason").lower().replace("_", " ")
        yield f"{named(path)}: {file} is not a PEM file of certificates: {reason}"
    except OSError as error:
        yield f"{named(path)}: {file} cannot be read: {error.strerror}"


def _unusable_certificate(redis: RedisSettings) -> Iterator[str]:
    """Tried here, so that a mistake is told before a server refuses what it is shown."""
    if bool(redis.cert_file) != bool(redis.key_file):
        yield _both("redis.cert_file", "redis.key_file", "one is of no use without the other; set both, or none")
    if not (redis.cert_file and redis.key_file):
        return
    for path, file in (("redis.cert_file", redis.cert_file), ("redis.key_file", redis.key_file)):
        try:
            with file.open("rb"):
                pass
        except OSError as error:
            yield f"{named(path)}: {file} cannot be read: {error.strerror}"
            return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(redis.cert_file, redis.key_file, _no_password)
    except (ssl.SSLError, ValueError) as error:
        reason = (getattr(error, "reason", None) or str(error) or "unknown reason").lower().replace("_", " ")
        yield (
            f"{named('redis.cert_file')}, {named('redis.key_file')}: {redis.cert_file} and {redis.key_file} are not a "
            f"certificate and its key in PEM: {reason}"
        )


def _no_password() -> str:
    """Asked for only where the key is encrypted; OpenSSL would ask the terminal."""
    raise ValueError("the key is encrypted")


def _session_contradictions(settings: Settings) -> Iterator[str]:
    names: set[str] = set()
    states: dict[str, str] = {}
    streams: dict[str, list[str]] = {}
    try:
        checked_keys(settings.stream, Session(name="name", session_id="lsn-id"))
        for one in settings.sessions:
            if one.name in names:
                yield f"{named('sessions')}: the name {one.name} is given twice; names must be unique"
                continue
            names.add(one.name)
            keys = checked_keys(settings.stream, Session(name=one.name, session_id=one.session_id))
            streams.setdefault(keys.events, []).append(one.name)
            if keys.state in states:
                yield (
                    f"{named('sessions')}: {states[keys.state]} and {one.name} read {one.session_id} into the "
                    f"same place; remove one, or put <name> into the braces of {named('stream.key')}"
                )
            states.setdefault(keys.state, one.name)
    except ConfigurationError as error:
        at_fault = "stream.routes" if str(error).startswith("stream.routes") else "stream.key"
        yield f"{named(at_fault)}: {str(error).removeprefix('stream.routes: ')}"
    if misread := misread_placeholder(settings.stream.key):
        for stream, sharing in streams.items():
            if len(sharing) > 1:
                yield (
                    f"{named('stream.key')}: {misread} is no placeholder, so {listed(sharing)} would share the one "
                    f"stream {stream}; write {{<name>}}, or e.g. {{all}} if they are meant to share it"
                )


def checked_keys(stream: StreamSettings, session: Session) -> SessionKeys:
    """The names of a session's keys. Raises ConfigurationError where it cannot have them."""
    keys = session_keys(stream.key, session, stream.routes)
    if keys.events in _own(keys):
        raise ConfigurationError(
            f"{stream.key!r} gives {keys.events}, which the bridge needs for itself; use another name"
        )
    places = tuple(key.removesuffix(session.session_id) for key in (keys.state, keys.seen, keys.lease))
    for key in keys.streams[1:]:
        if key in _own(keys) or key.startswith(places):
            raise ConfigurationError(
                f"stream.routes: {key} is a key that the bridge needs for itself; use another name"
            )
    return keys


def _own(keys: SessionKeys) -> set[str]:
    return {keys.dead_letter, keys.state, keys.seen, keys.lease, SESSIONS_KEY, WORKERS_KEY}


def _route_contradictions(stream: StreamSettings) -> Iterator[str]:
    others = set(stream.routes.values()) - {stream.key}
    if len(others) > MOST_ROUTED:
        yield f"{named('stream.routes')}: {len(others)} keys beside stream.key; a commit has room for {MOST_ROUTED}"
    globs = list(stream.routes)
    for at, glob in enumerate(globs):
        # Where nothing but * is open in a glob, it takes whatever another one takes whose very text it fits.
        before = (one for one in globs[:at] if not set(one) & set("?[") and fnmatchcase(glob, one))
        if hides := next(before, None):
            yield (
                f"{named('stream.routes')}: {glob} is never reached, since {hides} stands before it and takes all of "
                "its types; put it first, in a list [{glob: key}, …], whose order nothing changes"
            )


def _both(first: str, second: str, advice: str) -> str:
    return f"{first} ({variable(first)}) and {second} ({variable(second)}): {advice}"
