"""The register of sessions in a real Redis: what is said there is heard once, whole or in part."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from bridge.errors import FaultKind, SinkFault
from bridge.lab.redis_server import RedisServer
from bridge.masking import Secrets
from bridge.model.registered import Order, Registered, Verb
from bridge.settings import RedisSettings
from bridge.store.fleet.sessions import Change, News, SessionBook
from bridge.store.link import RedisLink

MORE_THAN_ARE_KEPT = 1001


@pytest_asyncio.fixture
async def book(redis_server: RedisServer) -> AsyncIterator[Callable[[], SessionBook]]:
    """Makes books, each with a memory of its own."""
    link = RedisLink(RedisSettings(url=redis_server.url), Secrets())  # type: ignore[arg-type]
    yield lambda: SessionBook(link)
    await link.aclose()


def record(name: str, **more: object) -> Registered:
    """One of that name."""
    return Registered(name=name, session_id=f"lsn-{name}", **more)  # type: ignore[arg-type]


async def said(book: SessionBook) -> News:
    """What is new, where there must be something."""
    news = await book.follow()
    assert news is not None
    return news


Books = Callable[[], SessionBook]


async def test_who_follows_hears_of_each_change_once(book: Books) -> None:
    """All records at first, then those that changed, then nothing."""
    writer, follower = book(), book()
    assert (await said(follower)) == News(whole=True)
    assert await writer.change([Change(name="a", after=record("a")), Change(name="b", after=record("b"))]) == []
    assert (await said(follower)).records == {"a": record("a"), "b": record("b")}
    assert await follower.follow() is None
    await writer.follow()
    await writer.change([Change(name="a", after=None), Change(name="b", after=record("b", paused=True))])
    news = await said(follower)
    assert news.records == {"a": None, "b": record("b", paused=True)}
    assert not news.whole
    assert await follower.follow() is None
    assert (await said(book())).records == {"b": record("b", paused=True)}


async def test_orders_are_heard_in_their_order_by_those_who_follow_already(book: Books) -> None:
    """Whoever comes later was not meant."""
    writer, follower = book(), book()
    await follower.follow()
    orders = [Order(verb=Verb.MOVE, name="a", to="w/1"), Order(verb=Verb.DRAIN, to="w/2")]
    await writer.change([Change(name="a", after=record("a"))], orders)
    assert (await said(follower)).orders == [Order(verb=Verb.LOOK, name="a"), *orders]
    assert (await said(book())).orders == ()


async def test_who_writes_what_he_has_not_read_changes_nothing(book: Books) -> None:
    """Of two who change a record at the same time, the second has to look again."""
    first, second = book(), book()
    await first.change([Change(name="a", after=record("a"))])
    changes = [Change(name="a", after=record("other")), Change(name="b", after=record("b"))]
    assert await second.change(changes) == ["a"]
    assert (await said(second)).records == {"a": record("a")}
    assert await second.change([Change(name="a", after=None)]) == []


async def test_who_has_missed_more_than_is_kept_hears_all(book: Books) -> None:
    """And no change is kept for ever."""
    writer, follower = book(), book()
    await writer.change([Change(name="a", after=record("a"))])
    await follower.follow()
    await writer.follow()
    names = [f"n{number}" for number in range(MORE_THAN_ARE_KEPT)]
    await writer.change([Change(name=name, after=record(name)) for name in names])
    news = await said(follower)
    assert news.whole
    assert set(news.records) == {"a", *names}
    assert await follower.follow() is None


async def test_a_record_written_by_hand_is_heard_without_a_word(book: Books, redis: Redis) -> None:
    """The hash is a contract: somebody may write it with other means."""
    follower = book()
    await follower.follow()
    await redis.hset("lens:sessions", mapping={"a": '{"session_id": "lsn-a"}', "b": "[]", "{c}": '{"session_id": "x"}'})
    news = await said(follower)
    assert news.records == {"a": record("a"), "b": None, "{c}": None}
    assert news.unreadable["b"] == "the record is no JSON object"
    assert "is no name" in news.unreadable["{c}"]
    assert await follower.follow() is None
    await redis.delete("lens:sessions")
    news = await said(follower)
    assert (news.whole, news.records, news.lost) == (True, {}, False)


async def test_an_emptied_redis_is_told_from_one_that_was_never_written(book: Books, redis: Redis) -> None:
    """Only the first is a loss."""
    writer, follower = book(), book()
    assert not (await said(follower)).lost
    await writer.change([Change(name="a", after=record("a"))])
    await follower.follow()
    await redis.flushall()
    assert (await said(follower)).lost


async def test_an_emptied_redis_that_was_written_anew_is_no_register_that_is_known(book: Books, redis: Redis) -> None:
    """Fewer changes than were known, as many, and more."""
    for count in (1, 2, 5):
        writer, follower = book(), book()
        await writer.change([Change(name=name, after=record(name)) for name in "ab"])
        await follower.follow()
        await redis.flushall()
        await book().change([Change(name=f"n{number}", after=record(f"n{number}")) for number in range(count)])
        news = await said(follower)
        assert (news.lost, news.whole, len(news.records)) == (True, True, count)
        await redis.flushall()


async def test_a_key_of_another_type_is_told_and_nothing_is_changed(book: Books, redis: Redis) -> None:
    """Somebody else's list under the name of the register, or of its changes."""
    await redis.hset("lens:sessions", "a", '{"session_id": "lsn-a"}')
    await redis.set("lens:sessions:{lens:sessions}:changes", "x")
    writer = book()
    await writer.follow()
    with pytest.raises(SinkFault) as told:
        await writer.change([Change(name="a", after=None)])
    assert told.value.kind is FaultKind.WRONG_TYPE
    assert await redis.hlen("lens:sessions") == 1
    assert await redis.get("lens:sessions:{lens:sessions}:version") is None
