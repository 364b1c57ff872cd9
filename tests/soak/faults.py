"""What goes wrong. Each fault does one thing, and undoes it where it would not pass by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from bridge.lab.simulator import Closing, CursorRule, Drop, RandomDrops, Refusal, Silence, SimulatedSession
from bridge.store.commits import COMMIT
from tests.soak.night import LEASE_SECONDS, WITHOUT_IDS, Night
from tests.support.worker import Worker
from tests.support.worker_rig import keys_of

__all__ = ["FAULTS", "Fault"]

TAIL_EVENTS = 1900  # less than the dedupe window, and more than a rollback or an outage leaves behind

Fault = Callable[[Night], Awaitable[None]]


def _session(night: Night) -> SimulatedSession:
    return night.random.choice(list(night.sessions.values()))


def _worker(night: Night) -> Worker:
    return night.random.choice(night.workers)


async def drop(night: Night) -> None:
    """The source ends all connections of a session."""
    Drop(closing=night.random.choice(list(Closing))).apply(_session(night))


async def drop_at_random(night: Night) -> None:
    """From here on, every few dozen events."""
    session = _session(night)
    if session.switches.cursor is CursorRule.HONOUR:
        RandomDrops(mean_events=night.random.choice((40, 200)), seed=night.random.getrandbits(32)).apply(session)


async def replay(night: Night) -> None:
    """From here on the source ignores Last-Event-ID and sends its last events again."""
    session = night.random.choice(night.with_ids)
    session.clear_faults()  # random drops would never let a replay come to its end
    session.change(cursor=night.random.choice((CursorRule.TAIL, CursorRule.HONOUR)), tail_events=TAIL_EVENTS)
    Drop(closing=Closing.CUT).apply(session)


async def refuse(night: Night) -> None:
    """The source refuses for a moment."""
    status = night.random.choice((401, 429, 500, 503))
    Refusal(status=status, requests=night.random.randint(1, 4), retry_after=1 if status == 429 else None).apply(
        session := _session(night)
    )
    Drop(closing=Closing.RESET).apply(session)


async def silence(night: Night) -> None:
    """Connections stay, and nothing comes."""
    Silence(seconds=night.random.uniform(1, 12)).apply(_session(night))


async def burst(night: Night) -> None:
    """Many events at once."""
    _session(night).generate(night.random.randint(50, 300))


async def kill(night: Night) -> None:
    """SIGKILL, and a start after a while."""
    worker = _worker(night)
    await worker.kill()
    await asyncio.sleep(night.random.uniform(0, LEASE_SECONDS))
    await worker.start()


async def terminate(night: Night) -> None:
    """A rolling restart."""
    worker = _worker(night)
    worker.terminate()
    await worker.exit_code()
    await worker.start()


async def pause(night: Night) -> None:
    """SIGSTOP past the lease: a zombie."""
    worker = _worker(night)
    worker.pause()
    await asyncio.sleep(night.random.uniform(0.5, 3 * LEASE_SECONDS))
    worker.resume()


async def hang_redis(night: Night) -> None:
    """Connections stay open and nobody answers."""
    night.rig.server.pause()
    await asyncio.sleep(night.random.uniform(0.5, 5))
    night.rig.server.resume()


async def roll_back(night: Night) -> None:
    """A snapshot, more events, SIGKILL, and a start from the snapshot."""
    await night.rig.client.save()
    await asyncio.sleep(night.random.uniform(0.5, 8))
    await night.rig.server.kill()
    await night.rig.client.connection_pool.disconnect()
    await asyncio.sleep(night.random.uniform(0, 2))
    await night.rig.server.start()


async def cut_redis(night: Night) -> None:
    """Every connection to Redis is reset."""
    night.proxy.cut()


async def lose_a_reply(night: Night) -> None:
    """A commit lands and nobody hears of it."""
    night.proxy.swallow_answer_to(COMMIT.sha.encode())


async def flush_scripts(night: Night) -> None:
    """Redis forgets what it had cached."""
    await night.rig.client.script_flush()


async def evict_lease(night: Night) -> None:
    """As an eviction policy does that looks at keys with a time to live."""
    await night.rig.client.delete(keys_of(_session(night)).lease)


async def lose_window(night: Night) -> None:
    """The dedupe window alone is gone; it is noticed at the next taking."""
    name, session = night.random.choice(list(night.sessions.items()))
    if name != WITHOUT_IDS:
        await night.rig.client.delete(keys_of(session).seen)


async def step_clock(night: Night) -> None:
    """What a clock that jumped leaves behind: a lease for an hour, and a stranger from the future."""
    await night.rig.client.pexpire(keys_of(_session(night)).lease, 3_600_000)
    await night.rig.client.zadd("lens:workers", {f"stranger-{night.random.random()}": 4e9})


async def fill(night: Night) -> None:
    """Redis is full for a while."""
    await night.rig.client.config_set("maxmemory", 1)
    await asyncio.sleep(night.random.uniform(0.5, 3))
    await night.rig.client.config_set("maxmemory", 0)


async def lack_replicas(night: Night) -> None:
    """It takes no writes without a replica, and has none."""
    await night.rig.client.config_set("min-replicas-to-write", 1)
    await asyncio.sleep(night.random.uniform(0.5, 3))
    await night.rig.client.config_set("min-replicas-to-write", 0)


FAULTS: tuple[Fault, ...] = (
    *(drop, drop, drop_at_random, replay, refuse, silence, burst, burst),
    *(kill, terminate, pause, hang_redis, roll_back, cut_redis, lose_a_reply, lose_a_reply, flush_scripts),
    *(evict_lease, evict_lease, lose_window, step_clock, fill, lack_replicas),
)
