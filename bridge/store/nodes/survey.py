"""Ask the nodes of a cluster who serves what, and whom of them to believe."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bridge.errors import FaultKind, SinkFault
from bridge.model.redis_address import Endpoint
from bridge.store.connection import pack
from bridge.store.nodes.access import Access
from bridge.store.nodes.slots import SlotMap

__all__ = ["View", "likeliest", "survey"]

_PATIENCE_SECONDS = 1.0
_KNOWN_AT_ONCE = 2  # beside one of the configured: a name may lead to the living when all known addresses are dead
_QUESTIONS = (pack("CLUSTER", "SLOTS"), pack("CLUSTER", "INFO"))


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What one node sees. ``among_most``: it finds itself on the side of most primaries, so others hear it."""

    slots: SlotMap
    among_most: bool
    epoch: int


def likeliest(views: Sequence[View]) -> SlotMap:
    """The word of those that are not cut off, and of these the newest; epochs rise with each change. Pure."""
    return max(views, key=lambda view: (view.among_most, view.epoch)).slots


async def survey(access: Access, known: Sequence[Endpoint]) -> SlotMap:
    """Ask a few nodes at a time, until some answer. Raises SinkFault."""
    faults: list[str] = []
    for few in _in_turn(random.sample(known, len(known)), access.address.endpoints):
        if views := await _views(access, few, faults):
            return likeliest(views)
    raise SinkFault(FaultKind.UNREACHABLE, f"no node of the cluster answers: {'; '.join(faults[-3:])}")


def _in_turn(known: list[Endpoint], configured: Sequence[Endpoint]) -> Iterator[list[Endpoint]]:
    """Each once."""
    left = [one for one in configured if one not in known]
    while known or left:
        yield known[:_KNOWN_AT_ONCE] + left[: 1 if known else _KNOWN_AT_ONCE + 1]
        del left[: 1 if known else _KNOWN_AT_ONCE + 1]
        del known[:_KNOWN_AT_ONCE]


async def _views(access: Access, endpoints: Sequence[Endpoint], faults: list[str]) -> list[View]:
    """Of half of these, or of those that answer in time: one that hangs should hold up nobody."""
    views: list[View] = []
    asked = {asyncio.create_task(_view(access, one), name=f"ask {one}") for one in endpoints}
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            while asked and 2 * len(views) < len(endpoints):
                done, asked = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
                told = [one.result() for one in done]
                views += [one for one in told if isinstance(one, View)]
                faults += [one for one in told if isinstance(one, str)]
    except TimeoutError:
        faults.append(f"{len(asked)} did not answer within {_PATIENCE_SECONDS:g} s")
    finally:
        for one in asked:
            one.cancel()
    return views


async def _view(access: Access, endpoint: Endpoint) -> View | str:
    """Or why there is none to be had."""
    try:
        slots, info = await access.ask(endpoint, *_QUESTIONS)
    except SinkFault as fault:
        return fault.detail
    if isinstance(slots, SinkFault):
        if "cluster support disabled" in slots.detail:
            return f"Redis at {endpoint} is no node of a cluster - write redis:// in redis.url"
        return slots.detail
    try:
        made = SlotMap(slots, endpoint)
    except ValueError as error:
        return f"Redis at {endpoint} answers to CLUSTER SLOTS: {error}"
    if not made.covered():
        return f"Redis at {endpoint} knows of no slots that are served"
    told = info.decode(errors="replace") if isinstance(info, bytes) else ""  # it may well be forbidden
    epoch = re.search(r"cluster_current_epoch:([0-9]+)", told)
    return View(slots=made, among_most="cluster_state:fail" not in told, epoch=int(epoch[1]) if epoch else 0)
