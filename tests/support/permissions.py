"""The ACL users of the README, as they stand there: rules, line by line, some of them for a topology alone."""

from __future__ import annotations

import re
from pathlib import Path

__all__ = [
    "DURABLE",
    "FACTS",
    "KEEPING",
    "READER",
    "TOPOLOGIES",
    "WATCHER",
    "WORD",
    "WORKER",
    "commands_of",
    "rules_of",
]

README = Path(__file__).parents[2] / "README.md"
WORD = "a-word-of-the-tests"
WORKER, READER, WATCHER = "bridge-worker", "bridge-reader", "bridge-watcher"
FACTS = "to say what the server is"
KEEPING = "for stream.keep_unread"
DURABLE = ("for redis.durability: replicated", "for redis.durability: fsynced")
TOPOLOGIES = {"single": "", "sentinel": "behind Sentinels", "cluster": "in a cluster"}


def rules_of(user: str, *when: str) -> list[str]:
    """Those that hold always, and those with one of these comments behind them. The password is that of the tests."""
    text = README.read_text(encoding="utf-8")
    (lines,) = re.findall(rf"^ACL SETUSER {user} (.*(?:\n  .*)*)", text, re.MULTILINE)
    found = [line.partition("#") for line in lines.splitlines()]
    rules = [rule for words, _, comment in found if comment.strip() in ("", *when) for rule in words.split()]
    return [rule.replace(">PASSWORD", f">{WORD}") for rule in rules]


def commands_of(user: str, *when: str) -> set[str]:
    """What these rules permit; with a subcommand as `script|load`."""
    return {rule.removeprefix("+") for rule in rules_of(user, *when) if rule.startswith("+")}
