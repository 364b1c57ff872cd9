"""Trimming that leaves what consumer groups have not read: by hand, and against a listing of what they have not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from importlib.resources import files
from itertools import count
from typing import Any

import pytest
import redis as sync_redis
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test
from pydantic import SecretStr
from redis.asyncio import Redis

from bridge.lab.redis_server import RedisServer
from bridge.masking import Secrets
from bridge.model.keys import session_keys
from bridge.model.place import Session
from bridge.settings import RedisSettings, StreamSettings
from bridge.store.link import RedisLink
from tests.support.retention_rig import TOKEN, Line, unread

KEYS = session_keys("lens:{<name>}:events", Session(name="line-1", session_id="lsn-1"))
NODE = 10
"""Entries of a node of a stream in these tests. Redis trims whole ones."""
_runs = count()


@pytest.fixture
async def small_nodes(redis: Redis) -> AsyncIterator[None]:
    """Let a node hold ten entries, not a hundred."""
    await redis.config_set("stream-node-max-entries", NODE)
    yield
    await redis.config_set("stream-node-max-entries", 100)


@pytest.fixture
async def link(redis_server: RedisServer, redis: Redis, small_nodes: None) -> AsyncIterator[RedisLink]:
    """A link to the shared Redis, where the session's state is as a lease leaves it."""
    await redis.hset(KEYS.state, mapping={"token": TOKEN, "commits": 0, "taken": 0})
    made = RedisLink(RedisSettings(url=SecretStr(redis_server.url)), Secrets())
    yield made
    await made.aclose()


def keeping(link: RedisLink, **limits: Any) -> Line:
    """A session whose unread entries are kept."""
    return Line(link, KEYS, StreamSettings(keep_unread=True, **limits))


async def read(redis: Redis, group: str, entries: int, *, ack: bool = True) -> list[bytes]:
    """Read as a consumer does; the ids."""
    found: Any = await redis.xreadgroup(group, "one", {KEYS.events: ">"}, count=entries)
    ids = [one for one, _ in found[0][1]] if found else []
    if ack and ids:
        await redis.xack(KEYS.events, group, *ids)
    return ids


async def first_seq(redis: Redis) -> int:
    """The number of the oldest entry."""
    found: Any = await redis.xrange(KEYS.events, count=1)
    return int(found[0][1][b"seq"])


async def test_a_stream_without_a_group_is_trimmed_as_ever(link: RedisLink, redis: Redis) -> None:
    """Nothing is known to be unread: consumers that use XREAD leave no trace in Redis."""
    line = keeping(link, max_length=50)
    for _ in range(40):
        await line.commit(10)
    assert 50 <= await redis.xlen(KEYS.events) <= 50 + NODE


async def test_a_group_that_was_made_first_holds_all_from_then_on(link: RedisLink, redis: Redis) -> None:
    """Also before there is any entry, as the README's consumer makes it; and it holds nothing once it is dropped."""
    await redis.xgroup_create(KEYS.events, "never-read", id="0", mkstream=True)
    line = keeping(link, max_length=50)
    for _ in range(40):
        await line.commit(20)
    assert await redis.xlen(KEYS.events) == 800
    await redis.xgroup_destroy(KEYS.events, "never-read")
    await line.commit(10)
    assert 50 <= await redis.xlen(KEYS.events) <= 50 + NODE


async def test_what_the_slowest_group_has_read_goes_and_nothing_else(link: RedisLink, redis: Redis) -> None:
    """One group is far ahead, the other has read 120 of 400 entries."""
    line = keeping(link, max_length=50)
    for group in ("fast", "slow"):
        await redis.xgroup_create(KEYS.events, group, id="0", mkstream=True)
    for _ in range(40):
        await line.commit(10)
    await read(redis, "fast", 400)
    await read(redis, "slow", 120)
    await line.commit(10)
    assert 121 - NODE <= await first_seq(redis) <= 121
    await read(redis, "slow", 400)
    await line.commit(10)
    assert 50 <= await redis.xlen(KEYS.events) <= 50 + NODE


async def test_what_is_read_but_not_acknowledged_is_held(link: RedisLink, redis: Redis) -> None:
    """A consumer that died between its work and its XACK finds its entry again."""
    line = keeping(link, max_length=50)
    await redis.xgroup_create(KEYS.events, "g", id="0", mkstream=True)
    for _ in range(30):
        await line.commit(10)
    ids = await read(redis, "g", 300, ack=False)
    await redis.xack(KEYS.events, "g", *ids[:84], *ids[85:])
    await line.commit(10)
    assert 85 - NODE < await first_seq(redis) <= 85
    await redis.xack(KEYS.events, "g", ids[84])
    await line.commit(10)
    assert 50 <= await redis.xlen(KEYS.events) <= 50 + NODE


async def test_the_cap_cuts_what_is_unread_and_counts_it(link: RedisLink, redis: Redis) -> None:
    """Entries, one by one, also where a node holds read and unread ones."""
    await redis.xgroup_create(KEYS.events, "g", id="0", mkstream=True)
    line = keeping(link, max_length=50, hard_max_length=200)
    for _ in range(20):
        assert (await line.commit(10)).unread_trimmed == 0
    assert await redis.xlen(KEYS.events) == 200
    await read(redis, "g", 13)
    cut = 0
    for _ in range(10):
        cut += (await line.commit(10)).unread_trimmed
    assert 200 <= await redis.xlen(KEYS.events) <= 200 + NODE
    assert cut == await first_seq(redis) - 1 - 13


async def test_what_is_pending_and_was_cut_holds_nothing_any_more(link: RedisLink, redis: Redis) -> None:
    """Redis keeps it on the list of a consumer that never comes back; the entry itself is gone."""
    await redis.xgroup_create(KEYS.events, "g", id="0", mkstream=True)
    line = keeping(link, max_length=50, hard_max_length=200)
    for _ in range(5):
        await line.commit(10)
    await read(redis, "g", 50, ack=False)
    for _ in range(30):
        await line.commit(10)
    assert await first_seq(redis) > 50
    while await read(redis, "g", 1000):
        pass
    results = [await line.commit(10) for _ in range(5)]
    assert sum(one.unread_trimmed for one in results) == 0
    assert await redis.xlen(KEYS.events) <= 100 + NODE
    pending: Any = await redis.xpending(KEYS.events, "g")
    assert pending["pending"] == 50


async def test_a_cap_without_a_group_is_a_limit_like_any_other(link: RedisLink, redis: Redis) -> None:
    """It counts nothing: nobody is known to have missed anything."""
    line = keeping(link, hard_max_length=100)
    results = [await line.commit(10) for _ in range(30)]
    assert 100 <= await redis.xlen(KEYS.events) <= 100 + NODE
    assert sum(one.unread_trimmed for one in results) == 0


async def test_unread_entries_grow_older_than_the_limit(link: RedisLink, redis: Redis) -> None:
    """Two hours old where one is allowed: they stay until they are read."""
    seconds, _ = await redis.time()
    for number in range(100):
        await redis.xadd(KEYS.events, {"id": "old", "seq": "0"}, id=f"{(int(seconds) - 7_200) * 1000 + number}-1")
    await redis.xgroup_create(KEYS.events, "g", id="0")
    line = keeping(link, max_age_seconds=3600)
    for _ in range(20):
        await line.commit(10)
    assert await redis.xlen(KEYS.events) == 300
    await read(redis, "g", 65)
    for _ in range(10):
        await line.commit(10)
    assert 335 <= await redis.xlen(KEYS.events) <= 335 + NODE
    await read(redis, "g", 100)
    for _ in range(10):
        await line.commit(10)
    assert await first_seq(redis) == 1, "what is old has gone, what is young has stayed"


async def test_an_age_is_looked_at_where_few_entries_come_too(link: RedisLink, redis: Redis) -> None:
    """By the worker's clock: not with each commit, but before the twentieth part of the limit has passed twice."""
    seconds, _ = await redis.time()
    for number in range(100):
        await redis.xadd(KEYS.events, {"id": "old", "seq": "0"}, id=f"{(int(seconds) - 7_200) * 1000 + number}-1")
    line = keeping(link, max_age_seconds=3600)
    await line.commit()
    await redis.hset(KEYS.state, "updated_at", "1.0")
    await line.commit()
    assert await redis.xlen(KEYS.events) == 2


async def test_groups_are_asked_for_seldom(link: RedisLink, redis: Redis) -> None:
    """1,000 commits of an entry each, with a limit of 500: each tenth of it, and only once there is more."""
    await redis.xgroup_create(KEYS.events, "g", id="0", mkstream=True)
    line = keeping(link, max_length=500)
    await redis.config_resetstat()
    for _ in range(1000):
        await line.commit()
    found: Any = await redis.info("commandstats")
    asked = [one["calls"] for name, one in found.items() if name.startswith("cmdstat_xinfo")]
    assert sum(asked) == 10


async def test_groups_are_asked_for_seldom_by_age_too(link: RedisLink, redis: Redis) -> None:
    """Each twentieth of it, which is three minutes here: at the first commit, and when a new one has begun."""
    await redis.xgroup_create(KEYS.events, "g", id="0", mkstream=True)
    line = keeping(link, max_age_seconds=3600)
    await redis.config_resetstat()
    for _ in range(90):
        await line.commit()
    found: Any = await redis.info("commandstats")
    assert 1 <= sum(one["calls"] for name, one in found.items() if name.startswith("cmdstat_xinfo")) <= 2


async def test_what_was_held_for_long_goes_in_parts_and_before_anything_unread(link: RedisLink, redis: Redis) -> None:
    """25,000 entries are read at last: not all at once, since Redis serves nobody meanwhile; and the cap waits."""
    await redis.xgroup_create(KEYS.events, "g", id="0", mkstream=True)
    line = keeping(link, max_length=50, hard_max_length=100_000)
    for _ in range(25):
        await line.commit(1000)
    assert await redis.xlen(KEYS.events) == 25_000
    await read(redis, "g", 25_000)
    line.settings = StreamSettings(keep_unread=True, max_length=50, hard_max_length=60)
    lengths, cut = [], 0
    for _ in range(4):
        cut += (await line.commit(10)).unread_trimmed
        lengths.append(await redis.xlen(KEYS.events))
    assert lengths[:2] == [15_010, 5_020]
    assert 50 <= lengths[3] <= 60 + NODE
    assert cut == 0


async def test_a_user_who_may_not_ask_trims_nothing_and_says_so(
    redis_server: RedisServer, link: RedisLink, redis: Redis
) -> None:
    """The commit stands; what is unread is not guessed at."""
    await redis.xgroup_create(KEYS.events, "g", id="0", mkstream=True)
    admin: Any = redis
    await admin.execute_command("ACL", "SETUSER", "narrow", "on", ">word", "~*", "+@all", "-xpending")
    narrow = RedisLink(RedisSettings(url=SecretStr(redis_server.url), username="narrow", password="word"), Secrets())  # type: ignore[arg-type]
    try:
        line = Line(narrow, KEYS, StreamSettings(keep_unread=True, max_length=50))
        await line.commit(40)
        await read(redis, "g", 20, ack=False)
        results = [await line.commit(10) for _ in range(10)]
        told = results[-1].not_trimmed
        assert "permission" in told or "can't run this command" in told, "as it was before 7.0"
        assert await redis.xlen(KEYS.events) == 140
    finally:
        await narrow.aclose()
        await admin.execute_command("ACL", "DELUSER", "narrow")


async def test_a_stream_that_others_trim_too_does_no_harm(link: RedisLink, redis: Redis) -> None:
    """Emptied, or with holes in the middle."""
    await redis.xgroup_create(KEYS.events, "g", id="0", mkstream=True)
    line = keeping(link, max_length=50)
    await line.commit(100)
    ids = await read(redis, "g", 100, ack=False)
    await redis.xdel(KEYS.events, *ids[:60:2])
    assert (await line.commit(10)).not_trimmed == ""
    await redis.xtrim(KEYS.events, maxlen=0)
    assert (await line.commit(60)).not_trimmed == ""
    assert await redis.xlen(KEYS.events) == 60


NUMBER = st.integers(0, 2**64 - 1) | st.integers(2**53 - 2, 2**53 + 2) | st.integers(0, 11)


def test_ids_are_compared_exactly_up_to_the_last_one(redis_server: RedisServer) -> None:
    """They are larger than the numbers of Lua, which are floating points."""
    library = files("bridge.store").joinpath("scripts/retention.lua").read_text()
    client: Any = sync_redis.Redis.from_url(redis_server.url)
    compare = client.register_script(library + "return is_before(ARGV[1], ARGV[2]) and 1 or 0")

    @given(one=st.tuples(NUMBER, NUMBER), other=st.tuples(NUMBER, NUMBER))
    def check(one: tuple[int, int], other: tuple[int, int]) -> None:
        assert compare(args=[f"{one[0]}-{one[1]}", f"{other[0]}-{other[1]}"]) == (one < other)

    check()
    client.close()


class Readers(RuleBasedStateMachine):
    """Groups come, read, acknowledge, claim, are set back and go, while entries are committed."""

    url = ""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.client: Any = sync_redis.Redis.from_url(self.url)
        self.link = self.runner.run(self._link())
        self.keys = session_keys("lens:{<name>}:events", Session(name=f"readers-{next(_runs)}", session_id="lsn-1"))
        self.client.hset(self.keys.state, mapping={"token": TOKEN, "commits": 0, "taken": 0})
        self.line = Line(self.link, self.keys, StreamSettings())
        self.cap: int | None = None

    async def _link(self) -> RedisLink:
        return RedisLink(RedisSettings(url=SecretStr(self.url)), Secrets())

    def teardown(self) -> None:
        self.runner.run(self.link.aclose())
        self.runner.close()
        self.client.delete(self.keys.events, self.keys.state, self.keys.seen, self.keys.dead_letter)
        self.client.close()

    @initialize(
        max_length=st.none() | st.integers(1, 60),
        cap=st.none() | st.integers(0, 60),
        max_age=st.none() | st.just(0.001),
        create=st.booleans(),
    )
    def begin(self, max_length: int | None, cap: int | None, max_age: float | None, create: bool) -> None:
        """With limits of any kind, the cap not below the limit."""
        self.cap = None if cap is None else (max_length or 1) + cap
        self.line.settings = StreamSettings(
            keep_unread=True, max_length=max_length, max_age_seconds=max_age, hard_max_length=self.cap
        )
        if create:
            self.client.xgroup_create(self.keys.events, "g0", id="0", mkstream=True)

    @rule(events=st.integers(1, 45))
    def commit(self, events: int) -> None:
        """No unread entry goes, unless the cap says so; and then as many as are told."""
        before, grouped = unread(self.client, self.keys.events), len(self._groups()) > 0
        stood = self._ids()
        result = self.runner.run(self.line.commit(events))
        stands = self._ids()
        assert result.not_trimmed == ""
        gone = stood - stands
        new_gone = events - len(stands - stood)  # where the cap is less than what was committed at once
        if self.cap is None:
            assert not before & gone
            assert new_gone == 0 or not grouped
        past_the_slowest = {one for one in gone if before and one >= min(before)}
        assert result.unread_trimmed == (len(past_the_slowest) + new_gone if grouped else 0)
        if result.unread_trimmed:
            assert self.cap is not None
            assert len(stood) + events > self.cap

    @rule(group=st.sampled_from(["g0", "g1", "g2"]), start=st.sampled_from(["0", "$"]))
    def create(self, group: str, start: str) -> None:
        """From the beginning, or for what is new."""
        if group not in self._groups():
            self.client.xgroup_create(self.keys.events, group, id=start, mkstream=True)

    @precondition(lambda self: self._groups())
    @rule(data=st.data(), entries=st.integers(1, 60), consumer=st.sampled_from("ab"), noack=st.booleans())
    def read(self, data: st.DataObject, entries: int, consumer: str, noack: bool) -> None:
        """Some of what is new."""
        group = data.draw(st.sampled_from(self._groups()))
        self.client.xreadgroup(group, consumer, {self.keys.events: ">"}, count=entries, noack=noack)

    @precondition(lambda self: self._groups())
    @rule(data=st.data(), share=st.sampled_from([1, 2, 3]), offset=st.integers(0, 5))
    def acknowledge(self, data: st.DataObject, share: int, offset: int) -> None:
        """All that is pending, or every second or third of it, from somewhere on."""
        group = data.draw(st.sampled_from(self._groups()))
        pending = self.client.xpending_range(self.keys.events, group, "-", "+", 1000)
        for one in pending[offset::share]:
            self.client.xack(self.keys.events, group, one["message_id"])

    @precondition(lambda self: self._groups())
    @rule(data=st.data(), to=st.sampled_from(["0", "$"]))
    def set_back(self, data: st.DataObject, to: str) -> None:
        """To read it all again, or to skip what is there."""
        self.client.xgroup_setid(self.keys.events, data.draw(st.sampled_from(self._groups())), to)

    @precondition(lambda self: self._groups())
    @rule(data=st.data())
    def drop(self, data: st.DataObject) -> None:
        """With all that is pending."""
        self.client.xgroup_destroy(self.keys.events, data.draw(st.sampled_from(self._groups())))

    @precondition(lambda self: self._groups())
    @rule(data=st.data(), at=st.integers(0, 200))
    def delete(self, data: st.DataObject, at: int) -> None:
        """An entry in the middle, by somebody else: its place on the lists of consumers stays."""
        entries = self.client.xrange(self.keys.events)
        if at < len(entries):
            self.client.xdel(self.keys.events, entries[at][0])

    def _ids(self) -> set[tuple[int, ...]]:
        return {tuple(map(int, one.split(b"-"))) for one, _ in self.client.xrange(self.keys.events)}

    def _groups(self) -> list[str]:
        if not self.client.exists(self.keys.events):
            return []
        return [one["name"].decode() for one in self.client.xinfo_groups(self.keys.events)]


@pytest.mark.timeout(600)  # it took 100 s on a machine with ten times as much to do as it could
@pytest.mark.usefixtures("small_nodes")
def test_no_unread_entry_is_trimmed_below_the_cap_whatever_groups_do(redis_server: RedisServer) -> None:
    """Against a listing of what is unread, taken before each commit."""
    Readers.url = redis_server.url
    run_state_machine_as_test(Readers, settings=settings(max_examples=60, stateful_step_count=40))
