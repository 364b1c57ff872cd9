"""Commits as Redis stores them: every field, every refusal, and that a refused one leaves nothing behind."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
from pydantic import SecretStr
from redis.asyncio import Redis

from bridge.delivery.window import Seal, Window, digest_of
from bridge.errors import SinkFault
from bridge.lab.redis_server import RedisServer
from bridge.masking import Secrets
from bridge.model.keys import SessionKeys, session_keys
from bridge.model.labels import DeadLetterReason, Phase
from bridge.model.outcomes import AlreadyCommitted, CommitResult, Committed, Fenced, HeldBy, Lost, RolledBack
from bridge.model.place import START, Lease, Place, Session
from bridge.model.records import DeadLetter, Record
from bridge.settings import RedisSettings, StreamSettings
from bridge.store.commits import RedisSink
from bridge.store.leases import Leases
from bridge.store.link import RedisLink

SESSION = Session(name="line-1", session_id="lsn-1")
KEYS = session_keys("lens:{<name>}:events", SESSION)
ALL = (KEYS.events, KEYS.state, KEYS.seen, KEYS.dead_letter)


def event(number: int, data: bytes = b'{"type":"t"}', **changes: Any) -> Record:
    """The n-th event."""
    made = Record(f"e{number}", "t", data, 1741843200.1234, "message", digest_of(b"%d" % number), f"e{number}", 0)
    return made._replace(**changes)


def letter(number: int, data: bytes = b"not json", *, truncated: bool = False) -> Record:
    """The n-th event, broken."""
    return event(number, data, type="", dead=DeadLetter(DeadLetterReason.INVALID_JSON, "at byte 0", truncated))


@dataclass
class Writer:
    """One worker's end of the commits, as a committer holds it."""

    link: RedisLink
    settings: StreamSettings = field(default_factory=StreamSettings)
    keys: SessionKeys = KEYS
    lease: Lease | None = None
    place: Place = START
    window: Window = field(default_factory=lambda: Window(100))

    async def take(self) -> None:
        """Take the lease, from another one where it must be."""
        leases = Leases(self.link, "w", 30)
        lease = await leases.acquire(self.keys)
        if isinstance(lease, HeldBy):
            lease = await leases.acquire(self.keys, overdue=lease.beat)
        assert isinstance(lease, Lease)
        self.lease, self.place = lease, lease.place

    def pack(self, batch: list[Record], phase: Phase = Phase.ACTIVE) -> bytes:
        """The next commit as bytes."""
        assert self.lease
        for record in batch:
            self.window.remember(record.key, record.digest)
        return self.sink.pack(self.lease.token, self.place, self._after(batch), batch, self.seal(batch), phase)

    async def commit(self, *batch: Record, phase: Phase = Phase.ACTIVE) -> CommitResult:
        """Send it, and go on from there if it landed."""
        result = await self.sink.commit(self.pack([*batch], phase))
        if isinstance(result, Committed | AlreadyCommitted):
            self.window.committed(self.seal([*batch]))
            self.place = self._after([*batch])._replace(seq=result.seq)
        return result

    def seal(self, batch: list[Record]) -> Seal:
        """The window's part."""
        return self.window.seal(batch)

    @property
    def sink(self) -> RedisSink:
        """The real one."""
        return RedisSink(self.link, self.keys, SESSION, self.settings)

    def _after(self, batch: list[Record]) -> Place:
        commits = self.place.commits + 1
        after = self.place._replace(commits=commits, mark=f"m{commits}")
        return after._replace(cursor=batch[-1].cursor, ordinal=batch[-1].ordinal) if batch else after


def link_to(url: str, **settings: Any) -> RedisLink:
    """A link without secrets."""
    return RedisLink(RedisSettings(url=SecretStr(url), **settings), Secrets())


@pytest.fixture
async def link(redis_server: RedisServer) -> AsyncIterator[RedisLink]:
    """A link to the shared Redis."""
    made = link_to(redis_server.url)
    yield made
    await made.aclose()


@pytest.fixture
async def writer(link: RedisLink) -> Writer:
    """A writer that holds the lease."""
    made = Writer(link)
    await made.take()
    return made


async def snapshot(redis: Redis) -> dict[str, Any]:
    """All that a commit may touch."""
    return {
        "entries": await redis.xrange(KEYS.events),
        "letters": await redis.xrange(KEYS.dead_letter),
        "seen": await redis.lrange(KEYS.seen, 0, -1),
        "state": await redis.hgetall(KEYS.state),
    }


async def entries(redis: Redis, key: str = KEYS.events) -> list[dict[bytes, bytes]]:
    """The fields of what is in a stream."""
    found: Any = await redis.xrange(key)
    return [fields for _, fields in found]


async def ids(redis: Redis, key: str = KEYS.events) -> list[bytes]:
    """The ids of the events in a stream."""
    return [fields[b"id"] for fields in await entries(redis, key)]


async def seqs(redis: Redis) -> list[int]:
    """The numbers of the entries."""
    return [int(fields[b"seq"]) for fields in await entries(redis)]


async def end_of_ids(redis: Redis, key: str, left: int) -> None:
    """Let a stream have only so many entry ids left."""
    last = 2**64 - 1
    run: Any = redis.execute_command
    await run("XSETID", key, f"{last}-{last - left}")


# What is written


async def test_an_entry_has_exactly_the_promised_fields(writer: Writer, redis: Redis) -> None:
    """In this order; `event` only where it is not `message`; data byte for byte."""
    raw = b'{"type":"t", "x":"\xc3\xa9\xff\x00"}\r\n'
    assert await writer.commit(event(1, raw), event(2, event="custom")) == Committed(seq=2, length=2)
    first, second = await entries(redis)
    assert list(first.items()) == [
        (b"id", b"e1"),
        (b"session_id", b"lsn-1"),
        (b"name", b"line-1"),
        (b"seq", b"1"),
        (b"type", b"t"),
        (b"data", raw),
        (b"received_at", b"1741843200.123"),
    ]
    assert (second[b"seq"], second[b"event"]) == (b"2", b"custom")


async def test_the_place_stands_beside_the_entries(writer: Writer, redis: Redis) -> None:
    """Cursor, ordinal, seq, commits, mark, phase: all of the same commit."""
    assert writer.lease
    await writer.commit(event(1), event(2, key="e1#3-00", cursor="e1", ordinal=3), phase=Phase.ENDED)
    state: Any = await redis.hgetall(KEYS.state)
    assert float(state.pop(b"updated_at")) > 0
    assert state.pop(b"owner").startswith(b"w/")
    assert (state.pop(b"renewals"), state.pop(b"lease_ms")) == (b"0", b"30000")
    assert state == {
        b"cursor": b"e1",
        b"ordinal": b"3",
        b"seq": b"2",
        b"commits": b"1",
        b"mark": b"m1",
        b"taken": b"0",
        b"phase": b"ended",
        b"token": writer.lease.token.encode(),
    }


async def test_a_dead_letter_has_the_fields_that_are_known(writer: Writer, redis: Redis) -> None:
    """It takes no seq and no entry; the cursor moves past it, and the window remembers it."""
    assert await writer.commit(letter(1, b"\xffbroken")) == Committed(seq=0, length=0)
    [fields] = await entries(redis, KEYS.dead_letter)
    assert fields == {
        b"id": b"e1",
        b"session_id": b"lsn-1",
        b"name": b"line-1",
        b"type": b"",
        b"data": b"\xffbroken",
        b"received_at": b"1741843200.123",
        b"event": b"message",
        b"reason": b"invalid_json",
        b"detail": b"at byte 0",
        b"truncated": b"0",
    }
    assert await redis.hget(KEYS.state, "cursor") == b"e1"
    blobs: Any = await redis.lrange(KEYS.seen, 0, -1)
    assert Window(10, blobs).get("e1") == digest_of(b"1")
    assert not await redis.exists(KEYS.events)


async def test_a_dead_letter_that_was_cut_says_so(writer: Writer, redis: Redis) -> None:
    """Whoever looks into it must know that it is not all."""
    await writer.commit(letter(1, truncated=True))
    [fields] = await entries(redis, KEYS.dead_letter)
    assert fields[b"truncated"] == b"1"


async def test_letters_between_entries_leave_no_hole_in_seq(writer: Writer, redis: Redis) -> None:
    """Only entries are counted."""
    await writer.commit(event(1), letter(2), event(3), letter(4))
    assert await seqs(redis) == [1, 2]
    assert await ids(redis, KEYS.dead_letter) == [b"e2", b"e4"]


async def test_a_marker_is_an_entry_that_the_window_does_not_know(writer: Writer, redis: Redis) -> None:
    """It has a seq like any other."""
    marker = event(1, b'{"reason":"no_cursor"}', key="bridge-gap-1", type="bridge.gap", digest=b"", cursor=None)
    await writer.commit(marker)
    [fields] = await entries(redis)
    assert (fields[b"id"], fields[b"type"], fields[b"seq"]) == (b"bridge-gap-1", b"bridge.gap", b"1")
    assert not await redis.exists(KEYS.seen)
    assert await redis.hget(KEYS.state, "cursor") == b""


async def test_text_that_utf8_cannot_hold_does_not_stop_the_stream(writer: Writer, redis: Redis) -> None:
    """JSON may name half of a surrogate pair."""
    await writer.commit(event(1, type="half \ud83d", event="e\ud83d", cursor="c\ud83d"))
    [fields] = await entries(redis)
    assert (fields[b"type"], fields[b"event"]) == (b"half ?", b"e?")


async def test_a_batch_of_the_largest_size_is_one_commit(writer: Writer, redis: Redis) -> None:
    """Lua's own limits are not met, with the longest form of each record."""
    batch = [event(number, event="custom") for number in range(1, 1501)]
    assert await writer.commit(*batch) == Committed(seq=1500, length=1500)
    assert await redis.xlen(KEYS.events) == 1500


# Trimming


async def test_the_stream_is_trimmed_to_about_max_length(link: RedisLink, redis: Redis) -> None:
    """Redis trims whole nodes of a hundred; seq and the place go on."""
    writer = Writer(link, StreamSettings(max_length=100))
    await writer.take()
    result = await writer.commit(*(event(number) for number in range(1, 1001)))
    assert isinstance(result, Committed)
    assert result.seq == 1000
    assert 100 <= result.length == await redis.xlen(KEYS.events) < 300
    assert (await ids(redis))[-1] == b"e1000"


async def test_old_entries_are_trimmed_by_age(link: RedisLink, redis: Redis) -> None:
    """By the time in their entry ids."""
    for number in range(1, 301):
        await redis.xadd(KEYS.events, {"id": f"old{number}"}, id=f"{number}-0")
    writer = Writer(link, StreamSettings(max_age_seconds=60))
    await writer.take()
    await writer.commit(event(1))
    left = await ids(redis)
    assert len(left) < 102
    assert left[-1] == b"e1"


async def test_without_limits_nothing_is_trimmed(writer: Writer, redis: Redis) -> None:
    """Unread entries are the consumers'."""
    for number in range(1, 301):
        await redis.xadd(KEYS.events, {"id": f"old{number}"}, id=f"{number}-0")
    await writer.commit(event(1))
    assert await redis.xlen(KEYS.events) == 301


async def test_dead_letters_are_capped(link: RedisLink, redis: Redis) -> None:
    """A source that sends nothing else must not fill Redis."""
    writer = Writer(link, StreamSettings(max_dead_letters=100))
    await writer.take()
    await writer.commit(*(letter(number) for number in range(1, 1001)))
    assert 100 <= await redis.xlen(KEYS.dead_letter) < 300


async def test_the_window_in_redis_is_the_one_in_memory(link: RedisLink, redis: Redis) -> None:
    """Blobs that fell out of it are dropped in the same commit."""
    writer = Writer(link, window=Window(5))
    await writer.take()
    for number in range(1, 21):
        await writer.commit(event(number))
    stored = await redis.lrange(KEYS.seen, 0, -1)
    assert stored == list(writer.window.blobs())
    assert len(stored) == 5


# Who may write


async def test_the_same_bytes_again_are_told_to_have_landed(writer: Writer, redis: Redis) -> None:
    """The reply was lost; nothing is written twice."""
    packed = writer.pack([event(1), letter(2)])
    assert await writer.sink.commit(packed) == Committed(seq=1, length=1)
    before = await snapshot(redis)
    assert await writer.sink.commit(packed) == AlreadyCommitted(seq=1, length=1, mark="m1")
    assert await snapshot(redis) == before


async def test_an_older_token_is_fenced(writer: Writer, link: RedisLink, redis: Redis) -> None:
    """Whatever its holder believes."""
    other = Writer(link)
    await other.take()
    before = await snapshot(redis)
    assert await writer.commit(event(1)) == Fenced(commits=0)
    assert await snapshot(redis) == before


async def test_fewer_commits_than_acknowledged_are_a_rollback(writer: Writer, redis: Redis) -> None:
    """With how many there are."""
    for number in range(1, 4):
        await writer.commit(event(number))
    await redis.hset(KEYS.state, "commits", 1)
    assert await writer.commit(event(4)) == RolledBack(commits=1)
    assert await redis.xlen(KEYS.events) == 3


async def test_an_emptied_redis_is_told_from_a_fence(writer: Writer, redis: Redis) -> None:
    """Lost, where this worker had committed before; fenced, where it had only taken the lease."""
    first = writer.pack([event(1)])
    await writer.commit(event(1))
    await redis.flushall()
    assert await writer.commit(event(2)) == Lost()
    assert await writer.sink.commit(first) == Fenced(commits=0)
    assert await redis.keys() == []


# What Redis refuses

Break = Callable[[Redis], Awaitable[Any]]


@pytest.mark.parametrize("key", [KEYS.events, KEYS.seen, KEYS.dead_letter, KEYS.state])
async def test_a_key_of_another_type_leaves_everything_untouched(writer: Writer, redis: Redis, key: str) -> None:
    """It is looked at before the first write; and it goes on once the key is free again."""
    kept = await redis.dump(key) if key == KEYS.state else None
    await redis.delete(key)
    await redis.set(key, "somebody else's")
    with pytest.raises(SinkFault) as caught:
        await writer.commit(event(1), letter(2))
    assert caught.value.kind == "wrong_type"
    for other in {*ALL} - {key, KEYS.state}:
        assert not await redis.exists(other)
    assert await redis.get(key) == b"somebody else's"
    await redis.delete(key)
    if kept:
        await redis.restore(key, 0, kept)
    assert await writer.commit(event(1), letter(2)) == Committed(seq=1, length=1)


@pytest.mark.parametrize(
    ("key", "wanted"), [(KEYS.events, "stream"), (KEYS.dead_letter, "stream"), (KEYS.seen, "list")]
)
async def test_a_wrong_type_names_the_key(writer: Writer, redis: Redis, key: str, wanted: str) -> None:
    """So that one knows where to look."""
    await redis.set(key, "x")
    with pytest.raises(SinkFault, match=rf"{re.escape(key)} is a string, not a {wanted}"):
        await writer.commit(event(1))


async def test_a_refusal_in_mid_batch_leaves_nothing_behind_and_no_hole(writer: Writer, redis: Redis) -> None:
    """A stream near its last possible id takes five entries of twenty: they are undone, and nothing has moved."""
    await writer.commit(event(1), letter(2))
    await end_of_ids(redis, KEYS.events, 5)
    before = await snapshot(redis)
    batch = [event(number) for number in range(3, 23)]
    for _ in range(2):
        with pytest.raises(SinkFault, match="exhausted"):
            await writer.commit(letter(100), *batch)
        assert await snapshot(redis) == before
    await redis.delete(KEYS.events)
    assert await writer.commit(letter(100), *batch) == Committed(seq=21, length=20)
    assert await seqs(redis) == list(range(2, 22))


async def test_a_dead_letter_stream_that_is_full_undoes_the_entries_too(writer: Writer, redis: Redis) -> None:
    """The refusal may come from either stream."""
    await writer.commit(event(1), letter(2))
    await end_of_ids(redis, KEYS.dead_letter, 0)
    before = await snapshot(redis)
    with pytest.raises(SinkFault, match="exhausted"):
        await writer.commit(event(3), letter(4))
    assert await snapshot(redis) == before


async def test_a_full_redis_takes_nothing_and_later_all(redis: Redis, writer: Writer) -> None:
    """OOM refuses a script whole."""
    before = await snapshot(redis)
    await redis.config_set("maxmemory", "1")
    try:
        with pytest.raises(SinkFault) as caught:
            await writer.commit(event(1))
    finally:
        await redis.config_set("maxmemory", "0")
    assert caught.value.kind == "out_of_memory"
    assert await snapshot(redis) == before
    assert await writer.commit(event(1)) == Committed(seq=1, length=1)


async def test_a_replica_takes_nothing(writer: Writer, redis: Redis) -> None:
    """As after a failover that the address did not follow."""
    before = await snapshot(redis)
    await redis.replicaof("127.0.0.1", "1")
    try:
        with pytest.raises(SinkFault) as caught:
            await writer.commit(event(1))
        assert caught.value.kind == "read_only"
        assert await snapshot(redis) == before
    finally:
        await redis.replicaof("NO", "ONE")
    assert await writer.commit(event(1)) == Committed(seq=1, length=1)


async def test_too_few_replicas_take_nothing(writer: Writer, redis: Redis) -> None:
    """min-replicas-to-write refuses a script whole."""
    await redis.config_set("min-replicas-to-write", "1")
    try:
        with pytest.raises(SinkFault) as caught:
            await writer.commit(event(1))
    finally:
        await redis.config_set("min-replicas-to-write", "0")
    assert caught.value.kind == "no_replicas"
    assert await writer.commit(event(1)) == Committed(seq=1, length=1)


@pytest.mark.parametrize(
    "command", ["XADD", "HSET", "RPUSH", "LTRIM", "XTRIM", "HMGET", "TYPE", "XLEN", "XDEL", "RPOP", "EVALSHA"]
)
async def test_a_user_without_one_command_never_writes_half_a_commit(
    redis_server: RedisServer, redis: Redis, command: str
) -> None:
    """Each try is refused whole or lands whole; once the right is granted, every event is there once."""
    await redis.acl_setuser("app", enabled=True, passwords=["+secret"], keys=["*"], commands=["+@all"])
    link = link_to(redis_server.url, username="app", password=SecretStr("secret"))
    try:
        writer = Writer(link, StreamSettings(max_length=1000, max_age_seconds=3600), window=Window(2))
        await writer.take()
        await writer.commit(event(1), letter(2), event(3))
        await redis.acl_setuser("app", enabled=True, commands=[f"-{command.lower()}"])
        batch, kinds = [event(4), letter(5), event(6)], set()
        for _ in range(2):
            before = await snapshot(redis)
            try:
                await writer.sink.commit(writer.pack(batch))
            except SinkFault as fault:
                kinds.add(fault.kind)
            after = await snapshot(redis)
            assert after == before or len(after["entries"]) == 4
        assert kinds <= {"no_permission"}
        await redis.acl_setuser("app", enabled=True, commands=[f"+{command.lower()}"])
        assert isinstance(await writer.commit(*batch), Committed | AlreadyCommitted)
        assert await ids(redis) == [b"e1", b"e3", b"e4", b"e6"]
        assert await ids(redis, KEYS.dead_letter) == [b"e2", b"e5"]
        assert await seqs(redis) == [1, 2, 3, 4]
    finally:
        await link.aclose()
        await redis.acl_deluser("app")


@pytest.mark.parametrize("command", ["XADD", "HSET", "RPUSH", "HMGET", "XLEN"])
async def test_a_missing_permission_is_told_as_that(redis_server: RedisServer, redis: Redis, command: str) -> None:
    """With the command's name, so that it can be granted."""
    await redis.acl_setuser("app", enabled=True, passwords=["+secret"], keys=["*"], commands=["+@all"])
    link = link_to(redis_server.url, username="app", password=SecretStr("secret"))
    try:
        writer = Writer(link)
        await writer.take()
        await redis.acl_setuser("app", enabled=True, commands=[f"-{command.lower()}"])
        with pytest.raises(SinkFault) as caught:
            await writer.commit(event(1))
        assert caught.value.kind == "no_permission"
        assert command.lower() in caught.value.detail.lower()
    finally:
        await link.aclose()
        await redis.acl_deluser("app")


@pytest.mark.parametrize("size", [1024 * 1024 + 1, 8 * 1024 * 1024])
async def test_an_event_over_the_servers_bulk_limit_is_known_as_too_large(size: int) -> None:
    """Not as a broken connection, which would be tried for ever: the server hangs up with most of it unread."""
    async with RedisServer(arguments=["--proto-max-bulk-len", "1mb"]) as server:
        link = link_to(server.url)
        writer = Writer(link)
        await writer.take()
        for _ in range(3):
            with pytest.raises(SinkFault) as caught:
                await writer.commit(event(1, b"x" * size))
            assert caught.value.kind == "too_large"
        assert await writer.commit(event(1)) == Committed(seq=1, length=1)
        await link.aclose()


async def test_an_answer_that_no_script_of_ours_gives_is_a_fault(writer: Writer) -> None:
    """Somebody else's script under our hash, or a proxy that rewrites."""
    with pytest.raises(SinkFault, match="should not know"):
        await RedisSink(_Echo("surprise"), KEYS, SESSION, StreamSettings()).commit(b"")  # type: ignore[arg-type]


class _Echo:
    def __init__(self, reply: object) -> None:
        self._reply = reply

    async def run(self, *_: object) -> object:
        return self._reply


async def test_a_commit_that_was_given_up_lands_or_not_but_never_twice(writer: Writer, redis: Redis) -> None:
    """Cancelled right after it was sent; the next try of the same bytes tells."""
    packed = writer.pack([event(1)])
    for _ in range(20):
        task = asyncio.create_task(writer.sink.commit(packed))
        await asyncio.sleep(0)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    assert isinstance(await writer.sink.commit(packed), Committed | AlreadyCommitted)
    assert await ids(redis) == [b"e1"]
