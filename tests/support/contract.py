"""Holds what stands in Redis against `config/contract.schema.json`, as somebody would who has that file and no code of
ours."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, NamedTuple

from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
from redis.asyncio import Redis

from tests.support.worker import ROOT

__all__ = ["ASYNCAPI_FILE", "CONTRACT_FILE", "Judged", "breaches", "judged", "message_of"]

CONTRACT_FILE = ROOT / "config" / "contract.schema.json"
ASYNCAPI_FILE = ROOT / "config" / "asyncapi.yaml"
LETTER = "deadLetter"
PAGE_ENTRIES, NEWEST_EVENTS = 500, 1000


class Judged(NamedTuple):
    """What an entry is, of which reason where it has one, and what the contract has against it."""

    message: str
    reason: str
    broken: tuple[str, ...]


def judged(fields: Mapping[bytes, bytes], *, letter: bool = False) -> Judged:
    """One entry of a stream of events, or one ``letter``. A field that the contract does not name is held against it:
    whoever reads has to bear it, but whoever writes has to have said so."""
    text = {
        name.decode(): value.decode(errors="replace" if name == b"data" else "strict") for name, value in fields.items()
    }
    message = message_of(text, letter=letter)
    wrong = _complaints(message, text)
    wrong += [f"{name} is no field of {message}" for name in text if name not in _definitions()[message]["properties"]]
    if not letter:
        wrong += _complaints("entry", text)[:1]
    reason = text.get("reason", "")
    content = _definitions()[message]["properties"]["data"].get("contentSchema")
    if content and not wrong:
        held = _parsed(text["data"])
        wrong += _complaints(content["$ref"].rpartition("/")[2], held)
        reason = str(held.get("reason", "")) if message != "event" and isinstance(held, dict) else ""
    return Judged(message, reason, tuple(f"{message} {text.get('id')}: {one}" for one in wrong))


async def breaches(client: Redis) -> tuple[int, list[str]]:
    """What the contract has against what stands in all streams, and of how many entries it was asked: all markers and
    dead letters, and the newest events of each stream, since one takes half a millisecond."""
    count, found = 0, list[str]()
    keys: Any = [key async for key in client.scan_iter("lens:*", _type="stream")]
    for key in keys:
        letter, high, events = key.endswith(b":dead-letter"), "+", 0
        while page := await _page(client, key, high):
            for entry, fields in page:
                plain = not letter and not fields[b"id"].startswith(b"bridge-")
                events += plain
                if plain and events > NEWEST_EVENTS:
                    continue
                count += 1
                found += [f"{key.decode()} {entry.decode()} {one}" for one in judged(fields, letter=letter).broken]
            high = f"({page[-1][0].decode()}"
    return count, found


async def _page(client: Redis, key: bytes, high: str) -> Any:
    return await client.xrevrange(key, max=high, count=PAGE_ENTRIES)


def message_of(text: Mapping[str, str], *, letter: bool = False) -> str:
    """Which of the contract's messages an entry has to be: a marker bears both marks."""
    if letter:
        return LETTER
    if not (text.get("id", "").startswith("bridge-") and text.get("type", "").startswith("bridge.")):
        return "event"
    return "gap" if text["type"] == "bridge.gap" else "sessionEnded"


def _complaints(name: str, value: object) -> list[str]:
    errors: Iterable[Any] = _validator(name).iter_errors(value)
    return [f"{'.'.join(map(str, error.absolute_path)) or name}: {error.message:.300}" for error in errors]


def _parsed(data: str) -> Any:
    return json.loads(data.removeprefix("\ufeff"), parse_int=float)  # an integer may have any length


@cache
def _definitions() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(CONTRACT_FILE.read_text())["$defs"]
    return found


@cache
def _validator(name: str) -> Draft202012Validator:
    return Draft202012Validator({"$ref": f"#/$defs/{name}", "$defs": _definitions()})
