"""Streams over real sockets from a real Redis: each entry once and in order, and every hole told."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import aiohttp
import pytest
from redis.asyncio import Redis

from bridge.lab.redis_server import RedisServer
from bridge.serve.reading import Reads
from bridge.serve.service import StreamServer
from tests.component.serve.conftest import KEY, Opening, Writer
from tests.support.serving import Subscriber, narrow
from tests.support.worker import until


def _reader(server: StreamServer, name: str = "camera-1", **parameters: str) -> Subscriber:
    return Subscriber(f"http://127.0.0.1:{server.port}/streams/{name}", parameters)


async def _reaches(reader: Subscriber, seq: int) -> None:
    await until(lambda: reader.last_seq >= seq, f"entry {seq} is read")


async def test_over_any_break_each_entry_comes_once_and_in_order(
    serving: Opening, writer: Writer, fault_random: random.Random
) -> None:
    """Readers that drop their connection after any number of bytes, in the ring and far behind it, filtered or not."""
    await writer.write(300)
    async with serving(buffer_events=40, buffer_bytes=20_000) as server:
        readers = [_reader(server, **{"from": "start"}) for _ in range(4)]
        readers += [_reader(server, **{"from": "start", "type": "inference.*"}) for _ in range(2)]
        total = 1500

        async def read(one: Subscriber) -> None:
            def enough() -> bool:
                return one.last_seq == total

            while not enough():
                await one.read(
                    fault_random.choice((200, 700, 9_000, 200_000)) + fault_random.randrange(500), enough=enough
                )

        async def write() -> None:
            while writer.seq < total:
                size = fault_random.choice((0, 0, 0, 3_000))
                await writer.write(min(fault_random.randrange(1, 60), total - 1 - writer.seq), type="error", size=size)
                await writer.write()
                await asyncio.sleep(fault_random.random() / 50)

        async with asyncio.timeout(100):
            await asyncio.gather(write(), *map(read, readers))
        assert sum(one.connects for one in readers) > 30
        for one in readers[:4]:
            assert one.seqs == list(range(1, total + 1))
        kept = [entry["seq"] for entry in readers[0].entries if entry["type"] == "inference.result"]
        for one in readers[4:]:
            assert [entry["seq"] for entry in one.entries] == kept
        assert all(one.holes == [] for one in readers)
        assert server.figures.reads["page"] > 0


async def test_what_comes_between_two_connections_is_not_missed_though_nothing_came_in_the_first(
    serving: Opening, writer: Writer
) -> None:
    """From now on means from the first connection on: the place is told at once, and not with the first event."""
    await writer.write(3)
    async with serving() as server:
        reader = await _reader(server).start().connected()
        await reader.close()
        await writer.write(2)
        reader.start()
        await _reaches(reader, 5)
        await reader.close()
        assert reader.seqs == [4, 5]


async def test_a_stream_that_is_not_there_yet_is_served_from_its_first_entry(serving: Opening, writer: Writer) -> None:
    """Its session has not said anything."""
    async with serving() as server:
        reader = await _reader(server).start().connected()
        await reader.close()
        await writer.write(2)
        again = _reader(server, last_event_id=reader.last_event_id).start()
        await _reaches(again, 2)
        await again.close()
        assert (again.seqs, again.holes) == ([1, 2], [])


@pytest.mark.parametrize("begin", ["start", "1"])
async def test_from_the_beginning_is_all_that_there_is_and_no_hole(
    serving: Opening, writer: Writer, begin: str
) -> None:
    """What was trimmed before is not this reader's loss."""
    await writer.write(10, keep=4)
    async with serving() as server:
        reader = _reader(server, **{"from": begin}).start()
        await _reaches(reader, 10)
        await writer.write()
        await _reaches(reader, 11)
        await reader.close()
        assert (reader.seqs, reader.holes) == ([7, 8, 9, 10, 11], [])


async def test_a_stream_that_was_trimmed_to_nothing_is_waited_for_and_not_asked_for_again_and_again(
    serving: Opening, writer: Writer
) -> None:
    """Its end is known though no entry stands there."""
    await writer.write(3, keep=0)
    async with serving(heartbeat_seconds=0.1) as server:
        reader = _reader(server, **{"from": "start"}).start()
        figures = server.figures
        await until(lambda: figures.of("camera-1").bytes > 60, "it gets some signs of life")
        assert figures.reads["page"] < 4
        await writer.write(2)
        await _reaches(reader, 5)
        await reader.close()
        assert (reader.seqs, reader.holes) == ([4, 5], [])


async def test_who_comes_back_after_its_place_was_trimmed_is_told(serving: Opening, writer: Writer) -> None:
    """And gets what there still is."""
    async with serving() as server:
        reader = await _reader(server).start().connected()
        await writer.write(3)
        await _reaches(reader, 3)
        await reader.close()
        place = reader.last_event_id
        await writer.write(10, keep=4)
        reader.start()
        await _reaches(reader, 13)
        await reader.close()
        assert reader.seqs == [1, 2, 3, 10, 11, 12, 13]
        assert reader.holes == [{"reason": "trimmed", "after": place, "goes_on_after": place}]
        assert server.figures.of("camera-1").holes["trimmed"] == 1


async def test_what_the_tail_itself_had_no_chance_to_read_is_told_to_who_is_there(
    serving: Opening, writer: Writer
) -> None:
    """A stream that keeps less than one batch: most of it is gone before anybody can see it."""
    await writer.write(3)
    async with serving() as server:
        reader = await _reader(server).start().connected()
        place = reader.last_event_id
        await writer.write(500, keep=2)
        await _reaches(reader, 503)
        await reader.close()
        assert reader.seqs == [502, 503]
        assert reader.holes == [{"reason": "trimmed", "after": place, "goes_on_after": place}]


async def test_who_is_overtaken_by_the_trimming_while_it_reads_is_told(serving: Opening, writer: Writer) -> None:
    """Its connection never broke: it was slow, and the stream short."""
    await writer.write(400, size=20_000)
    async with serving(buffer_events=5) as server:
        reader, connection = await narrow(server.port, "/streams/camera-1?from=start")
        text = await reader.readuntil(b'"e1"')
        await writer.client.xtrim(KEY, maxlen=3, approximate=False)
        async with asyncio.timeout(60):
            while b'"e400"' not in text:
                text += await reader.read(65536)
        connection.close()
        assert text.count(b"event: bridge.hole") == 1
        assert text.index(b"event: bridge.hole") < text.index(b'"e398"')


async def test_an_emptied_redis_is_told_to_who_comes_back_and_to_who_was_there(
    serving: Opening, writer: Writer
) -> None:
    """The second one sees it over a connection that never broke."""
    await writer.write(5)
    async with serving() as server:
        stayed = await _reader(server).start().connected()
        place = stayed.last_event_id
        await writer.client.delete(KEY)
        await until(lambda: bool(stayed.holes), "who is there is told")
        came_back = await _reader(server, last_event_id=place).start().connected()
        await until(lambda: bool(came_back.holes), "who comes back is told")
        await writer.write(2)
        for one in (stayed, came_back):
            await _reaches(one, 7)
            await one.close()
            assert one.seqs == [6, 7]
            assert one.holes == [{"reason": "ahead", "after": place, "goes_on_after": "0-0"}]


async def test_an_emptied_redis_is_told_though_writers_go_on_while_it_is_looked_at(
    serving: Opening, writer: Writer, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over a connection that never broke: by then the stream holds more than what was just read of it."""
    length = Reads.length
    written = [20]  # once: at each look it would give the tail another one to look at, for ever

    async def length_a_moment_later(reads: Reads, key: str) -> int:
        if written:
            await writer.write(written.pop())
        return await length(reads, key)

    async with serving() as server:
        reader = await _reader(server).start().connected()
        await writer.write(3)
        await _reaches(reader, 3)
        writer.seq += 1
        monkeypatch.setattr(Reads, "length", length_a_moment_later)
        async with redis.pipeline() as pipe:
            pipe.delete(KEY)
            pipe.xadd(
                KEY, {"id": "e4", "session_id": "lsn-1", "seq": "4", "type": "t", "data": "{}", "received_at": "1.000"}
            )
            await pipe.execute()
        await _reaches(reader, 4)
        await until(lambda: bool(reader.holes), "the hole is told")
        await reader.close()


async def test_an_entry_is_sent_when_it_comes_and_not_with_the_next_sign_of_life(
    serving: Opening, writer: Writer
) -> None:
    """Signs of life are five minutes apart here."""
    async with serving(heartbeat_seconds=300) as server:
        reader = await _reader(server).start().connected()
        for seq in (1, 2, 3):
            await writer.write()
            await _reaches(reader, seq)
        await reader.close()
        assert reader.seqs == [1, 2, 3]


@pytest.mark.parametrize("kept", [False, True], ids=["in Redis", "in the ring"])
async def test_a_place_that_redis_lost_and_wrote_again_elsewhere_is_told(
    serving: Opening, writer: Writer, kept: bool
) -> None:
    """As after a failover: the entry that the reader has is no more, and its numbers come again."""
    async with serving() as server:
        other = await _reader(server).start().connected() if kept else None
        await writer.client.xadd(KEY, {"seq": "1"}, id="100-0")
        await writer.client.xadd(KEY, {"seq": "2"}, id="300-0")
        if other:
            await _reaches(other, 2)
        reader = _reader(server, last_event_id="200-0").start()
        await _reaches(reader, 2)
        for one in filter(None, (reader, other)):
            await one.close()
        assert reader.holes == [{"reason": "gone", "after": "200-0", "goes_on_after": "200-0"}]
        assert reader.seqs == [2]


async def test_a_filtered_reader_is_told_how_far_it_is(serving: Opening, writer: Writer) -> None:
    """A resume need not read again what was left out before."""
    async with serving(heartbeat_seconds=0.1) as server:
        reader = await _reader(server, type="never").start().connected()
        place = reader.last_event_id
        await writer.write(3)
        await until(lambda: reader.last_event_id != place, "the place moves on with a heartbeat")
        await reader.close()
        many = _reader(server, type="never", **{"from": "start"}).start()
        await writer.write(2000)
        newest: Any = await writer.client.xrevrange(KEY, count=1)
        last = newest[0][0].decode()
        await until(lambda: many.last_event_id == last, "the place is the end of the stream")
        await many.close()
        assert many.seen == []


async def test_redis_restarts_under_readers_and_nothing_is_lost_or_repeated(
    serving: Opening, private_redis: RedisServer
) -> None:
    """Their connections stay open, with signs of life; probes tell."""
    async with Redis.from_url(private_redis.url) as client, serving(url=private_redis.url) as server:
        writer = Writer(client)
        readers = [await _reader(server).start().connected() for _ in range(5)]
        await writer.write(20)
        await private_redis.kill()
        await until(lambda: server.figures.redis_error is not None, "it is known that Redis is away")
        assert await _probe(server, "/readyz") == 503
        assert await _probe(server, "/livez") == 200
        late = _reader(server, last_event_id=readers[0].last_event_id).start()
        await until(lambda: late.connects == 1, "a known stream is opened though Redis is away")
        await private_redis.start()
        await client.connection_pool.disconnect()
        await writer.write(20)
        for one in (*readers, late):
            await _reaches(one, 40)
            await one.close()
            assert one.connects == 1
        assert all(one.seqs == list(range(1, 41)) for one in readers)
        await until(lambda: server.figures.redis_error is None, "and that it is back")
        assert await _probe(server, "/readyz") == 200


async def test_a_shared_stream_is_read_whole_by_its_key_and_in_part_by_name(serving: Opening, redis: Redis) -> None:
    """What each session wrote there, or all of it."""
    sessions = [{"name": f"camera-{number}", "session_id": f"lsn-{number}"} for number in (1, 2)]
    writer = Writer(redis, "lens:{all}:events")
    async with serving(sessions=sessions, stream={"key": "lens:{all}:events"}) as server:
        both = await _reader(server, "lens:%7Ball%7D:events").start().connected()
        one = await _reader(server, "camera-2").start().connected()
        for number in (1, 2, 1, 2):
            await writer.write(name=f"camera-{number}", session_id=f"lsn-{number}")
        await _reaches(both, 4)
        await _reaches(one, 4)
        await both.close()
        await one.close()
        assert (both.seqs, one.seqs) == ([1, 2, 3, 4], [2, 4])


async def _probe(server: StreamServer, path: str) -> int:
    url = f"http://127.0.0.1:{server.admin_port}{path}"
    async with aiohttp.ClientSession() as http, http.get(url) as answer:
        return answer.status
