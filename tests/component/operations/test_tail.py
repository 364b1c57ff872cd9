"""`tail` against a real Redis: it sees all that lands, over restarts, and prints nothing that a terminal obeys."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from bridge.lab.redis_server import RedisServer
from bridge.operations import tail
from bridge.operations.tail import Landed, TailError, follow, json_line, text_line

KEY = "lens:{a}:events"


async def add(redis: Redis, number: int, key: str = KEY, entry: str = "*") -> None:
    """Append the n-th event."""
    await redis.xadd(key, {"id": f"e{number}", "seq": number, "type": "log.info", "data": "{}"}, id=entry)


async def taken(landing: AsyncIterator[Landed], count: int) -> list[str]:
    """The ids of the next entries."""
    async with asyncio.timeout(20):
        return [(await anext(landing)).text("id") for _ in range(count)]


async def started(landing: AsyncIterator[Landed]) -> asyncio.Task[Landed]:
    """Begin to follow, and give the wait for the first entry."""

    async def first() -> Landed:
        return await anext(landing)

    return asyncio.create_task(first())


async def until_blocked(redis: Redis) -> None:
    """Wait until a client waits for entries."""
    async with asyncio.timeout(20):
        while not (await redis.info("clients"))["blocked_clients"]:
            await asyncio.sleep(0.01)


async def test_by_default_only_new_entries_are_shown(redis: Redis) -> None:
    """What stands there already is passed over; what lands afterwards comes."""
    await add(redis, 1)
    landing = follow(redis, [KEY])
    first = await started(landing)
    await until_blocked(redis)
    await add(redis, 2)
    async with asyncio.timeout(20):
        assert (await first).text("id") == "e2"


async def test_a_stream_that_does_not_exist_yet_is_followed_from_its_first_entry(redis: Redis) -> None:
    """Someone may look before the worker has written anything."""
    first = await started(follow(redis, [KEY]))
    await until_blocked(redis)
    await add(redis, 1)
    async with asyncio.timeout(20):
        assert (await first).text("id") == "e1"


async def test_what_lands_while_the_connection_breaks_is_not_lost(redis: Redis) -> None:
    """Not even the first entry of a stream that did not exist when the following began."""
    first = await started(follow(redis, [KEY]))
    await until_blocked(redis)
    async with redis.pipeline(transaction=True) as breaking:
        breaking.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        breaking.xadd(KEY, {"id": "e1"})
        await breaking.execute()
    async with asyncio.timeout(20):
        assert (await first).text("id") == "e1"


async def test_entries_of_one_commit_in_several_streams_come_in_the_order_of_their_numbers(redis: Redis) -> None:
    """Within a millisecond each stream counts its ids from 0; over several pages, and more of one than of another."""
    for number in range(1, 1501):
        await add(redis, number, KEY if number > 700 and number % 3 else "lens:{a}:logs", "5-*")
    await add(redis, 1501, entry="6-0")
    landing = follow(redis, [KEY, "lens:{a}:logs"], from_start=True)
    assert await taken(landing, 1501) == [f"e{number}" for number in range(1, 1502)]


async def test_streams_of_sessions_that_share_a_millisecond_stop_nobody(redis: Redis) -> None:
    """In a shared stream numbers do not rise from one entry to the next: all of it comes all the same."""
    for number in range(1, 901):
        await add(redis, 1000 - number if number % 2 else number, "lens:{a}:events", "5-*")
        await add(redis, number, "lens:{a}:logs", "5-*")
    landing = follow(redis, ["lens:{a}:events", "lens:{a}:logs"], from_start=True)
    assert len(await taken(landing, 1800)) == 1800


def test_a_label_that_begins_with_a_slash_stands_behind_the_name() -> None:
    """Of a stream that several sessions share."""
    landed = Landed(stream_key="k", entry="1-0", fields={b"name": b"camera-1", b"id": b"7"})
    assert text_line(landed, labels={"k": "/logs"}).split("  ")[1] == "camera-1/logs"
    assert text_line(landed, labels={"k": ""}).split("  ")[1] == "camera-1"


async def test_from_start_all_streams_come_in_the_order_of_time(redis: Redis) -> None:
    """Entries of several streams are mixed by their ids, over several pages."""
    for number in range(1, 601):
        await add(redis, number, KEY if number % 3 else "lens:{b}:events", entry=f"{number}-1")
    landing = follow(redis, [KEY, "lens:{b}:events"], from_start=True)
    assert await taken(landing, 600) == [f"e{number}" for number in range(1, 601)]


async def refused_often(server: RedisServer, times: int) -> None:
    """Stand where the server stood, hang up on whoever connects, and return after so many."""
    enough, count = asyncio.Event(), 0

    def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        count += 1
        writer.close()
        if count == times:
            enough.set()

    async with await asyncio.start_server(hang_up, "127.0.0.1", server.port), asyncio.timeout(20):
        await enough.wait()


async def test_nothing_is_lost_while_redis_is_away(private_redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """What lands after a restart, before the reader is back, is shown too; a long outage is told once."""
    monkeypatch.setattr(tail, "RETRY_SECONDS", 0.01)
    told: list[bool] = []
    async with Redis.from_url(private_redis.url, retry=None) as reader:
        landing = follow(reader, [KEY], on_change=lambda error: told.append(error is None))
        first = await started(landing)
        async with Redis.from_url(private_redis.url) as writer:
            await until_blocked(writer)
            await add(writer, 1)
        async with asyncio.timeout(20):
            assert (await first).text("id") == "e1"
        following = await started(landing)
        await private_redis.kill()
        await refused_often(private_redis, 5)
        await private_redis.start()
        async with Redis.from_url(private_redis.url) as writer:
            for number in (2, 3, 4):
                await add(writer, number)
        async with asyncio.timeout(20):
            assert (await following).text("id") == "e2"
        assert await taken(landing, 2) == ["e3", "e4"]
    assert told == [False, True]


async def test_a_key_of_another_type_is_an_error_at_once(redis: Redis) -> None:
    """Waiting would not help, so the command ends and says why."""
    await redis.set(KEY, "text")
    with pytest.raises(TailError, match="WRONGTYPE"):
        await anext(follow(redis, [KEY], from_start=True))


async def test_a_wrong_password_is_an_error_at_once() -> None:
    """It is not an outage."""
    async with RedisServer(arguments=["--requirepass", "right"]) as server:
        client = Redis.from_url(server.url, password="wrong")
        with pytest.raises(TailError, match="credentials"):
            await anext(follow(client, [KEY]))
        await client.aclose()


async def test_following_can_be_cancelled(redis: Redis) -> None:
    """Ctrl-C in the middle of a wait ends it, and the client serves on."""
    first = await started(follow(redis, [KEY]))
    await until_blocked(redis)
    first.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await first
    assert await redis.ping()


def landed(**fields: str) -> Landed:
    """An entry with these fields."""
    named = {"seq": "7", "id": "e7", "type": "log.info", "data": '{"type":"log.info"}', **fields}
    raw = {name.encode(): value.encode() for name, value in named.items()}
    return Landed(stream_key=KEY, entry="1741843200123-0", fields=raw)


def test_a_line_holds_time_stream_number_id_type_and_data() -> None:
    """In this order, with the stream's name where one is known."""
    time, *words = text_line(landed(), labels={KEY: "line-1"}).split("  ")
    assert time.endswith(":00.123")
    assert words == ["line-1", "7", "e7", "log.info", '{"type":"log.info"}']


def test_an_entry_of_a_shared_stream_is_told_by_its_own_name() -> None:
    """The key says nothing of the session there; an old entry has no name, and the key stands for it."""
    assert text_line(landed(name="camera-1")).split("  ")[1] == "camera-1"
    assert text_line(landed()).split("  ")[1] == KEY


def test_the_line_of_a_dead_letter_says_why_it_is_one() -> None:
    """That is what one looks for in a dead-letter stream."""
    line = text_line(landed(type="", seq="", reason="invalid_json", detail="Extra data", data="{}x"))
    assert line.endswith("  invalid_json: Extra data  {}x")


@pytest.mark.parametrize("field", ["id", "type", "data"])
@pytest.mark.parametrize("evil", ["\x1b]0;owned\x07", "\x9b2J", "\r\n", "\u202e", "\u2028", "\x7f", "\x00"])
def test_control_characters_are_escaped_in_every_field(field: str, evil: str) -> None:
    """What a server sends must not steer a terminal, neither as text nor as JSON."""
    for line in (text_line(landed(**{field: evil})), text_line(landed(**{field: evil}), columns=200)):
        assert line.isprintable()
        assert "\\" in line
    told = json_line(landed(**{field: evil}))
    assert told.isprintable()
    assert json.loads(told)[field] == evil


def test_a_line_is_cut_to_the_terminals_width() -> None:
    """Wide characters take two columns, accents none."""
    assert len(text_line(landed(data="x" * 5000), columns=80)) == 80
    wide = text_line(landed(data="\u6f22" * 500), columns=80)
    assert 40 < len(wide) < 80
    assert text_line(landed(data="e\u0301" * 10), columns=200).count("\u0301") == 10


def test_a_json_line_gives_the_fields_as_they_are() -> None:
    """One object per line, whole, however wide the terminal is."""
    told = json.loads(json_line(landed(data="x" * 5000)))
    assert told == {
        "stream": KEY,
        "entry": "1741843200123-0",
        "seq": "7",
        "id": "e7",
        "type": "log.info",
        "data": "x" * 5000,
    }


def test_a_field_of_a_later_release_is_left_alone() -> None:
    """A program is given it, a person the line that he knows."""
    assert text_line(landed(colour="red")) == text_line(landed())
    assert json.loads(json_line(landed(colour="red")))["colour"] == "red"
