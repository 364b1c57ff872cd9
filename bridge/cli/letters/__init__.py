"""`lens-bridge dead-letters`: see what could not be published, have it published after all, or remove it."""

from __future__ import annotations

from typing import Any

from bridge.cli.letters.changing import add_purge, add_replay
from bridge.cli.letters.looking import add_list, add_show, show_list
from bridge.cli.options import command

__all__ = ["add_letter_commands"]

_LETTERS = """\
What could not become an entry is kept aside, in the same atomic step that moves the place past it: broken JSON, no
type, too large, or refused by Redis.

examples:
  lens-bridge dead-letters list                          the newest of the sessions of the configuration
  lens-bridge dead-letters show 1741843200123-0          one of them whole, by the first column of the list
  lens-bridge dead-letters replay --reason rejected      publish them now, behind everything else
  lens-bridge dead-letters purge --older-than 30d --yes  remove them

Each has --help, with its exit codes, and --json.
"""


def add_letter_commands(commands: Any) -> None:
    """Add the four of them."""
    group = command(commands, "dead-letters", show_list, "see, publish or remove what could not be an entry", _LETTERS)
    actions = group.add_subparsers(title="actions", required=True, metavar="ACTION")
    add_list(actions)
    add_show(actions)
    add_replay(actions)
    add_purge(actions)
