"""The commit script against a model: whoever sends what and when, the stream stays one run without hole or repeat."""

from __future__ import annotations

import asyncio
import json
import uuid
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from itertools import count, groupby
from typing import Any

import redis as sync_redis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from bridge.delivery.numbers import Numbers
from bridge.delivery.window import Seal, Window, digest_of
from bridge.lab.redis_server import RedisServer
from bridge.masking import Secrets
from bridge.model.keys import session_keys
from bridge.model.labels import Phase
from bridge.model.outcomes import AlreadyCommitted, CommitResult, Committed, HeldBy
from bridge.model.place import START, Lease, Place, Session
from bridge.model.records import Piece, Record, Run
from bridge.settings import RedisSettings, StreamSettings
from bridge.store.commits import RedisSink
from bridge.store.leases import Leases
from bridge.store.link import RedisLink

_runs = count()


@dataclass
class Worker:
    """What one worker believes, and what Redis has acknowledged to it."""

    leases: Leases
    lease: Lease | None = None
    place: Place = START
    window: Window = field(default_factory=lambda: Window(5))
    numbers: Numbers = field(default_factory=Numbers)
    acknowledged: dict[int, str] = field(default_factory=dict)


def events_from(first: int, number: int) -> list[Record]:
    """What the source serves: the ids 1, 2, 3, … for ever, of four types in no simple order."""
    return [
        Record(str(n), f"t{n * n // 3 % 4}", b'{"type":"t"}', 1.0, "message", digest_of(b"%d" % n), str(n), 0)
        for n in range(first, first + number)
    ]


def as_pieces(batch: list[Record]) -> list[Piece]:
    """What follows one another without a marker as one run, where it is enough for that: both ways to write events."""
    pieces: list[Piece] = []
    for numbered, group in groupby(batch, lambda record: record.numbered):
        records = list(group)
        if numbered and len(records) > 2:
            keys, types = [one.key for one in records], [one.type for one in records]
            pieces.append(Run.of(keys, types, [one.data for one in records], [one.digest for one in records], 1.0))
        else:
            pieces += records
    return pieces


@dataclass(frozen=True)
class Packed:
    """One commit as bytes, and what it is to come to."""

    data: bytes
    batch: list[Record]
    seal: Seal
    after: Place


class CommitMachine(RuleBasedStateMachine):
    """Three workers on one session, with takeovers, lost replies, late packets, refusals, a source that forgets, and
    rollbacks of Redis."""

    url = ""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.Runner()
        self.client: Any = sync_redis.Redis.from_url(self.url)  # redis-py's types know every reply that could be
        self.link = self.loop.run(self._link())
        self.session = Session(name=f"model-{next(_runs)}", session_id="lsn-1")
        self._route({})
        self.workers = [Worker(Leases(self.link, f"w{n}", 30)) for n in range(3)]
        self.late: list[bytes] = []
        self.snapshots: list[dict[str, bytes]] = []  # before each commit
        self.oldest = 1  # the first event that the source still serves

    def _route(self, routes: dict[str, str]) -> None:
        self.keys = session_keys("lens:{<name>}:events", self.session, routes)
        self.sink = RedisSink(self.link, self.keys, self.session, StreamSettings())

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
        """The holder has not been heard for too long, and this worker is the first to notice."""
        self.client.delete(self.keys.lease)
        worker = self.workers[index]
        lease = self.loop.run(worker.leases.acquire(self.keys))
        if isinstance(lease, HeldBy):
            lease = self.loop.run(worker.leases.acquire(self.keys, overdue=lease.beat))
        assert isinstance(lease, Lease)
        worker.lease, worker.place, worker.window = lease, lease.place, Window(5, lease.window)

    @rule(index=st.integers(0, 2))
    def ask_for_a_lease_that_is_held(self, index: int) -> None:
        """It is refused, and the holder keeps its token."""
        holder = self.client.get(self.keys.lease)
        worker = self.workers[index]
        if holder and holder.decode() != worker.leases.owner:
            assert isinstance(self.loop.run(worker.leases.acquire(self.keys)), HeldBy)

    def _pack(self, worker: Worker, number: int) -> Packed:
        assert worker.lease
        batch = events_from(max(self.oldest, int(worker.place.cursor or 0) + 1), number)
        if reissue := worker.numbers.reissue(worker.place.seq):
            batch = reissue.declared(batch, worker.place, at=1.0, markers=True)
        self._save()
        seal = worker.window.seal(batch)
        after = worker.place._replace(commits=worker.place.commits + 1, mark=uuid.uuid4().hex)
        if batch:
            after = after._replace(cursor=batch[-1].cursor)
        data = self.sink.pack(worker.lease.token, worker.place, after, as_pieces(batch), seal, Phase.ACTIVE)
        self.late.append(data)
        return Packed(data, batch, seal, after)

    def _landed(self, worker: Worker, packed: Packed, seq: int) -> None:
        """Redis has acknowledged it: each event its number, and none has had another event at this worker before."""
        number = worker.place.seq
        for record in packed.batch:
            number += record.skip or 0
            if record.numbered:
                number += 1
                assert worker.acknowledged.setdefault(number, record.key) == record.key, "a number has two events"
        assert len(set(worker.acknowledged.values())) == len(worker.acknowledged), "an event has two numbers"
        assert seq == number, "told that its batch landed, but it was another one"
        worker.numbers.landed(packed.batch, worker.place.seq)
        worker.place = packed.after._replace(seq=seq)
        worker.window.committed(packed.seal)

    @rule(index=st.integers(0, 2), number=st.integers(1, 4), lost_replies=st.integers(0, 2))
    def commit(self, index: int, number: int, lost_replies: int) -> None:
        """Send until a reply comes; each reply but the last is lost on the way."""
        worker = self.workers[index]
        if worker.lease is None:
            return
        packed = self._pack(worker, number)
        results: list[CommitResult] = [self.loop.run(self.sink.commit(packed.data)) for _ in range(lost_replies + 1)]
        for again in results[1:] if isinstance(results[0], Committed) else ():
            assert isinstance(again, AlreadyCommitted)
            assert again.mark == packed.after.mark
        self._conclude(worker, packed, results[-1])

    def _conclude(self, worker: Worker, packed: Packed, result: CommitResult) -> None:
        match result:
            case Committed(seq=seq):
                self._landed(worker, packed, seq)
            case AlreadyCommitted(seq=seq, mark=mark) if mark == packed.after.mark:
                self._landed(worker, packed, seq)
            case _:
                worker.lease = None

    @rule(index=st.integers(0, 2), number=st.integers(1, 4), arrived=st.booleans(), lost_replies=st.integers(0, 1))
    def commit_that_is_refused_after_its_reply_was_lost(
        self, index: int, number: int, arrived: bool, lost_replies: int
    ) -> None:
        """Whether it had landed is learned from a commit that carries nothing."""
        worker = self.workers[index]
        if worker.lease is None:
            return
        packed = self._pack(worker, number)
        first = self.loop.run(self.sink.commit(packed.data)) if arrived else None
        probe = self._pack(worker, 0)
        for _ in range(lost_replies):
            self.loop.run(self.sink.commit(probe.data))
        result = self.loop.run(self.sink.commit(probe.data))
        if isinstance(result, AlreadyCommitted) and result.mark == packed.after.mark:
            assert isinstance(first, Committed)
            self._landed(worker, packed, result.seq)
        else:
            assert not isinstance(first, Committed)
            self._conclude(worker, probe, result)

    @precondition(lambda self: self.late)
    @rule(data=st.data())
    def a_late_packet_arrives(self, data: st.DataObject) -> None:
        """Bytes of a connection that was given up long ago are carried out now."""
        packed = data.draw(st.sampled_from(self.late))
        self.loop.run(self.sink.commit(packed))

    @rule(events=st.integers(1, 3))
    def the_source_forgets(self, events: int) -> None:
        """It serves no longer what it once did."""
        self.oldest += events

    def _save(self) -> None:
        found = {name: self.client.dump(name) for name in self._names()}
        self.snapshots.append({name: value for name, value in found.items() if value is not None})

    @precondition(lambda self: self.snapshots)
    @rule(back=st.integers(1, 3), forgotten=st.integers(0, 3), taken_by=st.integers(0, 3))
    def roll_back(self, back: int, forgotten: int, taken_by: int) -> None:
        """A failover to a replica, or to a dump, that lags behind: acknowledged writes are gone, and perhaps served no
        more. One of the workers may be quick to take the session."""
        self.client.delete(*self._names())
        for name, value in self.snapshots[-back:][0].items():
            self.client.restore(name, 30_000 if name == self.keys.lease else 0, value)
        self.oldest += forgotten
        if taken_by < 3:
            self.take_over(index=taken_by)

    def _entries(self) -> list[dict[bytes, bytes]]:
        """Of all streams, in the order of their numbers."""
        return [fields for _, fields in self.client.xrange(self.keys.events)]

    @invariant()
    def the_stream_is_one_run(self) -> None:
        """Each id once, in order; numbered without a hole that no marker declares; and the state says the same."""
        seq, cursor = 0, 0
        seen = 0
        for fields in self._entries():
            if fields[b"type"] == b"bridge.gap":
                declared = json.loads(fields[b"data"])
                assert (int(fields[b"seq"]), declared["from_seq"]) == (seq, seq + 1)
                seq = declared["to_seq"]
                continue
            seq, seen = seq + 1, seen + 1
            assert int(fields[b"seq"]) == seq
            assert int(fields[b"id"]) > cursor
            cursor = int(fields[b"id"])
        state = self.client.hgetall(self.keys.state)
        assert int(state.get(b"seq", 0)) == seq
        assert (state.get(b"cursor") or b"0") == b"%d" % cursor
        known = Window(5, self.client.lrange(self.keys.seen, 0, -1))
        assert len(known) >= min(5, seen)
        assert not cursor or known.get(str(cursor))


ROUTES: list[dict[str, str]] = [
    {},
    {"t1": "lens:{<name>}:one"},
    {"t1": "lens:{<name>}:one", "t[12]": "lens:{<name>}:two"},
    {"t1": "lens:{<name>}:events", "*": "lens:{<name>}:two"},
]
PARTS = ("events", "one", "two")
MAIN = "lens:{<name>}:events"


class RoutedMachine(CommitMachine):
    """The same with routes that change meanwhile, and a state that is lost while entries are there."""

    def _names(self) -> list[str]:
        routed = [f"lens:{{{self.session.name}}}:{part}" for part in PARTS[1:]]
        return [*super()._names(), *routed]

    @initialize(routes=st.sampled_from(ROUTES))
    def begin(self, routes: dict[str, str]) -> None:
        """Most begin with some."""
        self.allowed: dict[bytes, set[str]] = {}  # where each event may stand, by the routes that it was packed under
        self.reroute(routes)

    def _pack(self, worker: Worker, number: int) -> Packed:
        packed = super()._pack(worker, number)
        for record in packed.batch:
            template = next((key for glob, key in self.routes.items() if fnmatchcase(record.type, glob)), MAIN)
            self.allowed.setdefault(record.key.encode(), set()).add(template.replace("<name>", self.session.name))
        return packed

    @rule(routes=st.sampled_from(ROUTES), index=st.integers(0, 2), number=st.integers(1, 4))
    def restart(self, routes: dict[str, str], index: int, number: int) -> None:
        """A worker begins with other routes, as in a rolling update, and reads on."""
        self.reroute(routes)
        self.take_over(index=index)
        self.commit(index=index, number=number, lost_replies=0)

    @rule(routes=st.sampled_from(ROUTES))
    def reroute(self, routes: dict[str, str]) -> None:
        """A new configuration: from here on events go elsewhere, and what stands there stays."""
        self.routes = routes
        self._route(routes)

    def _streams(self) -> dict[str, list[dict[bytes, bytes]]]:
        keys = [f"lens:{{{self.session.name}}}:{part}" for part in PARTS]
        return {key: [fields for _, fields in self.client.xrange(key)] for key in keys}

    def _entries(self) -> list[dict[bytes, bytes]]:
        """Each event in one stream alone; a marker counts once."""
        seen: set[bytes] = set()
        entries = []
        for key, found in self._streams().items():
            assert all(one[b"type"] == b"bridge.gap" or key in self.allowed[one[b"id"]] for one in found)
            assert [int(one[b"seq"]) for one in found] == sorted(int(one[b"seq"]) for one in found)
            for one in found:
                if one[b"type"] == b"bridge.gap" and one[b"id"] in seen:
                    continue
                seen.add(one[b"id"])
                entries.append(one)
        return sorted(entries, key=lambda one: (int(one[b"seq"]), one[b"type"] == b"bridge.gap"))

    @invariant()
    def each_stream_that_is_written_to_has_every_marker_since(self) -> None:
        """The state says since when it is; and of every stream with entries it says that there is one."""
        state = self.client.hgetall(self.keys.state)
        routed = json.loads(state.get(b"routed", b"{}"))
        streams = self._streams()
        markers = {one[b"id"]: one for found in streams.values() for one in found if one[b"type"] == b"bridge.gap"}
        for key, found in streams.items():
            since = 0 if key == self.keys.events else routed.get(key)
            assert since is not None or not found, "nobody would find it again"
            there = {one[b"id"] for one in found}
            asked = {id for id, one in markers.items() if since not in (None, -1) and int(one[b"seq"]) > since}
            assert asked <= there, "a reader does not learn of a gap"

    @precondition(lambda self: self.client.hget(self.keys.state, "seq"))
    @rule(index=st.integers(0, 2), routes_told=st.booleans())
    def the_entries_tell_the_place(self, index: int, routes_told: bool) -> None:
        """Those of all streams: what a lost state would be set up from is the place that stands, and its window."""
        state = self.client.hgetall(self.keys.state)
        routed = state.get(b"routed", b"{}")
        if not routes_told and not {*json.loads(routed)} <= {*self.keys.streams}:
            return  # a route that was taken away is told by the state alone
        if not routes_told:
            self.client.hdel(self.keys.state, "routed")
        seed = self.loop.run(self.workers[index].leases.find_seed(self.keys, "lsn-1", 5))
        if not routes_told and b"routed" in state:
            self.client.hset(self.keys.state, "routed", routed)
        if seed is None:
            assert not self._entries()
            return
        assert (seed.place.cursor or "") == state[b"cursor"].decode()
        assert seed.place.seq == max(int(one[b"seq"]) for one in self._entries())
        window = Window(5, self.client.lrange(self.keys.seen, 0, -1))
        assert {*window._digests} <= {*Window(1000, seed.window)._digests}


def run_machine(url: str, machine: type[CommitMachine] = CommitMachine, examples: int = 120) -> None:
    """Hypothesis looks for an order of events that breaks it."""
    machine.url = url
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )


def test_no_order_of_takeovers_lost_replies_late_packets_refusals_and_rollbacks_breaks_the_stream(
    shared_redis_server: RedisServer,
) -> None:
    """Hypothesis looks for one that does."""
    run_machine(shared_redis_server.url)


def test_nor_does_any_where_events_are_routed_and_the_routes_change(shared_redis_server: RedisServer) -> None:
    """One run of numbers over all streams, rising in each, whatever the configuration was when."""
    run_machine(shared_redis_server.url, RoutedMachine, examples=60)
