"""Entries as CloudEvents on a real Redis: every plain field as before, attributes that the specification allows."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from bridge.delivery.markers import marker
from bridge.lab.redis_server import RedisServer
from bridge.model.outcomes import AlreadyCommitted, Committed
from bridge.model.place import Place
from bridge.model.records import Record
from bridge.settings import EntryFormat, StreamSettings
from bridge.store.commits import COMMIT, RedisSink, commit_script
from bridge.store.link import RedisLink
from tests.component.store.test_commits import KEYS, SESSION, Writer, event, letter, link_to
from tests.support.cloud_events import as_cloud_event, is_allowed

CLOUDEVENTS = StreamSettings(format=EntryFormat.CLOUDEVENTS)
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
async def link(redis_server: RedisServer) -> Any:
    """A link to the shared Redis."""
    made = link_to(redis_server.url)
    yield made
    await made.aclose()


@pytest.fixture
async def writer(link: RedisLink) -> Writer:
    """One that holds the lease and writes CloudEvents."""
    made = Writer(link, CLOUDEVENTS)
    await made.take()
    return made


async def entries_of(redis: Redis, key: str = KEYS.events) -> list[dict[bytes, bytes]]:
    """Without their ids."""
    found: Any = await redis.xrange(key)
    return [fields for _, fields in found]


async def letters_of(redis: Redis) -> list[tuple[bytes, dict[Any, Any]]]:
    """With their ids."""
    found: Any = await redis.xrange(KEYS.dead_letter)
    return list(found)


async def test_an_entry_has_all_plain_fields_and_the_attributes_beside_them(writer: Writer, redis: Redis) -> None:
    """To the letter: a contract."""
    assert await writer.commit(event(1)) == Committed(seq=1, length=1)
    (entry,) = await entries_of(redis)
    assert entry == {
        b"id": b"e1",
        b"session_id": b"lsn-1",
        b"name": b"line-1",
        b"seq": b"1",
        b"type": b"t",
        b"data": b'{"type":"t"}',
        b"received_at": b"1741843200.123",
        b"ce_specversion": b"1.0",
        b"ce_id": b"e1",
        b"ce_source": b"/lens/sessions/lsn-1",
        b"ce_type": b"app.archetypeai.t",
        b"ce_time": b"2025-03-13T05:20:00.123Z",
        b"ce_subject": b"line-1",
        b"ce_datacontenttype": b"application/json",
        b"ce_sequence": b"0000000000000001",
    }


async def test_the_plain_fields_are_those_of_the_plain_format(link: RedisLink, redis: Redis) -> None:
    """In both formats the same records make the same fields; only the attributes come on top."""
    batch = [
        event(1),
        event(2, event="named"),
        letter(3),
        marker("gap", {"reason": "x"}, at=5.0, cursor="e3", ordinal=0),
    ]
    seen = []
    for format in EntryFormat:
        await redis.flushdb()
        writer = Writer(link, StreamSettings(format=format))
        await writer.take()
        assert isinstance(await writer.commit(*batch), Committed)
        found = [*await entries_of(redis), *await entries_of(redis, KEYS.dead_letter)]
        seen.append([{name: value for name, value in one.items() if not name.startswith(b"ce_")} for one in found])
    assert seen[0] == seen[1]


async def test_markers_are_events_too_and_told_by_their_type_alone(writer: Writer, redis: Redis) -> None:
    """Every event of the server has the prefix, whatever its type; no marker has."""
    gap = marker("gap", {"reason": "cursor_lost"}, at=1741843200.5, cursor="e1", ordinal=0)
    await writer.commit(event(1, type="bridge.gap"), gap, event(2))
    kinds = [as_cloud_event(entry).get_type() for entry in await entries_of(redis)]
    assert kinds == ["app.archetypeai.bridge.gap", "bridge.gap", "app.archetypeai.t"]


async def test_dead_letters_stay_plain_until_they_are_published(writer: Writer, redis: Redis) -> None:
    """They are no events yet; what a person has published is one, with the time at which it came."""
    await writer.commit(letter(1, b'{"type":"mended"}'), event(2))
    ((entry_id, fields),) = await letters_of(redis)
    assert not [name for name in fields if name.startswith(b"ce_")]
    await redis.hset(KEYS.state, "replay", json.dumps([[entry_id.decode(), "e1", "mended"]]))
    assert writer.lease
    packed = writer.sink.pack_replay(writer.lease.token, writer.place, "mark", writer.lease.phase, TRACEPARENT)
    assert await writer.sink.commit(packed) == Committed(seq=2, length=2)
    published = as_cloud_event((await entries_of(redis))[-1])
    assert (published.get_id(), published.get_type()) == ("e1", "app.archetypeai.mended")
    assert published.get_time() == datetime(2025, 3, 13, 5, 20, 0, 123_000, UTC)
    assert published.get_extension("traceparent") == TRACEPARENT


@pytest.mark.parametrize("damage", [b"", b"soon", b"1e300", b"-5.000", b"123456789012345.000", b"nan"])
async def test_a_letter_whose_time_somebody_changed_is_published_all_the_same(
    writer: Writer, redis: Redis, damage: bytes
) -> None:
    """A script that failed midway would leave half of a commit."""
    await writer.commit(letter(1, b'{"type":"mended"}'))
    ((_, fields),) = await letters_of(redis)
    await redis.delete(KEYS.dead_letter)
    entry_id: Any = await redis.xadd(KEYS.dead_letter, {**fields, b"received_at": damage})
    await redis.hset(KEYS.state, "replay", json.dumps([[entry_id.decode(), "e1", "mended"]]))
    assert writer.lease
    packed = writer.sink.pack_replay(writer.lease.token, writer.place, "mark", writer.lease.phase)
    assert await writer.sink.commit(packed) == Committed(seq=1, length=1)
    (entry,) = await entries_of(redis)
    assert (entry[b"received_at"], entry[b"ce_time"]) == (damage, b"1970-01-01T00:00:00.000Z")


async def test_the_trace_context_stands_in_each_entry_and_as_an_attribute_of_its_own(
    link: RedisLink, redis: Redis
) -> None:
    """In the plain format it is one field, in the other two; where there is none there is no field."""
    for number, format in enumerate(EntryFormat):
        for traceparent in ("", TRACEPARENT):
            await redis.flushdb()
            writer = Writer(link, StreamSettings(format=format))
            await writer.take()
            assert writer.lease
            sink = RedisSink(link, KEYS, SESSION, writer.settings, traced=True)
            batch = [event(1), event(2, event="named")]
            after = writer.place._replace(commits=1, mark="m")
            arguments = (writer.lease.token, writer.place, after, batch, writer.seal(batch), writer.lease.phase)
            assert isinstance(await sink.commit(sink.pack(*arguments, traceparent)), Committed)
            for entry in await entries_of(redis):
                said = {name: value.decode() for name, value in entry.items() if name.endswith(b"traceparent")}
                wanted = [b"traceparent", b"ce_traceparent"][: number + 1] if traceparent else []
                assert said == dict.fromkeys(wanted, traceparent)
                assert (b"ce_id" in entry) is (format is EntryFormat.CLOUDEVENTS)
            assert b"event" in entry


async def test_the_same_bytes_land_once_and_a_change_of_format_in_mid_life_goes_on(
    link: RedisLink, redis: Redis
) -> None:
    """Back and forth: one chain of commits, one numbering."""
    writer = Writer(link)
    await writer.take()
    for number, format in enumerate([EntryFormat.PLAIN, EntryFormat.CLOUDEVENTS, EntryFormat.PLAIN], start=1):
        writer.settings = StreamSettings(format=format)
        place, packed = writer.place, writer.pack([event(number)])
        assert await writer.sink.commit(packed) == Committed(seq=number, length=number)
        again = await writer.sink.commit(packed)
        assert again == AlreadyCommitted(seq=number, length=number, mark=f"m{number}")
        writer.place = Place(f"e{number}", 0, number, place.commits + 1, f"m{number}")
    entries = await entries_of(redis)
    assert [entry[b"seq"] for entry in entries] == [b"1", b"2", b"3"]
    assert [b"ce_id" in entry for entry in entries] == [False, True, False]


async def test_it_goes_together_with_keeping_what_is_unread(link: RedisLink, redis: Redis) -> None:
    """Both stand in front of the same script."""
    keeping = StreamSettings(format=EntryFormat.CLOUDEVENTS, keep_unread=True, max_length=1)
    writer = Writer(link, keeping)
    await writer.take()
    await redis.xgroup_create(KEYS.events, "slow", id="0", mkstream=True)
    for first in range(1, 300, 30):
        assert isinstance(await writer.commit(*map(event, range(first, first + 30))), Committed)
    entries = await entries_of(redis)
    assert [as_cloud_event(entry).get_id() for entry in entries] == [f"e{n}" for n in range(1, 301)]


def test_the_plain_script_has_nothing_of_it() -> None:
    """What nobody asked for is not even defined."""
    assert COMMIT is commit_script()
    for word in ("ce_", "traceparent", "retain ="):
        assert word not in COMMIT.source
    assert len({commit_script(extended=one, keeping=other).sha for one in (0, 1) for other in (0, 1)}) == 4


TEXTS = st.text(min_size=1, max_size=12) | st.text(
    alphabet=st.sampled_from("a%\x00\x01\t\x1f\x7f\x80\x85\x9f\xa0é\ufdcf\ufdd0\ufdef\ufdf0\ufffd\ufffe\uffff\U0001f600"
                             "\U0001fffd\U0001fffe\U0001ffff\U0010fffd\U0010ffff\U0002ffff"),
    min_size=1, max_size=8,
)  # fmt: skip
STAMPS = st.floats(min_value=1, max_value=99_999_999_999, allow_nan=False) | st.integers(1, 4_102_444_800).map(float)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(made=st.lists(st.tuples(TEXTS, TEXTS, STAMPS), min_size=1, max_size=40, unique_by=lambda one: one[0]))
def test_any_id_type_and_time_make_a_valid_event_that_tells_them(
    shared_redis_server: RedisServer, made: list[tuple[str, str, float]]
) -> None:
    """What CloudEvents forbids in a text is percent-encoded: two ids stay two, and decoded they are what they were."""

    async def play() -> None:
        async with Redis.from_url(shared_redis_server.url) as redis:
            await redis.flushdb()
            link = link_to(shared_redis_server.url)
            try:
                writer = Writer(link, CLOUDEVENTS)
                await writer.take()
                batch = [event(n)._replace(key=id, type=type, received_at=at) for n, (id, type, at) in enumerate(made)]
                assert isinstance(await writer.commit(*batch), Committed)
                check(batch, await entries_of(redis))
            finally:
                await link.aclose()

    asyncio.run(play())


def check(batch: list[Record], entries: Iterable[dict[bytes, bytes]]) -> None:
    """Each entry against its record and the official SDK."""
    seen = set()
    for record, entry in zip(batch, entries, strict=True):
        seen.add(entry[b"ce_id"])
        said = as_cloud_event(entry)
        # Halves of surrogate pairs cannot be sent at all: the plain fields have a replacement for them as well.
        assert unquote(said.get_id()) == entry[b"id"].decode() == record.key.encode("utf-8", "replace").decode()
        assert unquote(said.get_type().removeprefix("app.archetypeai.")) == entry[b"type"].decode()
        if is_allowed(record.key) and "%" not in record.key:
            assert said.get_id() == record.key
        stamp = float(entry[b"received_at"])
        time = said.get_time()
        assert time is not None
        assert math.isclose(time.timestamp(), stamp, abs_tol=0.0005)
        assert entry[b"ce_time"].decode()[:19] == datetime.fromtimestamp(int(stamp), UTC).isoformat()[:19]
        assert urlsplit(said.get_source()).path == said.get_source()
    assert len(seen) == len(batch)


async def test_the_sequence_sorts_as_text_as_it_does_as_a_number(writer: Writer, redis: Redis) -> None:
    """Over the border of every power of ten, up to the greatest number that the script counts exactly."""
    seqs = sorted({max(0, 10**power - 2) for power in range(16)} | {2**31 - 2, 2**53 - 4})
    for seq in seqs:
        await redis.hset(KEYS.state, "seq", str(seq))
        writer.place = writer.place._replace(seq=seq)
        await writer.commit(*(event(seq + n) for n in (1, 2)))
    entries = await entries_of(redis)
    sequences = [entry[b"ce_sequence"] for entry in entries]
    assert sequences == sorted(sequences)
    assert [int(one) for one in sequences] == [int(entry[b"seq"]) for entry in entries]
    assert {len(one) for one in sequences} == {16}


async def test_a_refusal_midway_leaves_nothing(writer: Writer, redis: Redis) -> None:
    """As in the plain format: a stream at its last possible id."""
    await redis.xadd(KEYS.events, {"x": "y"}, id="18446744073709551615-18446744073709551614")
    with pytest.raises(Exception, match=r".+"):
        await writer.commit(event(1), event(2))
    assert await redis.xlen(KEYS.events) == 1
    assert await redis.hget(KEYS.state, "commits") in {None, b"0"}
