"""The consumer for asyncio: redis-py's client of that kind around the same core."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

import redis
import redis.asyncio

from bridge.consumer.clients import AsyncClient, open_async_client, place_of
from bridge.consumer.core.calls import Call, Pause, Program
from bridge.consumer.core.entries import Entry
from bridge.consumer.core.faults import ConsumerError
from bridge.consumer.core.limits import Limits
from bridge.consumer.membership import Membership, Status, membership

__all__ = ["AsyncConsumer"]

T = TypeVar("T")


class AsyncConsumer:
    """`Consumer` for asyncio: the same arguments, the same promises, the same errors.

    ::

        async with AsyncConsumer("redis://localhost:6379", "lens:{camera-1}:events", "my-service") as consumer:
            consumer.stop_on_signals()
            async for entry in consumer:      # acknowledged when the loop asks for the next one
                await work(entry)

    Signs of life come from a task, so work that blocks the event loop for longer than ``limits.claim_after_seconds``
    is taken for dead. A task that is cancelled gives back what it has in hand when it leaves the ``async with`` block.
    """

    def __init__(
        self,
        source: str | AsyncClient,
        stream: str,
        group: str,
        *,
        name: str = "",
        in_order: bool = False,
        limits: Limits | None = None,
    ) -> None:
        self._membership: Membership = membership(place_of(source), stream, group, name, in_order, limits or Limits())
        self._member = self._membership.member
        self._source, self._limits = source, limits or Limits()
        self._client: AsyncClient | None = None
        self._beside: Sequence[redis.asyncio.Redis] = ()
        self._stopped, self._done = asyncio.Event(), asyncio.Event()
        self._beating: asyncio.Task[None] | None = None
        self._out: list[Entry] = []
        self._managed = False

    @property
    def dead_letters(self) -> str:
        """As `Consumer.dead_letters`."""
        return self._membership.dead_letters

    async def __aiter__(self) -> AsyncIterator[Entry]:
        """Entry after entry, until a stop; each is acknowledged when the next one is asked for."""
        async for batch in self._batches(1):
            for entry in batch:
                yield entry

    def batches(self, size: int = 100) -> AsyncIterator[list[Entry]]:
        """As `Consumer.batches`."""
        return self._batches(size)

    async def ack(self, *entries: Entry) -> None:
        """As `Consumer.ack`."""
        await self._run(self._member.acknowledge(entries))

    async def fail(self, error: BaseException, *entries: Entry) -> None:
        """As `Consumer.fail`."""
        await self._run(self._member.fail(entries, error))

    def stop(self) -> None:
        """As `Consumer.stop`, but in the thread of the event loop only."""
        self._member.stop()
        self._stopped.set()

    def stop_on_signals(self, *signals: signal.Signals) -> None:
        """As `Consumer.stop_on_signals`; while the event loop runs."""
        loop = asyncio.get_running_loop()

        def stop(number: signal.Signals) -> None:
            loop.remove_signal_handler(number)
            self.stop()

        for one in signals or (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(one, stop, one)

    async def status(self) -> Status:
        """As `Consumer.status`."""
        return await self._run(self._membership.status())

    async def close(self) -> None:
        """As `Consumer.close`."""
        await self._end_beating()
        if self._client is not None:
            with contextlib.suppress(redis.RedisError, redis.exceptions.RedisClusterException, OSError, ConsumerError):
                await self._run(self._member.leave())
            if isinstance(self._source, str):
                for one in (self._client, *self._beside):
                    await one.aclose()
            self._client = None

    async def __aenter__(self) -> Self:
        self._managed = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, Exception) and self._out and self._client is not None:
            with contextlib.suppress(redis.RedisError, redis.exceptions.RedisClusterException, OSError, ConsumerError):
                await self.fail(error, *self._out)
        await self.close()

    async def _batches(self, size: int) -> AsyncIterator[list[Entry]]:
        try:
            while batch := await self._run(self._member.next(size)):
                self._begin_beating()
                self._out = batch
                yield batch
                await self._run(self._member.acknowledge(batch))
                self._out = []
        finally:
            if not self._managed:
                await self.close()

    async def _run(self, program: Program[T]) -> T:
        """Do what the core asks for, until it is done."""
        reply: Any = None
        error: Exception | None = None
        if self._beating is not None and self._beating.done() and (broken := self._beating.exception()) is not None:
            raise broken
        while True:
            try:
                request = program.throw(error) if error is not None else program.send(reply)
            except StopIteration as done:
                result: T = done.value
                return result
            reply = error = None
            match request:
                case Pause(seconds, through_stop):
                    await (asyncio.sleep(seconds) if through_stop else _until(self._stopped, seconds))
                case Call(words):
                    try:
                        reply = await self._call(words)
                    except (redis.RedisError, redis.exceptions.RedisClusterException, OSError) as caught:
                        error = caught

    async def _call(self, words: tuple[Any, ...]) -> Any:
        client = self._client
        if client is None:
            given = self._source
            client, self._beside = open_async_client(given, self._limits) if isinstance(given, str) else (given, ())
            self._client = client
        if not isinstance(client, redis.asyncio.RedisCluster):
            try:
                return await client.execute_command(*words)  # type: ignore[no-untyped-call]
            except (redis.ConnectionError, redis.TimeoutError):
                await client.connection_pool.disconnect(inuse_connections=False)  # the next one asks the Sentinels anew
                raise
        await client.initialize()
        node = client.get_node_from_key(self._membership.stream)
        if node is None:
            await client.nodes_manager.initialize()
            raise redis.ConnectionError("nobody serves the slot of the stream")
        return await client.execute_command(*words, target_nodes=node)

    def _begin_beating(self) -> None:
        if self._beating is None:
            self._done.clear()
            self._beating = asyncio.create_task(self._beat(), name=f"signs of life of {self._member.name}")

    async def _end_beating(self) -> None:
        self._done.set()
        if self._beating is not None:
            await asyncio.wait({self._beating})
            self._beating = None

    async def _beat(self) -> None:
        while not await _until(self._done, self._member.beat_seconds):
            await self._run(self._member.beat())


async def _until(event: asyncio.Event, seconds: float) -> bool:
    """Whether it was set within so many seconds."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
    return event.is_set()
