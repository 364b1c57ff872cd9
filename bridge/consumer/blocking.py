"""The consumer for threads: redis-py's ordinary client around the core."""

from __future__ import annotations

import contextlib
import queue
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from types import FrameType, TracebackType
from typing import Any, Self, TypeVar

import redis

from bridge.consumer.clients import Client, open_client, place_of
from bridge.consumer.core.calls import Call, Pause, Program
from bridge.consumer.core.entries import Entry
from bridge.consumer.core.faults import ConsumerError
from bridge.consumer.core.limits import Limits
from bridge.consumer.membership import Membership, Status, membership

__all__ = ["Consumer"]

T = TypeVar("T")


class Consumer:
    """A member of a group that reads one stream of the bridge. Start as many as you like, anywhere, at any time.

    ::

        with Consumer("redis://localhost:6379", "lens:{camera-1}:events", "my-service") as consumer:
            consumer.stop_on_signals()
            for entry in consumer:      # acknowledged when the loop asks for the next one
                work(entry)

    ``source`` is an address as in the bridge's ``redis.url`` (``redis://``, ``rediss://``, ``unix://``,
    ``redis+sentinel://host,host/service``, ``redis+cluster://host,host``); user and password in it are those of the
    servers of data. Or it is a client of redis-py, with certificates of its own, say, or a password for the Sentinels:
    one that answers in bytes, tries nothing again by itself, and waits longer than ``limits.block_seconds``.

    ``in_order``: one member at a time works on the stream, entry after entry; when it dies the next one goes on where
    it stood. Else all members work side by side, and entries of one session may overtake each other.

    ``name`` tells members apart; without one it is made of host, process and chance.

    An exception that leaves the ``with`` block gives the entry in hand back as failed: it comes again, alone, to this
    member or another one, and goes to the dead letters (`dead_letters`) after ``limits.max_deliveries``. To go on after
    a failure, tell of it: ``consumer.fail(error, entry)``. A ``break`` acknowledges nothing.

    Outages of Redis are waited out. Raises ConsumerError for what only a person can mend. Iterate in one thread.
    """

    def __init__(
        self,
        source: str | Client,
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
        self._client: Client | None = None
        self._beside: Sequence[redis.Redis] = ()
        self._stops: queue.SimpleQueue[None] = queue.SimpleQueue()  # an Event may be set in no signal handler
        self._done = threading.Event()
        self._beating: threading.Thread | None = None
        self._broken: BaseException | None = None
        self._out: list[Entry] = []
        self._managed = False

    @property
    def dead_letters(self) -> str:
        """The key of the stream with what could not be worked on: the entry's fields, then `reason` (`failed`,
        `abandoned` by members that died, `foreign`: not written by a bridge), `error` (the exception's type), `detail`,
        `entry` (its entry id), `deliveries`, `group`, `member`."""
        return self._membership.dead_letters

    def __iter__(self) -> Iterator[Entry]:
        """Entry after entry, until a stop; each is acknowledged when the next one is asked for."""
        for batch in self._batches(1):
            yield from batch

    def batches(self, size: int = 100) -> Iterator[list[Entry]]:
        """Up to ``size`` entries at a time, acknowledged together when the next ones are asked for.

        What is delivered again comes alone: a poisonous entry takes no others along.
        """
        return self._batches(size)

    def ack(self, *entries: Entry) -> None:
        """Acknowledge these now, and not when the next ones are asked for."""
        self._run(self._member.acknowledge(entries))

    def fail(self, error: BaseException, *entries: Entry) -> None:
        """Their work failed: they come again after ``limits.retry_seconds``, or go to the dead letters."""
        self._run(self._member.fail(entries, error))

    def stop(self) -> None:
        """Let the loop end behind the entry that is being worked on. From any thread, or a signal handler."""
        self._member.stop()
        self._stops.put(None)

    def stop_on_signals(self, *signals: signal.Signals) -> None:
        """`stop` on these, without any on SIGTERM and SIGINT. A second one ends the process. In the main thread."""

        def stop(number: int, frame: FrameType | None) -> None:
            signal.signal(number, signal.SIG_DFL)
            self.stop()

        for one in signals or (signal.SIGTERM, signal.SIGINT):
            signal.signal(one, stop)

    def status(self) -> Status:
        """How group and member stand: one request. Raises ConsumerError."""
        return self._run(self._membership.status())

    def close(self) -> None:
        """Give back what is in hand and leave the group. A ``with`` block does it by itself."""
        self._end_beating()
        if self._client is not None:
            with contextlib.suppress(redis.RedisError, redis.exceptions.RedisClusterException, OSError, ConsumerError):
                self._run(self._member.leave())
            if isinstance(self._source, str):
                for one in (self._client, *self._beside):
                    one.close()
            self._client = None

    def __enter__(self) -> Self:
        self._managed = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, Exception) and self._out and self._client is not None:
            with contextlib.suppress(redis.RedisError, redis.exceptions.RedisClusterException, OSError, ConsumerError):
                self.fail(error, *self._out)
        self.close()

    def _batches(self, size: int) -> Iterator[list[Entry]]:
        try:
            while batch := self._run(self._member.next(size)):
                self._begin_beating()
                self._out = batch
                yield batch
                self._run(self._member.acknowledge(batch))
                self._out = []
        finally:
            if not self._managed:
                self.close()

    def _run(self, program: Program[T]) -> T:
        """Do what the core asks for, until it is done."""
        reply: Any = None
        error: Exception | None = None
        if self._broken is not None:
            raise self._broken
        while True:
            try:
                request = program.throw(error) if error is not None else program.send(reply)
            except StopIteration as done:
                result: T = done.value
                return result
            reply = error = None
            match request:
                case Pause(seconds, through_stop):
                    time.sleep(seconds) if through_stop else self._wait(seconds)
                case Call(words):
                    try:
                        reply = self._call(words)
                    except (redis.RedisError, redis.exceptions.RedisClusterException, OSError) as caught:
                        error = caught

    def _wait(self, seconds: float) -> None:
        with contextlib.suppress(queue.Empty):
            self._stops.get(timeout=seconds)
            self._stops.put(None)  # whoever waits after this is not to wait either

    def _call(self, words: tuple[Any, ...]) -> Any:
        if self._client is None:
            given = self._source
            self._client, self._beside = open_client(given, self._limits) if isinstance(given, str) else (given, ())
        if not isinstance(self._client, redis.RedisCluster):
            try:
                return self._client.execute_command(*words)  # type: ignore[no-untyped-call]
            except (redis.ConnectionError, redis.TimeoutError):
                self._client.connection_pool.disconnect(inuse_connections=False)  # the next one asks the Sentinels anew
                raise
        node = self._client.get_node_from_key(self._membership.stream)  # type: ignore[no-untyped-call]
        if node is None:
            self._client.nodes_manager.initialize()
            raise redis.ConnectionError("nobody serves the slot of the stream")
        return self._client.execute_command(*words, target_nodes=node)  # type: ignore[no-untyped-call]

    def _begin_beating(self) -> None:
        if self._beating is None:
            self._done.clear()
            self._beating = threading.Thread(
                target=self._beat, name=f"signs of life of {self._member.name}", daemon=True
            )
            self._beating.start()

    def _end_beating(self) -> None:
        self._done.set()
        if self._beating is not None:
            self._beating.join()
            self._beating = None

    def _beat(self) -> None:
        while not self._done.wait(self._member.beat_seconds):
            try:
                self._run(self._member.beat())
            except BaseException as error:
                self._broken = error  # told by the loop
                return
