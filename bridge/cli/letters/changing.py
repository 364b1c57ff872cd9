"""`dead-letters replay` and `purge`."""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sys
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bridge.cli.letters.choosing import add_choice, add_letters, check_chosen, choice_of, streams_of
from bridge.cli.options import ExitCode, command, number, settings_of

if TYPE_CHECKING:
    from bridge.operations.letters import Letter, Wish
    from bridge.operations.replays import Replayed
    from bridge.settings import Settings

__all__ = ["add_purge", "add_replay"]

_REPLAY = """\
Each is judged anew. What is an event now is published behind everything else of its session, oldest first, under its
own id and the next numbers, with the field dead_letter, in one atomic step in which it leaves the dead letters: once,
whoever is killed meanwhile. It is done by the worker that holds the session, within a third of lease.ttl_seconds, or by
this command where nobody does. What was cut, or is still no event, stays where it is and is named with the reason.

Where Redis loses the entry again in a rollback, the letter is a dead letter again, and stays one until this command is
given once more: then it has the same id and a new seq, and the old number goes to nobody. Consumers that dedupe on id
are right in any case.

Whoever kills this command takes nothing back: what it had asked for is done within that time all the same.

examples:
  lens-bridge dead-letters replay 1741843200123-0 1741843200123-1
  lens-bridge dead-letters replay --reason rejected --session camera-1
  lens-bridge dead-letters replay --all --json

exit codes: 0 all of them are published, 1 some are not or Redis could not be asked, 2 bad configuration or usage
"""

_PURGE = """\
Without --yes it only counts. What was removed is gone; the numbers of the events are not touched.

examples:
  lens-bridge dead-letters purge --older-than 30d                 how many that would be
  lens-bridge dead-letters purge --older-than 30d --yes
  lens-bridge dead-letters purge --reason invalid_json --session camera-1 --yes
  lens-bridge dead-letters purge 1741843200123-0 --yes
  lens-bridge dead-letters purge --all --yes

exit codes: 0 done, 1 Redis could not be asked, 2 bad configuration or usage, and where --yes is missing
"""

_AGE = re.compile(r"([0-9]{1,9})([smhd]?)")
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}
_TOLD_ONE_BY_ONE = 20


def add_replay(actions: Any) -> None:
    """Add `replay`."""
    replay = command(actions, "replay", _replay, "publish them after all", _REPLAY)
    add_letters(replay)
    wait = number(float, 0, 86_400)
    said = "for the worker that holds a session, then give up (60)"
    replay.add_argument("--wait", type=wait, default=60.0, metavar="SECONDS", help=said)
    add_choice(replay)


def add_purge(actions: Any) -> None:
    """Add `purge`."""
    purge = command(actions, "purge", _purge, "remove them", _PURGE)
    add_letters(purge)
    purge.add_argument("--older-than", type=_age, metavar="AGE", help="e.g. 90s, 30m, 12h, 7d, by the clock of Redis")
    purge.add_argument("--yes", action="store_true", help="do it; without it they are only counted")
    add_choice(purge)


def _age(text: str) -> int:
    """In milliseconds."""
    found = _AGE.fullmatch(text)
    if not found:
        raise argparse.ArgumentTypeError(f"use e.g. 90s, 30m, 12h or 7d, not {text!r}")
    return int(found[1]) * _SECONDS[found[2]] * 1000


def _replay(options: argparse.Namespace) -> ExitCode:
    check_chosen(options)
    wishes, refused, missing, outcomes = asyncio.run(_replayed(options, settings_of(options)))
    done = sum(len(one.done) for one in outcomes)
    left = [(wish.entry, one.why) for one in outcomes for wish in one.left]
    weak = [one.why for one in outcomes if one.why and not one.left]
    unmet = [*((entry, "there is no such letter") for entry in missing), *refused, *left]
    if options.json:
        told = [{"letter": entry, "why": why} for entry, why in unmet]
        print(json.dumps({"asked": len(wishes) + len(unmet) - len(left), "published": done, "left": told}, indent=2))
    else:
        for entry, why in unmet[:_TOLD_ONE_BY_ONE]:
            print(f"{entry}  not published: {why}")
        if len(unmet) > _TOLD_ONE_BY_ONE:
            print(f"and {len(unmet) - _TOLD_ONE_BY_ONE} more that were not published")
        print(f"{done} published, {len(unmet)} not" if done or unmet else "no such dead letters")
    for why in weak:
        print(f"lens-bridge: published, but {why}", file=sys.stderr)
    return ExitCode.FAILED if unmet or weak else ExitCode.DONE


def _purge(options: argparse.Namespace) -> ExitCode:
    check_chosen(options, options.older_than is not None)
    chosen, removed = asyncio.run(_purged(options, settings_of(options)))
    reasons = Counter(letter.reason or "none" for letter in chosen)
    if options.json:
        print(json.dumps({"chosen": len(chosen), "by_reason": reasons, "removed": removed}, indent=2))
    else:
        listed = ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items()))
        said = f"{removed} removed" if options.yes else f"{len(chosen)} to remove"
        print(f"{said}: {listed}" if chosen else said)
    if options.yes or not chosen:
        return ExitCode.DONE
    print("lens-bridge: nothing was removed: say --yes", file=sys.stderr)
    return ExitCode.BAD_CONFIGURATION


async def _replayed(
    options: argparse.Namespace, settings: Settings
) -> tuple[list[Wish], list[tuple[str, str]], list[str], Sequence[Replayed]]:
    from bridge.operations.letters import Wish, read, wish_of
    from bridge.operations.redis_client import check_contact, open_client
    from bridge.operations.replays import replay

    choice = choice_of(options, entries=frozenset(options.letters))
    by_key: dict[tuple[str, str, str], Wish] = {}  # an id stands in a stream once
    refused: list[tuple[str, str]] = []
    async with open_client(settings.redis) as client:
        await check_contact(client, settings.redis)
        streams = await streams_of(options, settings, client)
        for stream in streams:
            async for letter in read(client, stream, choice):
                if isinstance(wish := wish_of(letter), Wish):
                    if other := by_key.pop((wish.stream, wish.session_id, wish.key), None):
                        refused.append((other.entry, f"{wish.entry} has its id as well: purge one of them"))
                    by_key[wish.stream, wish.session_id, wish.key] = wish  # the older one: they come newest first
                else:
                    refused.append((letter.entry, wish))
    wishes = list(by_key.values())
    seen = {wish.entry for wish in wishes} | {entry for entry, _ in refused}
    missing = [entry for entry in dict.fromkeys(options.letters) if entry not in seen]
    return wishes, refused, missing, await replay(settings.redis, streams, wishes, options.wait)


async def _purged(options: argparse.Namespace, settings: Settings) -> tuple[list[Letter], int]:
    from bridge.operations.letters import chosen, now_ms, purge
    from bridge.operations.redis_client import check_contact, open_client

    found: list[Letter] = []
    async with open_client(settings.redis) as client:
        await check_contact(client, settings.redis)
        streams = await streams_of(options, settings, client)
        for stream in streams:
            age = options.older_than
            until = None if age is None else await now_ms(client, stream.key) - age
            choice = choice_of(options, entries=frozenset(options.letters), until_ms=until)
            found += await chosen(client, stream, choice)
        return found, await purge(client, found) if options.yes else 0
