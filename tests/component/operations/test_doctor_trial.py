"""What the doctor tries out in a real Redis: nothing is left, nothing is without an end, and a refusal has its name."""

from __future__ import annotations

from typing import Any

import pytest
import redis as blocking
from redis.asyncio import Redis

from bridge.errors import SinkFault
from bridge.lab.redis_server import RedisServer
from bridge.masking import Secrets
from bridge.model.keys import session_keys
from bridge.model.place import Session
from bridge.operations.doctor.lines import Level, Line
from bridge.operations.doctor.trial import try_out
from bridge.settings import RedisSettings, Settings, StreamSettings
from bridge.store.link import RedisLink
from tests.support.managed_redis import managed_redis
from tests.support.permissions import FACTS, KEEPING, WORD, WORKER, commands_of, rules_of
from tests.support.topology.watched import asked

KEYS = session_keys("lens:{<name>}:events", Session(name="cam", session_id="lsn-1"))


class Trials:
    """With the settings of one worker."""

    def __init__(self, url: str) -> None:
        # Keeping unread entries needs commands besides.
        stream = StreamSettings(keep_unread=True, max_length=1000)
        self.settings = Settings(redis=RedisSettings.model_validate({"url": url}), stream=stream)
        self.lines: list[Line] = []

    async def run(self) -> list[Line]:
        """What is told of one."""
        self.lines = []
        link = RedisLink(self.settings.redis, Secrets())
        try:
            await try_out(link, self.settings, KEYS, self.tell)
        finally:
            await link.aclose()
        return self.lines

    def tell(self, line: Line) -> None:
        """Hears it."""
        self.lines.append(line)


async def test_each_command_that_is_not_permitted_is_named(redis_server: RedisServer, redis: Redis) -> None:
    """All that the README grants, one by one; and nothing is left behind by any of it."""
    rules = rules_of(WORKER, FACTS, KEEPING)
    trials = Trials(redis_server.url.replace("://", f"://{WORKER}:{WORD}@"))
    unheard = []
    for command in sorted(commands_of(WORKER, KEEPING)):
        await asked(redis_server, "ACL", "SETUSER", WORKER, "reset", *(rule for rule in rules if rule != f"+{command}"))
        told = [line for line in await trials.run() if line.check == "redis.permissions"]
        if [line.level for line in told] != [Level.FAULT] or f"+{command} " not in f"{told[0].remedy} ".replace(
            ";", " "
        ):
            unheard.append((command, told))
    assert unheard == []
    assert [key for key in await redis.keys("*") if await redis.pttl(key) < 0] == []


async def test_every_key_that_is_made_has_an_end(redis_server: RedisServer) -> None:
    """At the moment when the commit has landed: whoever kills the doctor then leaves nothing for ever."""
    seen: dict[str, Any] = {}

    class Looking(Trials):
        def tell(self, line: Line) -> None:
            super().tell(line)
            if line.check == "redis.commit":
                with blocking.Redis.from_url(redis_server.url, decode_responses=True) as client:
                    seen.update({str(key): client.pttl(key) for key in client.scan_iter()})

    lines = await Looking(redis_server.url).run()
    assert {line.level for line in lines} == {Level.OK}
    assert len(seen) >= 4
    assert all(":doctor:" in key and 0 < left <= 60_000 for key, left in seen.items()), seen
    with blocking.Redis.from_url(redis_server.url) as client:
        assert client.dbsize() == 0


@pytest.mark.parametrize("hangs_up", [False, True])
async def test_a_limit_below_a_batch_is_told(redis_server: RedisServer, hangs_up: bool) -> None:
    """Of arguments and of bytes, in the server's own words, or by a connection that is cut."""
    for limits, words in (({"max_arguments": 1_000}, "arguments"), ({"max_request_bytes": 300_000}, "bytes")):
        async with managed_redis(redis_server.port, hangs_up=hangs_up, **limits) as service:
            lines = await Trials(service.url).run()
        (line,) = (one for one in lines if one.check == "redis.limits")
        assert line.level is Level.WARN
        assert words in line.detail
    with blocking.Redis.from_url(redis_server.url) as client:
        assert client.dbsize() == 0


async def test_a_connection_that_breaks_in_the_middle_leaves_nothing_for_ever(redis_server: RedisServer) -> None:
    """The reply to a write is lost: what was written is removed, or ends."""
    async with managed_redis(redis_server.port) as service:
        service.lose_reply_to(b"XADD")
        with pytest.raises(SinkFault):
            await Trials(service.url).run()
        assert service.lost == 1
    with blocking.Redis.from_url(redis_server.url) as client:
        assert [key for key in client.scan_iter() if client.pttl(key) < 0] == []
