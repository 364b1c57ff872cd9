"""A worker behind a managed Redis service: it stays below published limits, and finds those that nobody told it."""

from __future__ import annotations

from tests.support.managed_redis import managed_redis
from tests.support.worker import until
from tests.support.worker_rig import Rig, keys_of


async def test_a_backlog_of_many_sessions_meets_no_refusal_with_the_default_settings(rig: Rig) -> None:
    """3,999 arguments and 1 MB: small events, and some of 8 KB."""
    small, large = (rig.simulator.create_session(f"lsn-{size}") for size in ("small", "large"))
    async with managed_redis(rig.server.port) as service:
        worker = await rig.worker(small, large, redis__url=service.url).start()
        await until(lambda: bool(small.readers and large.readers), "both are read")
        rig.server.pause()  # until there is more to commit than fits in one request, however slow this machine is
        small.generate(5_000, event_bytes=250)
        large.generate(5_000, event_bytes=8_000)

        async def full() -> bool:
            states = [
                await worker.metric("session_state", stream=one.session_id, state="backpressured")
                for one in (small, large)
            ]
            return states == [1, 1]

        await until(full, "both wait for Redis")
        rig.server.resume()
        report = await rig.assert_kept(small, large)
        assert [one.events for one in report.sessions] == [5_000, 5_000]
        assert await worker.metric("dead_letters_total") == 0
        worker.terminate()
        assert await worker.exit_code() == 0
    assert service.refused == 0
    assert service.most_arguments > 2_000, "as large as they may be"
    assert service.most_bytes > 600_000


async def test_a_session_whose_events_a_service_refuses_holds_up_no_other(rig: Rig) -> None:
    """Unknown limits, a hang-up behind each refusal, and replies that are lost: all that can be stored stands once."""
    sessions = [rig.simulator.create_session(f"lsn-{number}") for number in range(3)]
    for session in sessions:
        session.generate(1_000)
    sessions[0].generate(1, event_bytes=300_000)
    sessions[0].generate(1_000)
    async with managed_redis(rig.server.port, max_arguments=200, max_request_bytes=100_000, hangs_up=True) as service:
        service.lose_reply_to(b"EVALSHA", after=10)
        worker = await rig.worker(*sessions, redis__url=service.url).start()
        await rig.reaches(sessions[0], 2_000)
        for session in sessions:
            session.generate(100)
        report = await rig.verify(*sessions)
        assert [(one.events, one.dead_letters) for one in report.sessions] == [(2_100, 1), (1_100, 0), (1_100, 0)]
        assert report.ok, report
        [(_, letter)] = await rig.raw_entries(keys_of(sessions[0]).dead_letter)
        assert (letter[b"id"], letter[b"reason"], letter[b"truncated"]) == (b"1001", b"rejected", b"1")
        assert await worker.metric("dead_letters_total", reason="rejected") == 1
        assert await worker.metric("rollbacks_total") == 0
        await until(lambda: service.lost == 1, "a reply is lost")
    assert service.refused < 3 * 40
