"""Commits of a session whose events are routed by type: one step over several streams, or none."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic import SecretStr
from redis.asyncio import Redis

from bridge.delivery.window import Seal, Window, digest_of
from bridge.errors import SinkFault
from bridge.lab.redis_server import RedisServer
from bridge.masking import Secrets
from bridge.model.keys import session_keys
from bridge.model.labels import DeadLetterReason, Phase
from bridge.model.outcomes import AlreadyCommitted, CommitResult, Committed, HeldBy
from bridge.model.place import START, Lease, Place, Session
from bridge.model.records import DeadLetter, Piece, Record, Run
from bridge.settings import EntryFormat, RedisSettings, StreamSettings
from bridge.store.commits import RedisSink
from bridge.store.leases import Leases
from bridge.store.link import RedisLink
from bridge.verify.attributes import attribute_faults

SESSION = Session(name="line-1", session_id="lsn-1")
ROUTES = {"log.*": "lens:{<name>}:logs", "inference.*": "lens:{<name>}:results", "log": "lens:{<name>}:events"}
KEYS = session_keys("lens:{<name>}:events", SESSION, ROUTES)
PLAIN = session_keys("lens:{<name>}:events", SESSION)
MAIN, LOGS, RESULTS = KEYS.streams
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def event(number: int, type: str = "t", **changes: Any) -> Record:
    """The n-th event."""
    made = Record(f"e{number}", type, b"{}", 1.0, "message", digest_of(b"%d" % number), f"e{number}", 0)
    return made._replace(**changes)


def run(first: int, *types: str) -> Run:
    """Plain events of one chunk."""
    keys = [f"e{first + at}" for at in range(len(types))]
    return Run.of(keys, types, [b"{}"] * len(types), [digest_of(key.encode()) for key in keys], 1.0)


def gap(skip: int = 0) -> Record:
    """A marker."""
    return event(0, "bridge.gap", key="bridge-gap-1", digest=b"", skip=skip)


class Writer:
    """One worker's end of the commits."""

    def __init__(self, link: RedisLink) -> None:
        self.link = link
        self.keys = KEYS
        self.settings = StreamSettings()
        self.leases = Leases(link, "w", 30)
        self.place: Place = START
        self.token = ""

    async def take(self) -> None:
        lease = await self.leases.acquire(self.keys)
        if isinstance(lease, HeldBy):
            lease = await self.leases.acquire(self.keys, overdue=lease.beat)
        assert isinstance(lease, Lease)
        self.token, self.place = lease.token, lease.place

    @property
    def sink(self) -> RedisSink:
        return RedisSink(self.link, self.keys, SESSION, self.settings)

    def pack(self, *batch: Piece) -> tuple[bytes, Place]:
        commits = self.place.commits + 1
        cursor, ordinal = batch[-1].end
        after = Place(cursor, ordinal, 0, commits, f"m{commits}")
        seal = Window(100).seal([one for one in batch if isinstance(one, Run) or one.digest])
        return self.sink.pack(self.token, self.place, after, batch, Seal(seal.blob), Phase.ACTIVE), after

    async def commit(self, *batch: Piece) -> CommitResult:
        packed, after = self.pack(*batch)
        result = await self.sink.commit(packed)
        if isinstance(result, Committed):
            self.place = after._replace(seq=result.seq)
        return result


@pytest.fixture
async def writer(redis_server: RedisServer, redis: Redis) -> AsyncIterator[Writer]:
    """One that holds the lease."""
    link = RedisLink(RedisSettings(url=SecretStr(redis_server.url)), Secrets())
    made = Writer(link)
    await made.take()
    yield made
    await link.aclose()


async def numbers(redis: Redis) -> dict[str, list[int]]:
    """What stands in each stream, by number."""
    found: dict[str, Any] = {key: await redis.xrange(key) for key in KEYS.streams}
    return {key: [int(fields[b"seq"]) for _, fields in entries] for key, entries in found.items()}


async def everything(redis: Redis) -> dict[str, Any]:
    """All that a commit may touch."""
    streams = (*KEYS.streams, KEYS.dead_letter)
    found: dict[str, Any] = {key: await redis.xrange(key) for key in streams}
    return found | {"seen": await redis.lrange(KEYS.seen, 0, -1), "state": await redis.hgetall(KEYS.state)}


async def entries_of(redis: Redis, key: str) -> list[Any]:
    """What stands in one stream."""
    found: Any = await redis.xrange(key)
    return list(found)


async def test_each_event_stands_in_the_stream_of_its_type_under_the_next_number(writer: Writer, redis: Redis) -> None:
    """Whether it came by itself, under a name, or in a run of one type or several."""
    batch = (
        event(1, "log.info"),
        run(2, "t", "log.info", "inference.result", "log.info"),
        event(6, "inference.result", event="custom"),
        run(7, "log.a", "log.a"),
        event(9, "log"),
    )
    assert await writer.commit(*batch) == Committed(seq=9, length=9)
    assert await numbers(redis) == {MAIN: [2, 9], LOGS: [1, 3, 5, 7, 8], RESULTS: [4, 6]}
    entries: Any = await redis.xrange(RESULTS)
    assert [fields[b"id"] for _, fields in entries] == [b"e4", b"e6"]
    assert entries[1][1][b"event"] == b"custom"


async def test_the_first_glob_that_fits_counts_and_may_lead_back_to_the_first_stream(
    writer: Writer, redis: Redis
) -> None:
    """An exception from what follows it."""
    writer.keys = session_keys(
        "lens:{<name>}:events", SESSION, {"log.info": "lens:{<name>}:events", "log.*": "lens:{<name>}:logs"}
    )
    await writer.commit(run(1, "log.info", "log.warn", "LOG.warn"))
    assert await numbers(redis) == {MAIN: [1, 3], LOGS: [2], RESULTS: []}


async def test_a_marker_stands_in_every_stream_with_one_id_and_number(writer: Writer, redis: Redis) -> None:
    """Each reader has to learn of the gap; the numbers that it skips are skipped once."""
    await writer.commit(event(1, "log.info"))
    assert await writer.commit(gap(skip=3), event(5, "inference.result")) == Committed(seq=5, length=5)
    assert await numbers(redis) == {MAIN: [1], LOGS: [1, 1], RESULTS: [1, 5]}
    ids = set()
    for key in KEYS.streams:
        entries: Any = await redis.xrange(key)
        ids |= {fields[b"id"] for _, fields in entries if fields[b"type"] == b"bridge.gap"}
    assert ids == {b"bridge-gap-1"}


async def test_the_state_tells_which_streams_hold_entries_and_since_when(writer: Writer, redis: Redis) -> None:
    """So whoever reads them back finds them without a configuration, and after a route was taken away."""

    async def told() -> tuple[list[str], dict[str, int]]:
        told: Any = await redis.hmget(KEYS.state, "streams", "routed")
        streams, routed = told
        return streams.decode().split("\n"), json.loads(routed)

    await writer.commit(event(1))
    assert await told() == ([MAIN, LOGS, RESULTS], {LOGS: 0, RESULTS: 0})
    writer.keys = session_keys("lens:{<name>}:events", SESSION, {"log.*": "lens:{<name>}:logs"})
    await writer.commit(event(2))
    assert await told() == ([MAIN, LOGS], {LOGS: 0, RESULTS: -1})
    writer.keys = PLAIN
    await writer.commit(event(3))
    assert await told() == ([MAIN], {LOGS: -1, RESULTS: -1})
    writer.keys = KEYS
    await writer.commit(event(4))
    assert await told() == ([MAIN, LOGS, RESULTS], {LOGS: 3, RESULTS: 3})
    writer.keys = session_keys("lens:{<name>}:new", SESSION, {"log.*": "lens:{<name>}:logs"})
    await writer.commit(event(5))
    assert await told() == (["lens:{line-1}:new", LOGS], {LOGS: 3, RESULTS: -1, MAIN: -1})


async def test_without_routes_the_bytes_and_the_state_are_what_they_were(writer: Writer, redis: Redis) -> None:
    """Nothing is said of streams, and nothing is asked."""
    writer.keys = PLAIN
    packed, _ = writer.pack(run(1, "log.info", "t"))
    assert b"\r\nk\r\n" not in packed
    assert packed.startswith(b"*%d\r\n" % (3 + 4 + 16 + 4 + 6))
    await writer.commit(run(1, "log.info", "t"))
    assert not {b"streams", b"routed"} & {*await redis.hgetall(KEYS.state)}


async def test_a_batch_without_a_routed_event_says_nothing_of_streams(writer: Writer) -> None:
    """All goes to the first."""
    packed, _ = writer.pack(run(1, "t", "t"), event(3))
    assert b"\r\nk\r\n" not in packed


@pytest.mark.parametrize("key", [MAIN, LOGS, RESULTS])
async def test_a_stream_of_another_type_leaves_everything_untouched(writer: Writer, redis: Redis, key: str) -> None:
    """Each is looked at before the first write, whether or not this commit writes to it."""
    await redis.set(key, "somebody else's")
    with pytest.raises(SinkFault, match=f"{key} is a string, not a stream") as caught:
        await writer.commit(run(1, "t", "log.info"))
    assert caught.value.kind == "wrong_type"
    for other in {*KEYS.streams, KEYS.seen} - {key}:
        assert not await redis.exists(other)
    await redis.delete(key)
    assert await writer.commit(run(1, "t", "log.info")) == Committed(seq=2, length=2)


@pytest.mark.parametrize("full", [LOGS, RESULTS])
async def test_a_refusal_in_mid_batch_is_undone_in_every_stream(writer: Writer, redis: Redis, full: str) -> None:
    """One of them is at the end of its ids: what went to the others before is taken back, letters too."""
    await writer.commit(event(1), event(2, "log.info"), event(3, "inference.result"))
    last = 2**64 - 1
    await redis.xadd(full, {"id": "0", "seq": "3"}, id=f"{last}-{last - 1}")
    before = await everything(redis)
    letter = event(4, "", dead=DeadLetter(DeadLetterReason.INVALID_JSON, "why", truncated=False))
    batch = (letter, gap(), run(5, *("t", "log.info", "inference.result") * 5))
    for _ in range(2):
        with pytest.raises(SinkFault, match="exhausted"):
            await writer.commit(*batch)
        assert await everything(redis) == before
    await redis.delete(full)
    result = await writer.commit(*batch)
    assert isinstance(result, Committed)
    assert result.seq == 18


async def test_a_full_redis_takes_nothing_and_later_all(writer: Writer, redis: Redis) -> None:
    """OOM refuses a script whole."""
    before = await everything(redis)
    await redis.config_set("maxmemory", "1")
    try:
        with pytest.raises(SinkFault) as caught:
            await writer.commit(run(1, "t", "log.info"))
    finally:
        await redis.config_set("maxmemory", "0")
    assert caught.value.kind == "out_of_memory"
    assert await everything(redis) == before
    assert await writer.commit(run(1, "t", "log.info")) == Committed(seq=2, length=2)


async def test_the_same_bytes_again_are_told_to_have_landed(writer: Writer, redis: Redis) -> None:
    """With the length of all streams."""
    packed, _ = writer.pack(run(1, "t", "log.info", "log.info"))
    assert await writer.sink.commit(packed) == Committed(seq=3, length=3)
    assert await writer.sink.commit(packed) == AlreadyCommitted(seq=3, length=3, mark="m1")


@pytest.mark.parametrize("keep_unread", [False, True])
async def test_limits_hold_for_each_stream(writer: Writer, redis: Redis, keep_unread: bool) -> None:
    """A busy type does not push out a rare one."""
    writer.settings = StreamSettings(max_length=100, keep_unread=keep_unread)
    await writer.commit(event(1, "log.info"))
    for first in range(2, 1002, 500):
        result = await writer.commit(run(first, *["t", "inference.result"] * 250))
    found = await numbers(redis)
    assert found[LOGS] == [1]
    assert 100 <= len(found[MAIN]) < 300
    assert 100 <= len(found[RESULTS]) < 300
    assert isinstance(result, Committed)
    assert result.length == sum(map(len, found.values()))


async def test_unread_entries_are_kept_in_the_stream_whose_group_is_behind(writer: Writer, redis: Redis) -> None:
    """The groups of one say nothing of another."""
    await redis.xgroup_create(RESULTS, "slow", id="0", mkstream=True)
    writer.settings = StreamSettings(max_length=100, keep_unread=True)
    for first in range(1, 1001, 500):
        await writer.commit(run(first, *["t", "inference.result"] * 250))
    found = await numbers(redis)
    assert len(found[RESULTS]) == 500
    assert len(found[MAIN]) < 300
    writer.settings = StreamSettings(max_length=100, keep_unread=True, hard_max_length=200)
    result = await writer.commit(run(1001, *["t", "inference.result"] * 250))
    assert isinstance(result, Committed)
    assert result.unread_trimmed > 0
    assert len((await numbers(redis))[RESULTS]) < 400


async def test_a_letter_that_is_published_goes_to_the_stream_that_is_asked_for(writer: Writer, redis: Redis) -> None:
    """Where it is one of the session's; else to the first."""
    for number in range(1, 4):
        letter = event(number, "", dead=DeadLetter(DeadLetterReason.REJECTED, "why", truncated=False))
        await writer.commit(letter)
    letters: Any = await redis.xrange(KEYS.dead_letter)
    places = ((LOGS, "log.info"), ("lens:{line-1}:foreign", "t"), (None, "t"))
    asked = [
        [id.decode(), fields[b"id"].decode(), type, *([key] if key else [])]
        for (id, fields), (key, type) in zip(letters, places, strict=True)
    ]
    await redis.hset(KEYS.state, "replay", json.dumps(asked))
    place = writer.place
    result = await writer.sink.commit(writer.sink.pack_replay(writer.token, place, "m", Phase.ACTIVE))
    assert result == Committed(seq=3, length=3)
    assert await numbers(redis) == {MAIN: [2, 3], LOGS: [1], RESULTS: []}
    assert not await redis.exists("lens:{line-1}:foreign")


@pytest.mark.parametrize("keep_unread", [False, True])
async def test_routed_entries_bear_attributes_and_a_trace_context_as_others_do(
    writer: Writer, redis: Redis, keep_unread: bool
) -> None:
    """Of every kind of record in one commit, and a letter that is published behind it; what is plain stays plain."""
    writer.settings = StreamSettings(format=EntryFormat.CLOUDEVENTS, keep_unread=keep_unread, max_length=1000)
    sink = RedisSink(writer.link, KEYS, SESSION, writer.settings, traced=True)
    broken = event(9, "", dead=DeadLetter(DeadLetterReason.REJECTED, "why", truncated=False))
    batch: list[Piece] = [
        run(1, "t", "log.info", "inference.result"),
        run(4, "log.a", "log.a"),
        gap(skip=2),
        event(6, "log.info", event="custom"),
        broken,
        event(0, "", key="", digest=b"", skip=0),  # filtered out
        event(7, "inference.result"),
    ]
    after = Place("e7", 0, 0, 1, "m1")
    seal = Window(100).seal([one for one in batch if isinstance(one, Run) or one.digest])
    packed = sink.pack(writer.token, writer.place, after, batch, Seal(seal.blob), Phase.ACTIVE, TRACEPARENT)
    assert await sink.commit(packed) == Committed(seq=9, length=10)
    assert await sink.commit(packed) == AlreadyCommitted(seq=9, length=10, mark="m1")
    assert await numbers(redis) == {MAIN: [1, 5], LOGS: [2, 4, 5, 5, 8], RESULTS: [3, 5, 9]}

    ((entry_id, letter),) = await entries_of(redis, KEYS.dead_letter)
    assert not [name for name in letter if name.startswith((b"ce_", b"trace"))]
    await redis.hset(KEYS.state, "replay", json.dumps([[entry_id.decode(), "e9", "log.late", LOGS]]))
    replay = sink.pack_replay(writer.token, after._replace(seq=9), "m2", Phase.ACTIVE, TRACEPARENT)
    assert await sink.commit(replay) == Committed(seq=10, length=11)

    for key in KEYS.streams:
        for _, entry in await entries_of(redis, key):
            assert not list(attribute_faults(entry))
            assert entry[b"ce_sequence"].decode() == f"{int(entry[b'seq']):016}"
            assert entry[b"traceparent"] == entry[b"ce_traceparent"] == TRACEPARENT.encode()
    _, last = (await entries_of(redis, LOGS))[-1]
    assert (last[b"seq"], last[b"type"], last[b"dead_letter"]) == (b"10", b"log.late", entry_id)


async def test_a_refusal_of_routed_cloudevents_is_undone_in_every_stream(writer: Writer, redis: Redis) -> None:
    """As of plain ones."""
    writer.settings = StreamSettings(format=EntryFormat.CLOUDEVENTS, keep_unread=True, max_length=1000)
    await redis.xadd(LOGS, {"x": "y"}, id="18446744073709551615-18446744073709551615")
    before = await everything(redis)
    with pytest.raises(SinkFault):
        await writer.commit(event(1), event(2, "inference.result"), gap(), event(3, "log.info"))
    assert await everything(redis) == before
    assert await writer.commit(event(1), event(2, "inference.result")) == Committed(seq=2, length=3)
