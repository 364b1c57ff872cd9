"""The command lines that the documents tell people to type. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Documented", "commands_in", "documents", "inside"]

_BLOCK = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`((?:kubectl exec \S+ -- )?lens-bridge [^`]+)`")
_IN_COMMENT = re.compile(r"lens-bridge [a-z-]+(?: (?:--[a-z-]+|[A-Z]+))*")
_COMMENT = re.compile(r"(?:^| )#( .*)?$")

PROGRAMS = ("lens-bridge", "kubectl", "helm", "docker", "systemctl", "journalctl", "redis-cli")
"""Whose lines are commands about a bridge. The others (make, pip, export, install, …) make one ready."""

_WITHIN = ("kubectl exec deploy/lens-bridge -- ", "docker compose exec worker ")
"""What stands in front of a command that runs where the worker does."""


@dataclass(frozen=True, slots=True)
class Documented:
    """One command line as it stands there, on one line. ``where``: the file and the line in it."""

    text: str
    where: str


def documents(project: Path) -> list[Path]:
    """Those that a person reads who installs and runs a bridge."""
    examples = sorted((project / "config/examples").rglob("README.md"))
    return [project / "README.md", project / "helm/README.md", project / "helm/RUNBOOK.md", *examples]


def commands_in(document: Path) -> Iterator[Documented]:
    """All of a document: in its blocks, in the comments of those, and within its sentences."""
    text = document.read_text()
    for block in _BLOCK.finditer(text):
        for offset, line in _lines(block[1]):
            where = _where(document, text, block.start(1) + offset)
            command = _COMMENT.sub("", line).strip()
            if command.split(" ")[0] in PROGRAMS:
                yield Documented(command, where)
            if comment := _COMMENT.search(line):
                yield from (Documented(found[0], where) for found in _IN_COMMENT.finditer(comment[0]))
    sentences = _BLOCK.sub(lambda block: "\n" * block[0].count("\n"), text)  # on the lines that they had
    for found in _INLINE.finditer(sentences):
        yield Documented(" ".join(found[1].split()), _where(document, sentences, found.start()))


def inside(text: str) -> str:
    """The command as it is typed where the worker runs."""
    for prefix in _WITHIN:
        text = text.removeprefix(prefix)
    return text


def _lines(block: str) -> Iterator[tuple[int, str]]:
    """Those that end in a backslash as one; with the offset of each."""
    offset = 0
    for line in re.split(r"(?<!\\)\n", block):
        yield offset, re.sub(r"\s*\\\n\s*", " ", line)
        offset += len(line) + 1


def _where(document: Path, text: str, at: int) -> str:
    line = text.count("\n", 0, at) + 1
    return f"{document.parent.name}/{document.name}:{line}"
