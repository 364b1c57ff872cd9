"""The whole examination, in the order in which one thing needs the other, and bounded in time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from bridge.errors import ConfigurationError, SinkFault
from bridge.masking import Secrets
from bridge.model.keys import session_keys
from bridge.model.place import Session
from bridge.operations.doctor.api import Api, Listening
from bridge.operations.doctor.lines import Level, Line, Tell, fault, from_words, ok
from bridge.operations.doctor.readers import Readers, chosen, configured_in, sessions_line
from bridge.operations.doctor.servers import Servers
from bridge.settings import Settings
from bridge.settings.loading import Configuration, secret_values
from bridge.settings.reference import named
from bridge.store.link import RedisLink
from bridge.telemetry.tracing.opening import obstacle

__all__ = ["MOST_SECONDS", "Scope", "examine"]

MOST_SECONDS = 60.0
"""How long all of it takes at the most, beside the time of listening."""

_MOST_PATIENCE_SECONDS = 10.0  # for a single answer: nobody wants to wait for a worker's own time-outs here
_NOBODY = Session(name="doctor", session_id="doctor")  # whose keys serve where no session is configured


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What is looked at. ``trial``: whether to write throw-away keys and to open a stream."""

    listening_seconds: float
    redis: bool = True
    api: bool = True
    trial: bool = True
    session: str | None = None  # its name or id


async def examine(configuration: Configuration, scope: Scope, tell: Tell) -> list[Line]:
    """Look at all of it, and ``tell`` each line as soon as it is known; secrets are masked in them."""
    secrets = Secrets()
    for value in secret_values(configuration.settings):
        secrets.add(value)
    lines: list[Line] = []

    def note(line: Line) -> None:
        masked = replace(line, detail=secrets.mask(line.detail), remedy=secrets.mask(line.remedy))
        lines.append(masked)
        tell(masked)

    for line in _configuration_lines(configuration, told_later=scope.redis):
        note(line)
    seconds = MOST_SECONDS + scope.listening_seconds
    try:
        async with asyncio.timeout(seconds) as deadline:
            await _examine(_hurried(configuration.settings), scope, secrets, note)
    except TimeoutError:
        if not deadline.expired():
            raise
        remedy = "begin with what is told above, or look at less: --no-api, --no-redis"
        note(fault("doctor", f"not done within {seconds:g} s; what is not told of was not looked at", remedy))
    return lines


async def _examine(settings: Settings, scope: Scope, secrets: Secrets, note: Tell) -> None:
    known = configured_in(settings)
    async with AsyncExitStack() as stack:
        readers = None
        if scope.redis:
            link = RedisLink(settings.redis, secrets)
            stack.push_async_callback(link.aclose)
            routes, sessions = settings.stream.routes, [one.session for one in known]
            keys = [session_keys(settings.stream.key, one, routes) for one in sessions or [_NOBODY]]
            if await Servers(settings, secrets, link, keys).examine(note, trial=scope.trial):
                readers = Readers(link, settings.stream.key)
                with suppress(SinkFault):  # not permitted, or gone just now: what is wrong is told elsewhere
                    known = await readers.known(settings)
                note(sessions_line(known, settings.discovery))
        try:
            if scope.session and not (scope.api and settings.discovery.enabled):  # else it may be found yet
                chosen(scope.session, known)
        except ConfigurationError as error:
            note(fault("configuration", str(error)))
            return
        if scope.api:
            listening = Listening(seconds=scope.listening_seconds, session=scope.session, opens=scope.trial)
            try:
                await Api(settings, secrets, readers).examine(known, listening, note)
            except SinkFault as error:  # Redis went away while a worker was watched
                note(from_words(Level.FAULT, "redis.connection", error.detail))


def _configuration_lines(configuration: Configuration, *, told_later: bool) -> Iterable[Line]:
    """``told_later``: which sessions there are is told once Redis has been asked."""
    told = [words for words in configuration.warnings if not (told_later and words.startswith(named("sessions")))]
    warned = [from_words(Level.WARN, "configuration", words) for words in told]
    given = {path: origin for path, origin in configuration.origins.items() if origin != "default"}
    sessions = len(configuration.settings.sessions)
    yield ok(
        "configuration",
        f"valid: {len(given)} settings given, {sessions} session{'' if sessions == 1 else 's'}"
        + (f" (from {', '.join(_places(given.values()))})" if given else ""),
    )
    yield from warned
    if words := obstacle(configuration.settings.tracing):
        yield from_words(Level.FAULT, "configuration", words)


def _places(origins: Iterable[str]) -> list[str]:
    """Each once: `flag`, a file's name without its line, the environment."""
    variables = ("BRIDGE_", "ATAI_")
    places = ("environment" if one.startswith(variables) else Path(one.partition(":")[0]).name for one in origins)
    return list(dict.fromkeys(places))


def _hurried(settings: Settings) -> Settings:
    """The same, with less patience where it is great."""
    source, redis = settings.source, settings.redis
    return settings.model_copy(
        update={
            "source": source.model_copy(
                update={"connect_timeout_seconds": min(source.connect_timeout_seconds, _MOST_PATIENCE_SECONDS)}
            ),
            "redis": redis.model_copy(
                update={
                    "connect_timeout_seconds": min(redis.connect_timeout_seconds, _MOST_PATIENCE_SECONDS),
                    "timeout_seconds": min(redis.timeout_seconds, _MOST_PATIENCE_SECONDS),
                }
            ),
        }
    )
