"""`dead-letters list` and `show`."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from typing import TYPE_CHECKING, Any

from bridge.cli.letters.choosing import add_choice, add_common, choice_of, entry_id, streams_of
from bridge.cli.options import ExitCode, command, number, settings_of
from bridge.cli.targets import reading
from bridge.errors import BridgeError

if TYPE_CHECKING:
    from bridge.operations.letters import Letter
    from bridge.settings import Settings

__all__ = ["add_list", "add_show", "show_list"]

_LIST = """\
The newest first:
  LETTER   the entry in the dead-letter stream: what show, replay and purge want
  SESSION  its name; REASON: invalid_json, missing_type, oversize or rejected
  BYTES    of its data; 12+ where the rest was cut off; WHEN: written, by the clock of Redis
  ID       the key that it would have had; DETAIL: what was wrong

examples:
  lens-bridge dead-letters list --reason rejected --session camera-1
  lens-bridge dead-letters list --limit 200 --before 1741843200123-0      go on below that one
  lens-bridge dead-letters list --json | jq -r '.letters[].letter'

exit codes: 0 done (also where there are none), 1 Redis could not be asked, 2 bad configuration or usage
"""

_SHOW = """\
What a terminal would obey is escaped; --raw writes the very bytes to standard output and nothing else.

examples:
  lens-bridge dead-letters show 1741843200123-0
  lens-bridge dead-letters show 1741843200123-0 --raw > event.json
  lens-bridge dead-letters show 1741843200123-0 --json | jq .data

exit codes: 0 done, 1 there is no such letter or Redis could not be asked, 2 bad configuration or usage
"""


def add_list(actions: Any) -> None:
    """Add `list`."""
    listing = command(actions, "list", show_list, "list them, newest first", _LIST)
    listing.add_argument("--limit", type=number(int, 1, 10_000), default=50, metavar="N", help="how many (50)")
    listing.add_argument("--before", type=entry_id, metavar="LETTER", help="only those below this one")
    add_choice(listing)


def add_show(actions: Any) -> None:
    """Add `show`."""
    show = command(actions, "show", _show, "one of them, whole", _SHOW)
    show.add_argument("letter", type=entry_id, metavar="LETTER", help="the first column of the list")
    show.add_argument("--raw", action="store_true", help="the bytes of its data and nothing else")
    add_common(show)


def show_list(options: argparse.Namespace) -> ExitCode:
    """Print the list."""
    from bridge.operations.letter_text import as_object, table

    letters, more = reading(_listed(options, settings_of(options)))
    following = letters[-1].entry if more else None
    if options.json:
        told = [as_object(letter, data=False) for letter in letters]
        print(json.dumps({"letters": told, "before": following}, indent=2))
        return ExitCode.DONE
    if not letters:
        print(
            "no dead letters" if not (options.reason or options.session or options.before) else "no such dead letters"
        )
        return ExitCode.DONE
    print(*table(letters, shutil.get_terminal_size().columns if sys.stdout.isatty() else None), sep="\n")
    if following:
        print(f"lens-bridge: there are more: go on with --before {following}", file=sys.stderr)
    return ExitCode.DONE


def _show(options: argparse.Namespace) -> ExitCode:
    from bridge.operations.letter_text import as_object, details

    found = reading(_found(options, settings_of(options)))
    if not found:
        raise BridgeError(
            f"there is no dead letter {options.letter}: replayed, purged or trimmed, or of another stream"
        )
    if options.raw:
        if len(found) > 1:
            raise BridgeError(f"{options.letter} is in {len(found)} streams: name one by --stream")
        sys.stdout.buffer.write(found[0].data)
        sys.stdout.buffer.flush()
    elif options.json:
        told = [as_object(letter, data=True) for letter in found]
        print(json.dumps(told[0] if len(told) == 1 else told, indent=2))
    else:
        print(*map(details, found), sep="\n\n")
    return ExitCode.DONE


async def _listed(options: argparse.Namespace, settings: Settings) -> tuple[list[Letter], bool]:
    from bridge.operations.letters import newest
    from bridge.operations.redis_client import check_contact, open_client

    async with open_client(settings.redis) as client:
        await check_contact(client, settings.redis)
        streams = await streams_of(options, settings, client)
        return await newest(client, streams, choice_of(options, before=options.before), options.limit)


async def _found(options: argparse.Namespace, settings: Settings) -> list[Letter]:
    from bridge.operations.letters import find
    from bridge.operations.redis_client import check_contact, open_client

    async with open_client(settings.redis) as client:
        await check_contact(client, settings.redis)
        streams = await streams_of(options, settings, client)
        return await find(client, streams, options.letter)
