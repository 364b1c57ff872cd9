"""Two workers on one session, a zombie that wakes up, and sessions that are shared out among workers."""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any
from urllib.parse import urlsplit

from bridge.lab.simulator import FreshRule, Profile, SimulatedSession
from tests.support.proxy import Proxy
from tests.support.worker import DEADLINE_SECONDS, Condition, Worker, until
from tests.support.worker_rig import Rig, keys_of

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


async def test_a_worker_that_joins_or_leaves_leaves_no_session_unread_that_nobody_can_begin_with(rig: Rig) -> None:
    """It can connect to one session a second only: the others are read on meanwhile by who has them."""
    sessions = [rig.simulator.create_session(f"lsn-slow-{n}") for n in range(8)]
    for session in sessions:
        session.play(Profile.SIZED, rate=20)
    first = await rig.worker(*sessions, worker__grace_period_seconds=120).start()
    await until(_all_read(sessions), "one worker reads all")
    watch = asyncio.create_task(_most_unread(sessions))
    second = await rig.worker(*sessions, source__connects_per_second=0.01).start()
    await until(_shared_out(rig, sessions, {"worker-1": 4, "worker-2": 4}), "a half each")
    first.terminate()
    assert await first.exit_code(timeout=120) == 0
    await until(_shared_out(rig, sessions, {"worker-2": 8}), "the other one has all")
    await until(_all_read(sessions), "and reads all")
    watch.cancel()
    most = (await asyncio.gather(watch, return_exceptions=True))[0]
    assert isinstance(most, MostUnreadError)
    assert 1 <= most.sessions <= 2, "one on its way at a time, and one more where two looks overlap"
    for session in sessions:
        session.pause()
    await rig.assert_kept(*sessions)
    assert len([line for line in first.said("lease.handed_over") if line["to"].startswith("worker-2/")]) == 8
    assert await second.metric("fenced_total") == 0


async def test_deployments_with_other_sessions_leave_each_other_alone(rig: Rig) -> None:
    """On one Redis: one with six sessions, one with another, a worker without any, and what a wrong clock left."""
    mine = [rig.simulator.create_session(f"lsn-mine-{n}") for n in range(6)]
    theirs = rig.simulator.create_session("lsn-theirs")
    seconds, _ = await rig.client.time()
    await rig.client.zadd("lens:workers", {"stale/1 0123456789abcdef 0 2000": seconds + 36_000, "stale/2": 2e10})
    await rig.worker(theirs).start()
    await rig.worker().start()
    first = await rig.worker(*mine).start()
    await until(_shared_out(rig, mine, {"worker-3": 6}), "it reads all of its sessions")
    await until(_shared_out(rig, [theirs], {"worker-1": 1}), "and the other one its own")
    fourth = await rig.worker(*mine[:2]).start()
    halves = {"worker-3": 1, "worker-4": 1}
    await until(_shared_out(rig, mine[:2], halves), "two are wanted by another worker too: one for each")
    assert await _owners(rig, mine[2:]) == {"worker-3": 4}, "the others are not"
    assert await first.metric("lease_held") == 5
    assert await fourth.metric("workers_live") == 4


async def test_a_dead_workers_sessions_are_taken_over_while_rediss_clock_goes_back_an_hour(rig: Rig) -> None:
    """Its leases would last 3,583 s more, and its record in the register too."""
    sessions = [rig.simulator.create_session(f"lsn-clock-{n}") for n in range(4)]
    first = await rig.worker(*sessions).start()
    await until(_shared_out(rig, sessions, {"worker-1": 4}), "one worker holds all")
    await rig.worker(*sessions).start()
    await until(_shared_out(rig, sessions, {"worker-1": 2, "worker-2": 2}), "a half each")
    await first.kill()
    for session in sessions:
        if await rig.owner(session) == "worker-1":
            await rig.client.pexpire(keys_of(session).lease, 3_583_000)
    records: Any = await rig.client.zrange("lens:workers", 0, -1)
    for record in records:
        await rig.client.zincrby("lens:workers", 3600, record)
    began = asyncio.get_running_loop().time()
    await until(_shared_out(rig, sessions, {"worker-2": 4}), "the other one takes over", timeout=30)
    assert asyncio.get_running_loop().time() - began > 1, "not before their time was over"


async def test_leases_that_redis_evicts_stay_with_their_holders(rig: Rig) -> None:
    """A shared Redis under volatile-ttl: what ends soonest goes first, again and again."""
    sessions = [rig.simulator.create_session(f"lsn-evicted-{n}") for n in range(5)]
    first = await rig.worker(*sessions).start()
    await until(_shared_out(rig, sessions, {"worker-1": 5}), "one worker holds all")
    workers = [first, await rig.worker(*sessions).start()]
    await until(_shared_out(rig, sessions, {"worker-1": 3, "worker-2": 2}), "one of them has room for another one")
    await until(workers[1].counts("lease_held", 2), "and has taken what was left to it")
    tokens = [await rig.client.hget(keys_of(session).state, "token") for session in sessions]
    loop = asyncio.get_running_loop()
    began = loop.time()
    while loop.time() - began < 6:  # three times to live
        await rig.client.delete(*(keys_of(session).lease for session in sessions))
        await asyncio.sleep(0.02)
    assert [await rig.client.hget(keys_of(session).state, "token") for session in sessions] == tokens
    assert sum([await worker.metric("fenced_total") for worker in workers]) == 0


async def test_a_worker_that_alone_cannot_reach_the_source_leaves_its_sessions_to_the_other(rig: Rig) -> None:
    """It stands aside, comes back when it can, and says so. Where nobody reaches it, nothing goes to and fro."""
    sessions = [rig.simulator.create_session(f"lsn-cut-off-{n}") for n in range(4)]
    async with AsyncExitStack() as way:
        proxy = await way.enter_async_context(Proxy(int(urlsplit(rig.simulator.base_url).port or 0)))
        url = rig.simulator.base_url.replace(str(proxy.target_port), str(proxy.port))
        cut_off = await rig.worker(*sessions, source__base_url=url).start()
        await until(_shared_out(rig, sessions, {"worker-1": 4}), "one worker holds all")
        await rig.worker(*sessions).start()
        await until(_shared_out(rig, sessions, {"worker-1": 2, "worker-2": 2}), "a half each")
    await until(_shared_out(rig, sessions, {"worker-2": 4}), "the other one reads them all")
    assert len(cut_off.said("source.unreachable")) == 1
    for session in sessions:
        await session.wait_connected(timeout=DEADLINE_SECONDS)
        session.generate(3)
    await rig.assert_kept(*sessions)
    assert await _owners(rig, sessions) == {"worker-2": 4}
    await rig.workers[1].kill()
    await until(_shared_out(rig, sessions, {"worker-1": 4}), "better one that tries than none")


async def test_a_stop_ends_with_the_grace_period_while_redis_hangs(own_rig: Rig) -> None:
    """Five sessions with unread tails: one deadline for all, exit code 0, and what was left is said."""
    sessions = [own_rig.simulator.create_session(f"lsn-hung-{n}") for n in range(5)]
    worker = own_rig.worker(
        *sessions, redis__timeout_seconds=5, redis__connect_timeout_seconds=5, worker__grace_period_seconds=4
    )
    await worker.start()
    for session in sessions:
        await session.wait_connected(timeout=DEADLINE_SECONDS)
    own_rig.server.pause()
    for session in sessions:
        session.generate(50)
    await until(worker.counts("events_received_total", 250), "all of it is read")
    loop = asyncio.get_running_loop()
    began = loop.time()
    worker.terminate()
    assert await worker.exit_code() == 0
    took = loop.time() - began
    print(f"the stop took {took:.1f} s")
    assert 3 < took < 4 + 4, "its grace period, and a little for a machine that is busy"
    assert worker.said("worker.stop_cut_short")[0]["sessions"] == 5
    assert sum(line["left_events"] for line in worker.said("drain.cut_short")) == 250
    own_rig.server.resume()
    await worker.start()
    await own_rig.assert_kept(*sessions)


async def test_a_terminal_that_is_closed_stops_a_worker_in_good_order(rig: Rig) -> None:
    """Exit code 0, no lease kept. While it is open SIGHUP asks for a reload, as it does where there is none."""
    session = rig.simulator.create_session("lsn-hung-up")
    ours, theirs = os.openpty()
    try:
        worker = await rig.worker(session, lease__ttl_seconds=LONG_TTL_SECONDS).start(terminal=theirs)
        os.close(theirs)
        await session.wait_connected(timeout=DEADLINE_SECONDS)
        worker.reload()
        await until(_said(worker, "config.reloaded"), "it answers")
        assert worker.running
    finally:
        os.close(ours)
    assert await worker.exit_code() == 0
    assert worker.said("worker.stopping")[0]["signal"] == "SIGHUP"
    assert await rig.owner(session) is None
    assert await rig.client.zcard("lens:workers") == 0


async def test_two_workers_of_one_name_say_so_and_share_all_the_same(rig: Rig) -> None:
    """What each calls itself has random text behind the name."""
    sessions = [rig.simulator.create_session(f"lsn-twin-{n}") for n in range(2)]
    twins = [await rig.worker(*sessions, worker__id="twin").start() for _ in range(2)]
    for twin in twins:
        await until(_said(twin, "worker.id_used_twice"), "it says so")
        await until(twin.counts("lease_held", 1), "each has one")
        assert len(twin.said("worker.id_used_twice")) == 1


class MostUnreadError(Exception):
    """How many sessions had no reader at one time."""

    def __init__(self, sessions: int) -> None:
        super().__init__(sessions)
        self.sessions = sessions


async def _most_unread(sessions: Sequence[SimulatedSession]) -> None:
    most = 0
    try:
        while True:
            most = max(most, sum(not session.readers for session in sessions))
            await asyncio.sleep(0.005)
    except asyncio.CancelledError:
        raise MostUnreadError(most) from None


def _all_read(sessions: Sequence[SimulatedSession]) -> Condition:
    return lambda: all(session.readers for session in sessions)


def _said(worker: Worker, event: str) -> Condition:
    return lambda: bool(worker.said(event))


def _owned_by_another(rig: Rig, session: SimulatedSession, owner: str | None) -> Condition:
    async def owned() -> bool:
        return await rig.owner(session) not in (None, owner)

    return owned


def _shared_out(rig: Rig, sessions: Sequence[SimulatedSession], shares: dict[str, int]) -> Condition:
    async def shared() -> bool:
        return await _owners(rig, sessions) == shares

    return shared


async def _owners(rig: Rig, sessions: Sequence[SimulatedSession]) -> Counter[str | None]:
    return Counter(await asyncio.gather(*(rig.owner(session) for session in sessions)))
