"""The chain of commits and the kinds of records, by hand: what the model of the protocol meets by chance only."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator
from importlib.resources import files
from typing import Any, cast

import hiredis
import pytest
from pydantic import SecretStr
from redis.asyncio import Redis

from bridge.delivery.markers import marker
from bridge.delivery.window import Seal, Window, digest_of
from bridge.errors import FaultKind, SinkFault
from bridge.lab.redis_server import RedisServer
from bridge.masking import Secrets
from bridge.model.keys import session_keys
from bridge.model.labels import DeadLetterReason, Phase
from bridge.model.outcomes import AlreadyCommitted, CommitResult, Committed, Fenced, RolledBack
from bridge.model.place import START, Place, Session
from bridge.model.records import DeadLetter, Piece, Record, Run
from bridge.settings import RedisSettings, StreamSettings
from bridge.store.commits import COMMIT, HEADER, RedisSink
from bridge.store.link import RedisLink

SESSION = Session(name="chain", session_id="lsn-1")
KEYS = session_keys("lens:{<name>}:events", SESSION)
TOKEN = "7-abcdef"


@pytest.fixture
async def sink(redis_server: RedisServer) -> AsyncIterator[RedisSink]:
    """For a session that this token may write."""
    link = RedisLink(RedisSettings(url=SecretStr(redis_server.url)), Secrets())
    yield RedisSink(link, KEYS, SESSION, StreamSettings())
    await link.aclose()


@pytest.fixture(autouse=True)
async def state(redis: Redis) -> None:
    """As a lease leaves it."""
    await redis.hset(KEYS.state, mapping={"token": TOKEN, "commits": 0, "taken": 0})


def event(number: int, **changes: Any) -> Record:
    """The n-th event."""
    data = b'{"type":"t","n":%d}' % number
    made = Record(f"e{number}", "t", data, 100.5 + number, "message", digest_of(data), f"e{number}", 0)
    return made._replace(**changes)


def letter(number: int) -> Record:
    """The n-th event, broken."""
    return event(number, type="", dead=DeadLetter(DeadLetterReason.INVALID_JSON, "at 0", truncated=False))


def packed(sink: RedisSink, place: Place, *batch: Piece, mark: str, token: str = TOKEN) -> bytes:
    """A commit that follows ``place``."""
    after = place._replace(commits=place.commits + 1, mark=mark)
    return sink.pack(token, place, after, batch, Window(10).seal(batch), Phase.ACTIVE)


async def entries(redis: Redis, key: str = KEYS.events) -> list[dict[str, str]]:
    """The fields of what stands there."""
    found: Any = await redis.xrange(key)
    return [{name.decode(): value.decode() for name, value in fields.items()} for _, fields in found]


def test_the_header_is_the_one_that_the_script_unpacks() -> None:
    """Twelve arguments and more, in one order on both sides."""
    script = files("bridge.store").joinpath("scripts/commit.lua").read_text()
    unpacked = re.search(r"local ([a-z_, \n]+) = unpack\(ARGV, 1, (\d+)\)", script)
    assert unpacked is not None
    assert tuple(re.split(r",\s+", unpacked[1])) == HEADER
    assert int(unpacked[2]) == len(HEADER)
    assert f"local at, last = {len(HEADER) + 1}, #argv" in script


@pytest.mark.parametrize("data_bytes", [10, 64_000])
def test_each_argument_of_the_header_stands_where_its_name_does(sink: RedisSink, data_bytes: int) -> None:
    """Small and large events are packed in two ways."""
    place, after = Place(commits=7, mark="m7"), Place(cursor="c8", ordinal=3, commits=8, mark="m8")
    record = event(1, data=b"x" * data_bytes)
    seal = Seal(b"the blob", 0, 5, ("e1",))
    reader = hiredis.Reader()
    reader.feed(sink.pack(TOKEN, place, after, [record], seal, Phase.ENDED))
    command = cast("list[bytes]", reader.gets())
    keys = [KEYS.events, KEYS.state, KEYS.seen, KEYS.dead_letter]
    assert [one.decode() for one in command[:7]] == ["EVALSHA", COMMIT.sha, "4", *keys]
    header = dict(zip(HEADER, (one.decode() for one in command[7:]), strict=False))
    assert abs(float(header.pop("now")) - time.time()) < 60
    assert header == {
        "token": TOKEN,
        "expected": "7",
        "follows": "m7",
        "mark": "m8",
        "session_id": "lsn-1",
        "name": "chain",
        "cursor": "c8",
        "ordinal": "3",
        "phase": "ended",
        "max_length": "",
        "max_age_ms": "",
        "unread_cap": "",
        "max_letters": str(StreamSettings().max_dead_letters),
        "blob": "the blob",
        "keep_blobs": "5",
    }
    assert command[7 + len(HEADER) :] == [b"e", b"e1", b"t", record.data, b"101.500"]


@pytest.mark.parametrize("types", [["t"] * 3, ["t", "u", "t"], [""] * 3, ["", "t", "t"], ["t"]], ids=repr)
async def test_a_run_becomes_the_entries_of_its_events(sink: RedisSink, redis: Redis, types: list[str]) -> None:
    """Whether they are all of one type or not, between events by themselves."""
    events = [event(number, type=type, received_at=7.5) for number, type in enumerate(types, 2)]
    keys, datas, digests = ([getattr(one, name) for one in events] for name in ("key", "data", "digest"))
    run = Run.of(keys, types, datas, digests, 7.5)
    last = event(len(types) + 2)
    result = await sink.commit(packed(sink, START, event(1), run, last, mark="m1"))
    assert result == Committed(seq=len(types) + 2, length=len(types) + 2)
    assert await entries(redis) == [
        {
            "id": one.key,
            "session_id": "lsn-1",
            "name": "chain",
            "seq": str(number),
            "type": one.type,
            "data": one.data.decode(),
            "received_at": f"{one.received_at:.3f}",
        }
        for number, one in enumerate([event(1), *events, last], 1)
    ]


async def test_another_token_with_the_same_number_is_fenced(sink: RedisSink, redis: Redis) -> None:
    """After a failover a counter may come twice; the random text behind it does not."""
    await redis.hset(KEYS.state, "taken", 3)
    assert await sink.commit(packed(sink, START, event(1), mark="m1", token="7-fedcba")) == Fenced(commits=3)
    assert await entries(redis) == []


async def test_an_old_packet_that_comes_late_writes_nothing(sink: RedisSink, redis: Redis) -> None:
    """Two commits, and the bytes of the first again; of the last again they are told to have landed."""
    first = packed(sink, START, event(1), mark="m1")
    second = packed(sink, Place(seq=1, commits=1, mark="m1"), event(2), mark="m2")
    results: list[CommitResult] = [await sink.commit(data) for data in (first, second, first, second)]
    assert results == [
        Committed(seq=1, length=1),
        Committed(seq=2, length=2),
        RolledBack(commits=2),
        AlreadyCommitted(seq=2, length=2, mark="m2"),
    ]
    assert [entry["id"] for entry in await entries(redis)] == ["e1", "e2"]


async def test_a_commit_lands_behind_the_one_that_it_names_and_behind_no_other(sink: RedisSink, redis: Redis) -> None:
    """A history of the same length is still another one."""
    await sink.commit(packed(sink, START, event(1), mark="m1"))
    other = Place(seq=1, commits=1, mark="mX")
    assert await sink.commit(packed(sink, other, event(2), mark="m2")) == RolledBack(commits=1)
    assert len(await entries(redis)) == 1


async def test_a_history_without_marks_is_told_apart_by_its_number(sink: RedisSink, redis: Redis) -> None:
    """A state that an earlier version left has none, and Redis may fall back to an older one of that kind."""
    await redis.hset(KEYS.state, mapping={"commits": 5, "seq": 5})
    acknowledged = Place(seq=7, commits=7)
    assert await sink.commit(packed(sink, acknowledged, event(8), mark="m8")) == RolledBack(commits=5)
    assert await entries(redis) == []


async def test_what_stands_in_the_place_of_a_history_that_was_expected_is_named(sink: RedisSink) -> None:
    """Where several were under way it may be one of them."""
    place = START
    for number in (1, 2, 3):
        await sink.commit(packed(sink, place, event(number), mark=f"m{number}"))
        place = Place(seq=number, commits=number, mark=f"m{number}")
    found = await sink.commit(packed(sink, START, event(1), mark="m1"))
    assert isinstance(found, RolledBack)
    assert (found.commits, found.mark, found.seq, found.length) == (3, "m3", 3, 3)


async def test_the_commit_that_stands_in_ones_place_is_named(sink: RedisSink) -> None:
    """So that a worker can tell its batch from the one that asked after it."""
    await sink.commit(packed(sink, START, mark="probe"))
    late = await sink.commit(packed(sink, START, event(1), mark="batch"))
    assert late == AlreadyCommitted(seq=0, length=0, mark="probe")


async def test_every_field_of_every_kind_of_record(sink: RedisSink, redis: Redis) -> None:
    """Markers and dead letters take no number; skipped numbers are left out, with an entry or without."""
    gap = marker("gap", {"from_seq": 3, "to_seq": 4}, at=7.25, cursor=None, ordinal=0)._replace(skip=2)
    silent = gap._replace(type="", skip=3)
    broken = event(9, type="", data=b"x", dead=DeadLetter(DeadLetterReason.INVALID_JSON, "at 0", truncated=True))
    batch = (
        event(1),
        event(2, event="named", data=b""),
        gap,
        broken,
        event(3),
        silent,
        event(4, event="named"),
    )
    assert await sink.commit(packed(sink, START, *batch, mark="m1")) == Committed(seq=9, length=5)
    common = {"session_id": "lsn-1", "name": "chain", "type": "t"}
    assert await entries(redis) == [
        {"id": "e1", **common, "seq": "1", "data": '{"type":"t","n":1}', "received_at": "101.500"},
        {"id": "e2", **common, "seq": "2", "data": "", "received_at": "102.500", "event": "named"},
        {
            "id": gap.key,
            "session_id": "lsn-1",
            "name": "chain",
            "seq": "2",
            "type": "bridge.gap",
            "data": gap.data.decode(),
            "received_at": "7.250",
        },
        {"id": "e3", **common, "seq": "5", "data": '{"type":"t","n":3}', "received_at": "103.500"},
        {"id": "e4", **common, "seq": "9", "data": '{"type":"t","n":4}', "received_at": "104.500", "event": "named"},
    ]
    assert await entries(redis, KEYS.dead_letter) == [
        {
            "id": "e9",
            "session_id": "lsn-1",
            "name": "chain",
            "type": "",
            "data": "x",
            "received_at": "109.500",
            "event": "message",
            "reason": "invalid_json",
            "detail": "at 0",
            "truncated": "1",
        }
    ]
    state: Any = await redis.hgetall(KEYS.state)
    assert (state[b"seq"], state[b"commits"], state[b"mark"]) == (b"9", b"1", b"m1")


@pytest.fixture
async def small_nodes(redis: Redis) -> AsyncIterator[None]:
    """Redis trims whole nodes: let them hold ten entries."""
    await redis.config_set("stream-node-max-entries", 10)
    yield
    await redis.config_set("stream-node-max-entries", 100)


@pytest.mark.usefixtures("small_nodes")
@pytest.mark.parametrize("ahead_seconds", [-7_200, 0, 7_200])
async def test_age_is_told_by_rediss_clock_and_not_by_the_workers(
    redis_server: RedisServer, redis: Redis, monkeypatch: pytest.MonkeyPatch, ahead_seconds: int
) -> None:
    """Of a worker whose clock is two hours ahead, or behind, what is older than an hour goes and what is younger stays.

    Two hours and half an hour, told by the ids that Redis gave.
    """
    seconds, _ = await redis.time()
    for name, age in (("old", 7_200), ("young", 1_800)):
        for number in range(50):
            await redis.xadd(KEYS.events, {"id": name}, id=f"{(int(seconds) - age) * 1000 + number}-1")
    now = time.time()
    monkeypatch.setattr("bridge.store.commits.time.time", lambda: now + ahead_seconds)
    link = RedisLink(RedisSettings(url=SecretStr(redis_server.url)), Secrets())
    sink = RedisSink(link, KEYS, SESSION, StreamSettings(max_age_seconds=3600))
    place = START
    for number in range(1, 60):
        await sink.commit(packed(sink, place, event(number, received_at=now + ahead_seconds), mark=f"m{number}"))
        place = Place(seq=number, commits=number, mark=f"m{number}")
    kept = [entry["id"] for entry in await entries(redis)]
    assert kept[-109:] == ["young"] * 50 + [f"e{number}" for number in range(1, 60)]
    assert len(kept) < 109 + 10, "what is older goes, but for a node that holds younger ones too"
    await link.aclose()


@pytest.mark.usefixtures("small_nodes")
async def test_a_commit_without_an_entry_trims_nothing_by_age(redis_server: RedisServer, redis: Redis) -> None:
    """It has no new entry to tell the age by: what is last stays, however old."""
    for number in range(1, 51):
        await redis.xadd(KEYS.events, {"id": "old"}, id=f"{number}-1")
    link = RedisLink(RedisSettings(url=SecretStr(redis_server.url)), Secrets())
    sink = RedisSink(link, KEYS, SESSION, StreamSettings(max_age_seconds=60))
    await sink.commit(packed(sink, START, letter(1), mark="m1"))
    assert len(await entries(redis)) == 50
    await link.aclose()


@pytest.mark.usefixtures("small_nodes")
async def test_dead_letters_are_trimmed_by_a_commit_that_brings_some_and_by_no_other(
    redis_server: RedisServer, redis: Redis
) -> None:
    """Events cost no look at the dead letters."""
    link = RedisLink(RedisSettings(url=SecretStr(redis_server.url)), Secrets())
    for number in range(50):
        await redis.xadd(KEYS.dead_letter, {"id": f"letter{number}"})
    sink = RedisSink(link, KEYS, SESSION, StreamSettings(max_dead_letters=10))
    await sink.commit(packed(sink, START, event(1), mark="m1"))
    assert len(await entries(redis, KEYS.dead_letter)) == 50
    await sink.commit(packed(sink, Place(seq=1, commits=1, mark="m1"), letter(2), mark="m2"))
    left = await entries(redis, KEYS.dead_letter)
    assert 10 <= len(left) <= 20
    assert left[-1]["id"] == "e2"
    await link.aclose()


async def test_numbers_are_left_out_before_and_behind_others_without_an_entry(sink: RedisSink, redis: Redis) -> None:
    """As the first and the last record of a commit, and twice in a row."""
    silent = marker("gap", {}, at=1.0, cursor="e0", ordinal=0)._replace(type="", skip=2)
    batch = (silent, event(1), silent, silent._replace(skip=1), event(2), silent)
    assert await sink.commit(packed(sink, START, *batch, mark="m1")) == Committed(seq=9, length=2)
    assert [entry["seq"] for entry in await entries(redis)] == ["3", "7"]


async def test_a_refusal_in_mid_commit_undoes_entries_letters_and_the_window(
    redis_server: RedisServer, redis: Redis
) -> None:
    """HSET is the last to be asked, and the user may no longer use it: each write before it is taken back."""
    await redis.rpush(KEYS.seen, "an earlier one")
    await redis.acl_setuser("no-hset", enabled=True, nopass=True, keys=["*"], commands=["+@all", "-hset"])
    link = RedisLink(
        RedisSettings(url=SecretStr(redis_server.url), username="no-hset", password=SecretStr("x")), Secrets()
    )
    sink = RedisSink(link, KEYS, SESSION, StreamSettings())
    try:
        with pytest.raises(SinkFault) as caught:
            await sink.commit(packed(sink, START, event(1), letter(2), event(3), letter(4), mark="m1"))
    finally:
        await link.aclose()
        await redis.acl_deluser("no-hset")
    assert caught.value.kind is FaultKind.NO_PERMISSION
    assert (await entries(redis), await entries(redis, KEYS.dead_letter)) == ([], [])
    assert await redis.lrange(KEYS.seen, 0, -1) == [b"an earlier one"]
    assert await redis.hget(KEYS.state, "commits") == b"0"
