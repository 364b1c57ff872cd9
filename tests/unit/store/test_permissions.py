"""The permissions that are documented, those that an error names, and the commands that the sources have: one list."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from bridge.store.nodes.server import QUESTIONS
from bridge.store.replies import fault_of
from tests.support.permissions import DURABLE, FACTS, KEEPING, TOPOLOGIES, WORKER, commands_of

BRIDGE = Path(__file__).parents[3] / "bridge"
ALWAYS = {"auth", "select"}  # for everybody, or left out where it is not permitted: database 0 is chosen by nobody
OF_SENTINELS = "sentinel"
WITH_SUBCOMMANDS = ("script", "xinfo", "cluster", "config", "command")


def test_the_error_names_what_the_readme_grants() -> None:
    """Redis 7.0 does not say which command it was, so all of them are named."""
    detail = fault_of("NOPERM this user has no permissions", "h:1").detail
    _, _, named = detail.partition("on the keys lens:*: ")
    words = set(
        re.findall(
            r"[a-z|]+(?=[ ;]|$)",
            re.sub(r"for stream.keep_unread:|behind Sentinels:|in a cluster:|for redis.durability:", "", named),
        )
    )
    assert words == commands_of(WORKER, KEEPING, *TOPOLOGIES.values(), *DURABLE)


def test_the_readme_grants_what_scripts_and_worker_send_and_nothing_else() -> None:
    """A command that comes or goes moves the documented line too."""
    sent = {*_of_scripts(), *_of_the_worker(), *_spelt(QUESTIONS)}
    granted = commands_of(WORKER, KEEPING, *TOPOLOGIES.values(), *DURABLE, FACTS)
    assert sent - granted == set(), "sent, and not granted"
    assert granted - sent == set(), "granted, and not sent"


def test_what_is_granted_to_say_what_a_server_is_are_those_questions() -> None:
    """And a worker needs none of it for its work."""
    assert commands_of(WORKER, FACTS) - commands_of(WORKER) == set(_spelt(QUESTIONS))


def _of_scripts() -> Iterator[str]:
    for script in (BRIDGE / "store" / "scripts").glob("*.lua"):
        found = re.findall(r"\b(?:redis\.p?call|call)\('([A-Z]+)'(?:, '([A-Z]+)')?", script.read_text())
        assert found, script
        yield from _spelt(found)


def _of_the_worker() -> Iterator[str]:
    for source in (*(BRIDGE / "store").rglob("*.py"), *(BRIDGE / "worker").rglob("*.py")):
        for words in re.findall(r'\b(?:call|pack)\(((?:"[A-Z-]+"(?:, )?)+)', source.read_text()):
            (spelt,) = _spelt([re.findall(r'"([A-Z-]+)"', words)])
            if spelt not in ALWAYS and not spelt.startswith(OF_SENTINELS):
                yield spelt


def _spelt(commands: Iterable[Iterable[str]]) -> Iterator[str]:
    """As ACL rules have it."""
    for command in commands:
        name, *rest = (word.lower() for word in command)
        yield f"{name}|{rest[0]}" if name in WITH_SUBCOMMANDS else name
