"""What goes wrong. Each fault does one thing, undoes it where it would not pass by itself, and tells whom it struck."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import DEVNULL
from collections.abc import Awaitable, Callable

from bridge.lab.simulator import (
    Closing,
    CursorRule,
    Drop,
    IdStyle,
    Poison,
    Poisoning,
    RandomDrops,
    Refusal,
    Silence,
    SimulatedSession,
)
from bridge.store.commits import COMMIT
from tests.soak.finds import list_too_few, refuse_metadata, session_appears, session_ends
from tests.soak.night import HISTORY_EVENTS, LEASE_SECONDS, Night
from tests.soak.orders import (
    add_session,
    drain_worker,
    move_session,
    pause_session,
    remove_session,
    rewind_session,
)
from tests.soak.reloads import (
    hang_up,
    leave_out_a_session,
    rotate_key,
    rotate_password,
    stop_discovering,
    write_nonsense,
)
from tests.support.managed_redis import UNLOVED
from tests.support.worker import Worker, python_environment
from tests.support.worker_rig import keys_of

__all__ = ["FAULTS", "Fault"]

TAIL_EVENTS = 1900  # less than the dedupe window, and more than a rollback or an outage leaves behind
DROP_EVERY = (40, 200)
# A connection without ids begins with the whole history: where nearly each breaks off within it, none brings news.
DROP_EVERY_WITHOUT_IDS = (HISTORY_EVENTS // 3, 2 * HISTORY_EVENTS)

Fault = Callable[[Night], Awaitable[str]]
"""Does it, and tells whom it struck: a session, a worker, or Redis."""


def _session(night: Night) -> SimulatedSession:
    return night.random.choice(night.living)


def _worker(night: Night) -> Worker:
    return night.random.choice(night.workers)


async def drop(night: Night) -> str:
    """The source ends all connections of a session."""
    closing = night.random.choice(list(Closing))
    Drop(closing=closing).apply(session := _session(night))
    return f"{session.session_id} {closing}"


async def drop_at_random(night: Night) -> str:
    """From here on, every few dozen events."""
    session = _session(night)
    every = night.random.choice(DROP_EVERY if session.switches.ids else DROP_EVERY_WITHOUT_IDS)
    if session.switches.cursor is not CursorRule.HONOUR:
        return f"{session.session_id} spared: its replays would never come to their end"
    RandomDrops(mean_events=every, seed=night.random.getrandbits(32)).apply(session)
    return f"{session.session_id} every {every}"


async def replay(night: Night) -> str:
    """From here on the source ignores Last-Event-ID and sends its last events again."""
    session = night.random.choice(night.living_with_ids)
    session.clear_faults()  # random drops would never let a replay come to its end
    rule = night.random.choice((CursorRule.TAIL, CursorRule.HONOUR))
    session.change(cursor=rule, tail_events=TAIL_EVENTS)
    Drop(closing=Closing.CUT).apply(session)
    return f"{session.session_id} {rule}"


async def refuse(night: Night) -> str:
    """The source refuses for a moment."""
    status = night.random.choice((401, 429, 500, 503))
    Refusal(status=status, requests=night.random.randint(1, 4), retry_after=1 if status == 429 else None).apply(
        session := _session(night)
    )
    Drop(closing=Closing.RESET).apply(session)
    return f"{session.session_id} {status}"


async def silence(night: Night) -> str:
    """Connections stay, and nothing comes."""
    Silence(seconds=night.random.uniform(1, 12)).apply(session := _session(night))
    return session.session_id


async def burst(night: Night) -> str:
    """Many events at once."""
    (session := _session(night)).generate(events := night.random.randint(50, 300))
    return f"{session.session_id} {events} events"


async def poison(night: Night) -> str:
    """An event that cannot be an entry, or hardly."""
    kind = night.random.choice([one for one in Poison if one is not Poison.OVERSIZE])
    Poisoning(kind=kind).apply(session := night.random.choice(night.living_with_ids))
    return f"{session.session_id} {kind}"


async def refuse_an_event(night: Night) -> str:
    """Redis refuses an event, and nobody knows why: it becomes a dead letter that could be published."""
    session = night.random.choice(night.living_with_ids)
    ids = [session.emit({"type": "t", "is": UNLOVED.decode(), "n": n}) for n in range(night.random.randint(1, 4))]
    return f"{session.session_id} {ids}"


async def replay_letters(night: Night) -> str:
    """A person has dead letters published, and loses patience now and then."""
    named = ",".join(session.session_id for session in night.with_ids)
    command = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bridge", "dead-letters", "replay", "--reason", "rejected", "--wait", "10"),
        *("--redis-url", night.rig.server.url, "--sessions", named),
        env=python_environment(),
        stdin=DEVNULL,
        stdout=DEVNULL,
        stderr=DEVNULL,
    )
    patience = night.random.choice((1.0, 3.0, 20.0))
    try:
        async with asyncio.timeout(patience):
            code = await command.wait()
    except TimeoutError:
        command.kill()
        await command.wait()
        return f"all, killed after {patience:g} s"
    return f"all, exit code {code}"


async def change_ids(night: Night) -> str:
    """The server was updated: from here on its ids look otherwise."""
    style = night.random.choice(list(IdStyle))
    (session := night.random.choice(night.living_with_ids)).change(id_style=style)
    return f"{session.session_id} {style}"


async def kill(night: Night) -> str:
    """SIGKILL, and a start after a while."""
    worker = _worker(night)
    await worker.kill()
    await asyncio.sleep(night.random.uniform(0, LEASE_SECONDS))
    await worker.start()
    return worker.log.stem


async def terminate(night: Night) -> str:
    """A rolling restart."""
    worker = _worker(night)
    worker.terminate()
    await worker.exit_code()
    await worker.start()
    return worker.log.stem


async def pause(night: Night) -> str:
    """SIGSTOP past the lease: a zombie."""
    worker = _worker(night)
    worker.pause()
    await asyncio.sleep(night.random.uniform(0.5, 3 * LEASE_SECONDS))
    worker.resume()
    return worker.log.stem


async def hang_redis(night: Night) -> str:
    """Connections stay open and nobody answers."""
    night.rig.server.pause()
    await asyncio.sleep(night.random.uniform(0.5, 5))
    night.rig.server.resume()
    return "redis"


async def roll_back(night: Night) -> str:
    """A snapshot, more events, SIGKILL, and a start from the snapshot. A session may end meanwhile."""
    await night.all_have_begun()
    await night.rig.client.save()
    if night.random.random() < 0.3:
        await session_ends(night)
    await asyncio.sleep(lost_seconds := night.random.uniform(0.5, 8))
    await night.rig.server.kill()
    await night.rig.client.connection_pool.disconnect()
    await asyncio.sleep(night.random.uniform(0, 2))
    await night.rig.server.start()
    return f"redis by {lost_seconds:.1f} s"


async def cut_redis(night: Night) -> str:
    """Every connection to Redis is reset."""
    return f"redis {night.proxy.cut()} connections"


async def lose_a_reply(night: Night) -> str:
    """A commit lands and nobody hears of it."""
    night.proxy.swallow_answer_to(COMMIT.sha.encode())
    return "redis"


async def flush_scripts(night: Night) -> str:
    """Redis forgets what it had cached."""
    await night.rig.client.script_flush()
    return "redis"


async def evict_lease(night: Night) -> str:
    """As an eviction policy does that looks at keys with a time to live."""
    await night.rig.client.delete(keys_of(session := _session(night)).lease)
    return session.session_id


async def evict(night: Night) -> str:
    """An eviction policy at work: Redis is full, and throws out each key that has a time to live."""
    policy = night.random.choice(("volatile-ttl", "volatile-lru", "volatile-random"))
    await night.rig.client.config_set("maxmemory-policy", policy)
    await night.rig.client.config_set("maxmemory", 1)
    await asyncio.sleep(night.random.uniform(0.5, 3))
    await night.rig.client.config_set("maxmemory", 0)
    await night.rig.client.config_set("maxmemory-policy", "noeviction")
    return f"redis {policy}"


async def lose_window(night: Night) -> str:
    """The dedupe window alone is gone; it is noticed at the next taking."""
    await night.rig.client.delete(keys_of(session := _session(night)).seen)
    return session.session_id


async def lose_state(night: Night) -> str:
    """The state alone is gone, or a field of it: the entries tell what it was."""
    keys = keys_of(session := night.random.choice(night.living_with_ids))
    field = night.random.choice((None, "seq", "cursor", "commits", "mark", "token", "owner"))
    await (night.rig.client.hdel(keys.state, field) if field else night.rig.client.delete(keys.state))
    return f"{session.session_id} {field or 'all of it'}"


async def step_clock(night: Night) -> str:
    """What a clock that jumped leaves behind: a lease for an hour, and a stranger from the future."""
    await night.rig.client.pexpire(keys_of(session := _session(night)).lease, 3_600_000)
    await night.rig.client.zadd("lens:workers", {f"stranger-{night.random.random()}": 4e9})
    return session.session_id


async def fill(night: Night) -> str:
    """Redis is full for a while, and evicts nothing."""
    await night.rig.client.config_set("maxmemory", 1)
    await asyncio.sleep(night.random.uniform(0.5, 3))
    await night.rig.client.config_set("maxmemory", 0)
    return "redis"


async def lack_replicas(night: Night) -> str:
    """It takes no writes without a replica, and has none."""
    await night.rig.client.config_set("min-replicas-to-write", 1)
    await asyncio.sleep(night.random.uniform(0.5, 3))
    await night.rig.client.config_set("min-replicas-to-write", 0)
    return "redis"


FAULTS: tuple[Fault, ...] = (
    *(drop, drop, drop_at_random, replay, refuse, silence, burst, burst, poison, change_ids),
    *(refuse_an_event, refuse_an_event, replay_letters),
    *(kill, terminate, pause, hang_redis, roll_back, cut_redis, lose_a_reply, lose_a_reply, flush_scripts),
    *(add_session, remove_session, pause_session, rewind_session, rewind_session, move_session, drain_worker),
    *(session_appears, session_appears, session_ends, refuse_metadata, refuse_metadata, list_too_few),
    *(hang_up, leave_out_a_session, write_nonsense, stop_discovering, rotate_key, rotate_password),
    *(evict_lease, evict, lose_window, lose_state, step_clock, fill, lack_replicas),
)
