"""What people do meanwhile, by real commands: each is taken back at random, and all of them before the verdict.

A command may fail while Redis is away or full, and two may come between each other: then it has done nothing, and said
so in words. What it must never do is break the guarantee.
"""

from __future__ import annotations

import asyncio

from bridge.lab.simulator import SimulatedSession
from tests.soak.night import REGISTERED, Night
from tests.support.steering import steer
from tests.support.worker_rig import keys_of

__all__ = [
    "add_session",
    "drain_worker",
    "move_session",
    "pause_session",
    "remove_session",
    "rewind_session",
    "settle_orders",
]

NEAR_EVENTS = 300  # from the end of a stream: within the dedupe window, whatever else stands there
TRIES = 10


async def add_session(night: Night) -> str:
    """One that may have been removed before; else it has nothing to do."""
    session = night.sessions[night.random.choice(REGISTERED)]
    return await _order(night, session.session_id, "sessions", "add", session.session_id)


async def remove_session(night: Night) -> str:
    """And added again after a while, at the latest before the verdict."""
    session = night.sessions[night.random.choice(REGISTERED)]
    told = await _order(night, session.session_id, "sessions", "remove", session.session_id)
    await asyncio.sleep(night.random.uniform(0, 4))
    return f"{told}; {await _order(night, session.session_id, 'sessions', 'add', session.session_id)}"


async def pause_session(night: Night) -> str:
    """For some seconds."""
    session = _any(night)
    name = _name(night, session)
    told = await _order(night, session.session_id, "sessions", "pause", "--wait", "5", name)
    await asyncio.sleep(night.random.uniform(0, 4))
    await _insist(night, ("sessions", "resume", name))  # one that ends while it is paused is not read to its end
    return told


async def rewind_session(night: Night) -> str:
    """Back to an id, back to the start, or ahead. Where it would repeat something it is refused."""
    session = night.random.choice(night.living_with_ids)
    ids = [fields[b"id"].decode() for _, fields in await night.rig.raw_entries(keys_of(session).events)]
    near = [id for id in ids[-NEAR_EVENTS:] if not (id.startswith("bridge-") or "#" in id or "~" in id)]
    to = [["--to-start"], ["--to-live"]]
    if near:
        to.append([f"--to={night.random.choice(near)}"])
    return await _order(
        night, session.session_id, "sessions", "rewind", _name(night, session), *night.random.choice(to)
    )


async def move_session(night: Night) -> str:
    """To any worker; some do not want it."""
    session, number = _any(night), night.random.randint(1, len(night.workers))
    to = ("--to", f"worker-{number}", "--wait", "5")
    return await _order(night, session.session_id, "sessions", "move", _name(night, session), *to)


async def drain_worker(night: Night) -> str:
    """For some seconds."""
    name = f"worker-{night.random.randint(1, len(night.workers))}"
    told = await _order(night, name, "drain", name, "--wait", "4")
    await asyncio.sleep(night.random.uniform(0, 3))
    return f"{told}; {await _order(night, name, 'drain', name, '--undo')}"


async def settle_orders(night: Night) -> None:
    """All sessions are to be read, by whom they may."""
    registered = [night.sessions[name].session_id for name in REGISTERED]
    await _insist(night, ("sessions", "add", *registered))
    await _insist(night, ("sessions", "resume", *(_name(night, session) for session in night.sessions.values())))
    for number in range(1, len(night.workers) + 1):
        await _insist(night, ("drain", f"worker-{number}", "--undo"))


async def _insist(night: Night, command: tuple[str, ...]) -> None:
    for _ in range(TRIES):
        if (await steer(night.rig, *command, code=None, **night.settings)).code == 0:
            return
        await asyncio.sleep(1)  # a worker that was killed just now is still in the register, under its old name
    raise AssertionError(f"{command} fails again and again")


def _any(night: Night) -> SimulatedSession:
    return night.random.choice(night.living)


def _name(night: Night, session: SimulatedSession) -> str:
    """As it is told to a command: of what was found only the workers know."""
    found = session.session_id in night.found
    return f"{session.session_id}={session.session_id}" if found else session.session_id


async def _order(night: Night, whom: str, *command: str) -> str:
    told = await steer(night.rig, *command, code=None, **night.settings)
    assert told.code in (0, 1, 2), told
    assert told.code == 0 or told.errors.count("\n") == 1, told
    return f"{whom} {' '.join(command[:2])} {command[-1]} {(told.output or told.errors).splitlines()[0]}"
