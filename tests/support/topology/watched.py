"""A primary with two replicas, and three Sentinels that watch it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from types import TracebackType
from typing import Any, Self

from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from bridge.lab.redis_server import RedisServer
from tests.support.worker import until

__all__ = ["SERVICE", "Watched"]

SERVICE = "the-primary"
NODES, SENTINELS, QUORUM = 3, 3, 2
# What Sentinels wait for by their own constants: two seconds, ten, and fifteen.
HASTE = ("PUBLISH-PERIOD", "200", "INFO-PERIOD", "500", "MIN-LINK-RECONNECT-PERIOD", "500")
WORD = "a-word-of-the-tests"
# Who comes as whom, so that some can be kept out and others let in.
USERS = f"""\
user insider on >{WORD} ~* &* +@all
user worker on >{WORD} ~* &* +@all
user operator on >{WORD} ~* &* +@all
user default off
masteruser insider
masterauth {WORD}
"""


class Watched:
    """An async context manager; it is whole when it opens. ``arguments`` are of the servers of data.

    ``hasty`` Sentinels tell each other in a fifth of a second what takes them two to ten by their own constants.
    """

    def __init__(self, *, down_after_ms: int = 1000, hasty: bool = True, arguments: Sequence[str] = ()) -> None:
        self.nodes: list[RedisServer] = []
        self.sentinels: list[RedisServer] = []
        self._down_after_ms = down_after_ms
        self._hasty = hasty
        self._frozen: set[int] = set()
        self._arguments = arguments
        self._stack = AsyncExitStack()

    @property
    def url(self) -> str:
        """What a worker is told."""
        places = ",".join(f"127.0.0.1:{one.port}" for one in self.sentinels)
        return f"redis+sentinel://worker:{WORD}@{places}/{SERVICE}"

    async def __aenter__(self) -> Self:
        first = await self._started(USERS)
        replica = f"{USERS}replicaof 127.0.0.1 {first.port}\n"
        self.nodes = [first, *[await self._started(replica) for _ in range(NODES - 1)]]
        await until(self._in_sync, "the replicas are in sync")  # a Sentinel looks for them every ten seconds only
        self.sentinels = [
            await self._stack.enter_async_context(
                RedisServer(arguments=["--sentinel"], configuration=self._watch(first))
            )
            for _ in range(SENTINELS)
        ]
        if self._hasty:
            for sentinel in self.sentinels:
                with suppress(ResponseError):  # before Redis 7.0 they take their time
                    await asked(sentinel, "SENTINEL", "DEBUG", *HASTE)
        await self.whole()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for one in (*self.nodes, *self.sentinels):
            if one.running:
                one.resume()
        await self._stack.aclose()

    async def primary(self) -> RedisServer:
        """The one that most Sentinels name."""
        named: list[int] = []
        for sentinel in self.sentinels:
            with suppress(RedisError, OSError):
                reply = await asked(sentinel, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)
                named.append(int(reply[1]))
        port = max(set(named), key=named.count)
        return next(one for one in self.nodes if one.port == port)

    async def fail_over(self, chance: random.Random | None = None) -> None:
        """As an operator asks for it, again and again where it is refused or abandoned; until it is done."""
        sentinel = (chance or random).choice(self.sentinels)
        done = asyncio.create_task(self.another_takes_over(await self.primary()))
        while not done.done():
            with suppress(RedisError):  # one is under way, or it has not heard of the replicas just now
                await asked(sentinel, "SENTINEL", "FAILOVER", SERVICE)
            await asyncio.wait({done}, timeout=1.0)
        done.result()

    async def cut_connections(self) -> None:
        """Every client of every server of data loses its connection."""
        awake = [node for node in self.nodes if node.running and node.pid not in self._frozen]
        kills = (self._at(node, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes") for node in awake)
        await asyncio.gather(*kills, return_exceptions=True)

    def freeze(self, node: RedisServer) -> None:
        """It answers nobody, and knows nothing of the time that passes."""
        self._frozen.add(node.pid)
        node.pause()

    async def cut_off(self, node: RedisServer) -> None:
        """Sentinels and replicas do not reach it any more; clients do, and it goes on as if nothing were amiss."""
        await self._at(node, "ACL", "SETUSER", "insider", "off")
        with suppress(RedisError):  # an error where none is there
            await self._at(node, "CLIENT", "KILL", "USER", "insider")

    async def let_in(self, node: RedisServer) -> None:
        """The end of `cut_off`."""

        async def open_again() -> bool:
            with suppress(RedisError, OSError):  # a server that is demoted just now hangs up on everybody
                return bool(await self._at(node, "ACL", "SETUSER", "insider", "on") == b"OK")
            return False

        await until(open_again, "it lets in whom it kept out")

    async def whole(self) -> None:
        """Bring back what is away, and wait until all agree again."""
        self._frozen.clear()
        for one in (*self.nodes, *self.sentinels):
            if one.running:
                one.resume()
            else:
                await one.start()
        for node in self.nodes:
            await self.let_in(node)
        await until(self._agreed, "one primary, two replicas in sync, and all Sentinels of one mind", every=0.1)

    async def another_takes_over(self, than: RedisServer) -> None:
        """Wait until most Sentinels name another server than this one, and it takes writes."""

        async def taken() -> bool:
            with suppress(RedisError, OSError):
                named = await self.primary()
                return named is not than and bool(await self._at(named, "SET", "written-again", "1") == b"OK")
            return False

        await until(taken, "another server takes over")

    async def _at(self, node: RedisServer, *command: str) -> Any:
        return await asked(node, *command, user="operator")

    async def _started(self, configuration: str) -> RedisServer:
        return await self._stack.enter_async_context(
            RedisServer(configuration=configuration, arguments=[*self._arguments])
        )

    def _watch(self, primary: RedisServer) -> str:
        lines = [
            f"monitor {SERVICE} 127.0.0.1 {primary.port} {QUORUM}",
            f"down-after-milliseconds {SERVICE} {self._down_after_ms}",
            f"failover-timeout {SERVICE} 3000",
            f"parallel-syncs {SERVICE} 2",
            f"auth-user {SERVICE} insider",
            f"auth-pass {SERVICE} {WORD}",
        ]
        return "\n".join(f"sentinel {line}" for line in lines) + "\n"

    async def _in_sync(self) -> bool:
        roles = [await self._at(node, "ROLE") for node in self.nodes]
        return [role[0] for role in roles].count(b"master") == 1 and all(
            role[3] == b"connected" for role in roles if role[0] == b"slave"
        )

    async def _agreed(self) -> bool:
        try:
            primaries = {
                tuple(await asked(one, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)) for one in self.sentinels
            }
            views = [_told(await asked(one, "SENTINEL", "MASTER", SERVICE)) for one in self.sentinels]
            port = (await self.primary()).port
            roles = [await self._at(node, "ROLE") for node in self.nodes]
            in_sync = await self._in_sync()
        except (RedisError, OSError):
            return False
        return (
            len(primaries) == 1
            and all(
                (view["flags"], view["num-slaves"], view["num-other-sentinels"]) == ("master", "2", "2")
                for view in views
            )
            and in_sync
            and all((role[0] == b"master") == (node.port == port) for node, role in zip(self.nodes, roles, strict=True))
            and all(role[2] == port for role in roles if role[0] == b"slave")
        )


async def asked(server: RedisServer, *command: str, user: str = "") -> Any:
    """One command on a connection of its own, answered as it is; not for long."""
    options: dict[str, Any] = {"socket_timeout": 2, "socket_connect_timeout": 2, "retry": None, "protocol": 2}
    if user:
        options |= {"username": user, "password": WORD}
    async with Redis(port=server.port, **options) as client:
        client.response_callbacks.clear()
        return await client.execute_command(*command)  # type: ignore[no-untyped-call]


def _told(reply: list[bytes]) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in zip(reply[::2], reply[1::2], strict=True)}
