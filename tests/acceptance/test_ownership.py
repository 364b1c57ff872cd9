"""Two workers on one session, a zombie that wakes up, and sessions that are shared out among workers."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Sequence

from bridge.simulator import FreshRule, Profile, SimulatedSession
from tests.acceptance.proxy import Proxy
from tests.acceptance.rig import Rig
from tests.acceptance.worker import DEADLINE_SECONDS, Condition, until

WINDOW_EVENTS = 64
LONG_TTL_SECONDS = 120  # longer than any wait of a test: what is taken over sooner was given back


async def test_a_worker_paused_past_its_lease_wakes_up_fenced_and_writes_nothing(
    rig: Rig, fault_random: random.Random, fault_seed: int
) -> None:
    """SIGSTOP with unread data in its sockets; the other worker outruns the dedupe window before SIGCONT."""
    print(f"fault seed {fault_seed}")
    session = rig.simulator.create_session("lsn-zombie")
    session.play(Profile.SIZED, rate=250)
    pair = [
        await rig.worker(
            session, dedupe__window_events=WINDOW_EVENTS, commit__max_events=10, lease__ttl_seconds=1
        ).start()
        for _ in range(2)
    ]
    for _ in range(2):
        await rig.reaches(session, await rig.seq(session) + 50)
        owner = await rig.owner(session)
        zombie = pair[0] if owner == "worker-1" else pair[1]
        await asyncio.sleep(fault_random.uniform(0, 0.1))
        fences = await zombie.metric("fenced_total")
        zombie.pause()
        await until(_owned_by_another(rig, session, owner), "the other worker takes over")
        await rig.reaches(session, await rig.seq(session) + 5 * WINDOW_EVENTS)
        zombie.resume()
        await until(zombie.counts("fenced_total", fences + 1), "the zombie is fenced")
    session.pause()
    report = await rig.assert_kept(session)
    assert report.sessions[0].events == len(session.record)
    assert sum([await worker.metric("rollbacks_total") for worker in pair]) == 0


async def test_sigterm_commits_what_was_read_and_gives_the_lease_back_at_once(rig: Rig) -> None:
    """The server knows no ids and no past: what was read and not committed would be lost for good."""
    session = rig.simulator.create_session("lsn-drained")
    session.change(ids=False, fresh=FreshRule.LIVE)
    async with Proxy(rig.server.port) as slow:
        slow.delay_seconds = 0.004
        url = f"redis://127.0.0.1:{slow.port}/0"
        first = rig.worker(
            session,
            commit__max_events=1,
            lease__ttl_seconds=LONG_TTL_SECONDS,
            redis__url=url,
            worker__grace_period_seconds=60,
        )
        await first.start()
        await session.wait_connected(timeout=DEADLINE_SECONDS)
        second = await rig.worker(session, lease__ttl_seconds=LONG_TTL_SECONDS).start()
        await second.wait_ready()
        session.generate(300)
        await until(first.counts("events_received_total", 300), "all of it is read")
        assert await rig.seq(session) < 300, "the tail is still to be committed, or this test tells nothing"
        first.terminate()
        assert await first.exit_code() == 0
    events = [entry for entry in await rig.entries(session) if not entry["type"].startswith("bridge.")]
    assert len(events) == 300
    await until(_owned_by_another(rig, session, "worker-1"), "taken over", timeout=LONG_TTL_SECONDS / 4)
    assert not first.said("drain.cut_short")
    await session.wait_connected(timeout=DEADLINE_SECONDS)
    session.generate(10)
    await rig.assert_kept(session)


async def test_a_second_signal_ends_a_stop_that_waits_for_redis(own_rig: Rig) -> None:
    """Exit code 143 at once; what was not committed is read again by the next worker."""
    session = own_rig.simulator.create_session("lsn-impatient")
    worker = await own_rig.worker(session, worker__grace_period_seconds=600, redis__timeout_seconds=600).start()
    await session.wait_connected(timeout=DEADLINE_SECONDS)
    own_rig.server.pause()
    session.generate(200)
    await until(worker.counts("events_received_total", 200), "all of it is read")
    worker.terminate()
    await until(lambda: bool(worker.said("worker.stopping")), "the stop begins")
    assert worker.running
    worker.terminate()
    assert await worker.exit_code() == 128 + 15
    own_rig.server.resume()
    await worker.start()
    await own_rig.assert_kept(session)


async def test_twelve_sessions_go_to_one_worker_then_three_then_one_and_nothing_is_lost(rig: Rig) -> None:
    """Each of three holds a third; SIGTERM hands over, SIGKILL waits for the leases; all under load."""
    sessions = [rig.simulator.create_session(f"lsn-shared-{n}") for n in range(12)]
    for session in sessions:
        session.play(Profile.SIZED, rate=20)
    first, second, third = (rig.worker(*sessions) for _ in range(3))
    await first.start()
    await until(_shared_out(rig, sessions, {"worker-1": 12}), "one worker holds all")
    await asyncio.gather(second.start(), third.start())
    thirds = {"worker-1": 4, "worker-2": 4, "worker-3": 4}
    await until(_shared_out(rig, sessions, thirds), "a third each")
    second.terminate()
    assert await second.exit_code() == 0
    await until(_shared_out(rig, sessions, {"worker-1": 6, "worker-3": 6}), "a half each")
    await third.kill()
    await until(_shared_out(rig, sessions, {"worker-1": 12}), "one holds all again")
    for session in sessions:
        session.pause()
    report = await rig.assert_kept(*sessions)
    assert sum(one.events for one in report.sessions) == sum(len(session.record) for session in sessions)


async def test_a_stopped_workers_sessions_are_taken_long_before_their_leases_expire(rig: Rig) -> None:
    """Three workers with leases of a minute; one of them gets SIGTERM."""
    sessions = [rig.simulator.create_session(f"lsn-released-{n}") for n in range(12)]
    for session in sessions:
        session.play(Profile.SIZED, rate=20)
    workers = [await rig.worker(*sessions, lease__ttl_seconds=LONG_TTL_SECONDS).start() for _ in range(3)]
    thirds = {"worker-1": 4, "worker-2": 4, "worker-3": 4}
    await until(_shared_out(rig, sessions, thirds), "a third each")
    workers[0].terminate()
    assert await workers[0].exit_code() == 0
    halves = {"worker-2": 6, "worker-3": 6}
    await until(_shared_out(rig, sessions, halves), "a half each", timeout=LONG_TTL_SECONDS / 4)
    for session in sessions:
        session.pause()
    await rig.assert_kept(*sessions)


def _owned_by_another(rig: Rig, session: SimulatedSession, owner: str | None) -> Condition:
    async def owned() -> bool:
        return await rig.owner(session) not in (None, owner)

    return owned


def _shared_out(rig: Rig, sessions: Sequence[SimulatedSession], shares: dict[str, int]) -> Condition:
    async def shared() -> bool:
        owners = await asyncio.gather(*(rig.owner(session) for session in sessions))
        return Counter(owners) == shares

    return shared
