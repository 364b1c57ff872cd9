"""The commit script against a model: whoever sends what and when, the stream stays one run without hole or repeat."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

import redis as sync_redis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from bridge.events import START, Claim, Phase, Place, Record, Session
from bridge.keys import session_keys
from bridge.lease import Leases
from bridge.link import RedisLink
from bridge.outcomes import AlreadyCommitted, CommitResult, Committed, HeldBy
from bridge.redis_server import RedisServer
from bridge.secrets import Secrets
from bridge.settings import RedisSettings, StreamSettings
from bridge.sink import RedisSink
from bridge.window import Seal, Window, digest_of

_runs = count()


@dataclass
class Worker:
    """What one worker believes."""

    leases: Leases
    claim: Claim | None = None
    place: Place = START
    window: Window = field(default_factory=lambda: Window(5))


def events_after(place: Place, number: int) -> list[Record]:
    """What the source serves after a cursor: the ids 1, 2, 3, … for ever."""
    first = int(place.cursor or 0) + 1
    return [
        Record(str(n), "t", b'{"type":"t"}', 1.0, "message", digest_of(b"%d" % n), str(n), 0)
        for n in range(first, first + number)
    ]


class CommitMachine(RuleBasedStateMachine):
    """Three workers on one session, with takeovers, lost replies, late packets and rollbacks of Redis."""

    url = ""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.Runner()
        self.client: Any = sync_redis.Redis.from_url(self.url)  # redis-py's types know every reply that could be
        self.link = self.loop.run(self._link())
        self.keys = session_keys("lens:{<name>}:events", Session(name=f"model-{next(_runs)}", session_id="lsn-1"))
        self.sink = RedisSink(self.link, self.keys, "lsn-1", StreamSettings())
        self.workers = [Worker(Leases(self.link, f"w{n}", 30)) for n in range(3)]
        self.late: list[bytes] = []
        self.snapshot: dict[str, bytes] = {}

    async def _link(self) -> RedisLink:
        return RedisLink(RedisSettings(url=self.url), Secrets())  # type: ignore[arg-type]

    def teardown(self) -> None:
        self.loop.run(self.link.aclose())
        self.loop.close()
        self.client.delete(*self._names())
        self.client.close()

    def _names(self) -> list[str]:
        return [self.keys.events, self.keys.state, self.keys.seen, self.keys.dead_letter, self.keys.lease]

    @rule(index=st.integers(0, 2))
    def take_over(self, index: int) -> None:
        """The lease has run out, and this worker is the first to notice."""
        self.client.delete(self.keys.lease)
        worker = self.workers[index]
        claim = self.loop.run(worker.leases.acquire(self.keys))
        assert isinstance(claim, Claim)
        worker.claim, worker.place, worker.window = claim, claim.place, Window(5, claim.window)

    @rule(index=st.integers(0, 2))
    def ask_for_a_lease_that_is_held(self, index: int) -> None:
        """It is refused, and the holder keeps its token."""
        holder = self.client.get(self.keys.lease)
        worker = self.workers[index]
        if holder and holder.decode() != worker.leases.owner:
            assert isinstance(self.loop.run(worker.leases.acquire(self.keys)), HeldBy)

    def _pack(self, worker: Worker, number: int) -> tuple[bytes, list[Record], Seal, Place]:
        assert worker.claim
        batch = events_after(worker.place, number)
        seal = worker.window.seal(batch)
        after = replace(worker.place, cursor=batch[-1].cursor, commits=worker.place.commits + 1)
        packed = self.sink.pack(worker.claim.token, worker.place, after, batch, seal, Phase.ACTIVE)
        return packed, batch, seal, after

    @rule(index=st.integers(0, 2), number=st.integers(1, 4), lost_replies=st.integers(0, 2))
    def commit(self, index: int, number: int, lost_replies: int) -> None:
        """Send until a reply comes; each reply but the last is lost on the way."""
        worker = self.workers[index]
        if worker.claim is None:
            return
        packed, batch, seal, after = self._pack(worker, number)
        self.late.append(packed)
        results: list[CommitResult] = [self.loop.run(self.sink.commit(packed)) for _ in range(lost_replies + 1)]
        result = results[-1]
        if isinstance(results[0], Committed):
            assert all(isinstance(again, AlreadyCommitted) for again in results[1:])
        if isinstance(result, Committed | AlreadyCommitted):
            assert result.seq == worker.place.seq + len(batch), "told that its batch landed, but it was another one"
            worker.place = replace(after, seq=result.seq)
            worker.window.committed(batch, seal)
        else:
            worker.claim = None

    @precondition(lambda self: self.late)
    @rule(data=st.data())
    def a_late_packet_arrives(self, data: st.DataObject) -> None:
        """Bytes of a connection that was given up long ago are carried out now."""
        packed = data.draw(st.sampled_from(self.late))
        self.loop.run(self.sink.commit(packed))

    @rule()
    def save(self) -> None:
        """A replica, or a dump, that lags behind from here on."""
        found = {name: self.client.dump(name) for name in self._names()}
        self.snapshot = {name: value for name, value in found.items() if value is not None}

    @precondition(lambda self: self.snapshot)
    @rule()
    def roll_back(self) -> None:
        """A failover to that replica: acknowledged writes are gone."""
        self.client.delete(*self._names())
        for name, value in self.snapshot.items():
            self.client.restore(name, 30_000 if name == self.keys.lease else 0, value)

    @invariant()
    def the_stream_is_one_run(self) -> None:
        """Each id once, in order, numbered without a hole; and the state says the same."""
        entries = self.client.xrange(self.keys.events)
        assert [int(fields[b"id"]) for _, fields in entries] == list(range(1, len(entries) + 1))
        assert [int(fields[b"seq"]) for _, fields in entries] == list(range(1, len(entries) + 1))
        state = self.client.hgetall(self.keys.state)
        assert int(state.get(b"seq", 0)) == len(entries)
        assert (state.get(b"cursor") or b"0") == b"%d" % len(entries)
        known = Window(5, self.client.lrange(self.keys.seen, 0, -1))
        assert all(known.get(str(n)) for n in range(max(1, len(entries) - 4), len(entries) + 1))


def test_no_order_of_takeovers_lost_replies_late_packets_and_rollbacks_breaks_the_stream(
    shared_redis_server: RedisServer,
) -> None:
    """Hypothesis looks for one that does."""
    CommitMachine.url = shared_redis_server.url
    run_state_machine_as_test(
        CommitMachine,
        settings=settings(
            max_examples=50, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
