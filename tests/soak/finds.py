"""Sessions that nobody names: they appear and end meanwhile, and the API does not always tell of them."""

from __future__ import annotations

import asyncio

from bridge.lab.simulator import Endpoint, Refusal
from tests.soak.night import MOST_FOUND, Night

__all__ = ["list_too_few", "refuse_metadata", "session_appears", "session_ends", "settle_finds"]

NO_ANSWERS = (
    (429, None),
    (500, None),
    (503, None),
    (200, '{"type": "error", "message": "not now"}'),
    (200, '[{"session_id": "lsn-'),  # broken off
    (200, '[{"session_id": 5}, null, {"no": "id"}]'),
    (200, "[]"),  # a lie
)


async def session_appears(night: Night) -> str:
    """Or one ends, where there are many; it is read as soon as the API has told of it."""
    if sum(night.sessions[name] in night.living for name in night.found) >= MOST_FOUND:
        return await session_ends(night)
    return night.find_one_more().session_id


async def session_ends(night: Night) -> str:
    """One of those that were found: what is left of it is still served, whether it is listed still or not."""
    living = [night.sessions[name] for name in night.found if night.sessions[name] in night.living]
    begun = [one for one in living if await night.rig.seq(one) > 0]
    if not begun:
        return "none: none has begun"
    session = night.random.choice(begun)
    session.change(metadata_lists_destroyed=night.random.random() < 0.5)
    session.destroy()
    return f"{session.session_id} after {len(session.record)} events"


async def refuse_metadata(night: Night) -> str:
    """Whoever asks for the sessions next is answered with something else, also who asks after a single one."""
    status, body = night.random.choice(NO_ANSWERS)
    requests = night.random.randint(1, 4)  # each failure in a row doubles the wait for what is found next
    night.rig.simulator.refusals.clear()
    retry_after = 1 if status == 429 else None
    night.rig.simulator.refuse(
        Refusal(endpoint=Endpoint.METADATA, status=status, body=body, requests=requests, retry_after=retry_after)
    )
    return f"metadata {status} {body or ''} to {requests}"


async def list_too_few(night: Night) -> str:
    """The list of sessions is shorter than the truth for a while."""
    night.rig.simulator.change(metadata_rows=(rows := night.random.randint(0, 3)))
    await asyncio.sleep(night.random.uniform(0.5, 4))
    night.rig.simulator.change(metadata_rows=None)
    return f"metadata {rows} rows"


async def settle_finds(night: Night) -> None:
    """The API tells the truth again."""
    night.rig.simulator.clear_faults()
    night.rig.simulator.change(metadata_rows=None)
