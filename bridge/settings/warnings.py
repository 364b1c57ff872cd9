"""What is allowed and probably not meant: a worker runs with it, and says so at its start."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from bridge.model.redis_address import Topology
from bridge.settings.reference import named
from bridge.settings.sections import RedisSettings, SessionSettings, Settings, StreamSettings
from bridge.settings.values import listed, misread_placeholder, speaks_tls

__all__ = ["warnings"]


def warnings(settings: Settings) -> Iterator[str]:
    """Each is one line that names the setting and its variable, and says what follows or what to do."""
    source = settings.source
    has_key = bool(source.api_key or source.api_key_file)
    if not has_key:
        yield (
            f"{named('source.api_key')}: no API key is configured, and the lens API asks for one; "
            f"set it, or {named('source.api_key_file')}"
        )
    if has_key and not speaks_tls(source.base_url) and not _is_loopback(source.base_url):
        host = urlsplit(source.base_url).hostname
        yield f"{named('source.base_url')}: the API key goes to {host} in clear; use https://"
    if source.ca_file and not speaks_tls(source.base_url):
        yield f"{named('source.ca_file')}: has no effect, since source.base_url begins with http://"
    yield from _without_effect(settings.redis)
    yield from _of_retention(settings.stream)
    if misread := misread_placeholder(settings.stream.key):
        yield (
            f"{named('stream.key')}: {misread} is no placeholder and stands in the key as it is; "
            "for the session's name write {<name>}"
        )
    if not settings.sessions and not settings.discovery.enabled:
        yield f"{named('sessions')}: no sessions are configured; the worker stands by"
    yield from _read_twice(settings.sessions)


def _without_effect(redis: RedisSettings) -> Iterator[str]:
    scheme = redis.url.get_secret_value().partition("://")[0]
    if not redis.address.tls:
        with_tls = re.sub(r"^(redis|valkey)", r"\1s", scheme) if scheme != "unix" else "rediss"
        for name in ("ca_file", "cert_file", "key_file"):
            if getattr(redis, name):
                yield (
                    f"{named(f'redis.{name}')}: has no effect, since redis.url begins with {scheme}://; "
                    f"for TLS write {with_tls}://"
                )
    if redis.address.topology is not Topology.SENTINEL:
        for name in ("sentinel_username", "sentinel_password", "sentinel_password_file"):
            if getattr(redis, name):
                yield f"{named(f'redis.{name}')}: has no effect, since redis.url begins with {scheme}://"


def _of_retention(stream: StreamSettings) -> Iterator[str]:
    if not stream.keep_unread or stream.hard_max_length:
        return
    if stream.max_length or stream.max_age_seconds:
        yield (
            f"{named('stream.keep_unread')}: a consumer group that nobody reads any more keeps everything until Redis "
            f"is full; set {named('stream.hard_max_length')} to what Redis can hold"
        )
    else:
        yield (
            f"{named('stream.keep_unread')}: has no effect, since nothing is trimmed; "
            f"set {named('stream.max_length')} or {named('stream.max_age_seconds')}"
        )


def _read_twice(sessions: tuple[SessionSettings, ...]) -> Iterator[str]:
    names: dict[str, list[str]] = {}
    for one in sessions:
        names.setdefault(one.session_id, []).append(one.name)
    for session_id, several in names.items():
        if len(several) > 1:
            yield (
                f"{named('sessions')}: {listed(several)} are the same session {session_id}; "
                "it is read once for each name, into a stream for each"
            )


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
