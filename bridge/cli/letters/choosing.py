"""Which dead letters a command is about."""

from __future__ import annotations

import argparse
import re
from typing import TYPE_CHECKING, Any

from bridge.cli.options import add_settings
from bridge.cli.targets import add_stream_flag, targets_of
from bridge.errors import ConfigurationError
from bridge.model.labels import DeadLetterReason

if TYPE_CHECKING:
    from bridge.operations.letters import Choice, LetterStream
    from bridge.operations.redis_client import Client
    from bridge.settings import Settings

__all__ = ["add_choice", "add_common", "add_letters", "check_chosen", "choice_of", "entry_id", "streams_of"]

_ENTRY = re.compile(r"[0-9]{1,15}-[0-9]{1,15}")


def add_choice(parser: argparse.ArgumentParser) -> None:
    """The flags that choose among all letters."""
    reasons = [reason.value for reason in DeadLetterReason]
    parser.add_argument("--reason", action="append", default=[], choices=reasons, help="only these; may be repeated")
    parser.add_argument(
        "--session", action="append", default=[], metavar="NAME", help="only these, by name or id; may be repeated"
    )
    add_common(parser)


def add_common(parser: argparse.ArgumentParser) -> None:
    """The flags of all four."""
    add_stream_flag(parser)
    parser.add_argument("--json", action="store_true", help="for a program")
    add_settings(parser, worker=False)


def add_letters(parser: argparse.ArgumentParser) -> None:
    """Letters by their names, or all of them."""
    parser.add_argument("letters", nargs="*", type=entry_id, metavar="LETTER", help="these")
    parser.add_argument("--all", action="store_true", help="all of them")


def entry_id(text: str) -> str:
    """For the ``type`` of an argument."""
    if not _ENTRY.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no letter: use the first column of the list")
    return text


def check_chosen(options: argparse.Namespace, *conditions: object) -> None:
    """Raises ConfigurationError where nobody has said which letters."""
    if options.all and options.letters:
        raise ConfigurationError("--all and single letters do not go together")
    if not (options.all or options.letters or options.reason or options.session or any(conditions)):
        raise ConfigurationError("say which: letters by their names, --reason, --session or --all")


async def streams_of(options: argparse.Namespace, settings: Settings, client: Client) -> list[LetterStream]:
    """The dead-letter streams of the sessions that are known, or beside the streams that were named."""
    from bridge.model.keys import session_keys
    from bridge.model.place import Session
    from bridge.operations.letters import LetterStream

    found: dict[str, tuple[dict[str, str], dict[str, str], set[str]]] = {}
    routes: dict[str, tuple[tuple[str, str], ...]] = {}
    unknown = Session(name="any", session_id="any")
    for target in await targets_of(options, settings, client):
        key = session_keys(target.stream_key, unknown).dead_letter
        names, events, keys = found.setdefault(key, ({}, {}, set()))
        keys.add(target.stream_key)
        for session in target.sessions:
            names[session.session_id], events[session.session_id] = session.name, target.stream_key
            routes[session.session_id] = session_keys(settings.stream.key, session, settings.stream.routes).routes
    return [
        LetterStream(key=key, names=names, events=events, others=min(keys) if len(keys) == 1 else None, routes=routes)
        for key, (names, events, keys) in found.items()
    ]


def choice_of(options: argparse.Namespace, **more: Any) -> Choice:
    """What the flags choose."""
    from bridge.operations.letters import Choice

    return Choice(reasons=frozenset(options.reason), sessions=frozenset(options.session), **more)
