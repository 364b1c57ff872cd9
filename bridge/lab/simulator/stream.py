"""One open connection of the consumer endpoint: writes frames until one side has enough."""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import suppress
from typing import assert_never

from aiohttp.abc import AbstractStreamWriter

from bridge.lab.simulator.answers import spelled
from bridge.lab.simulator.lens.connection import Connection
from bridge.lab.simulator.lens.frames import comment, control_id, encode, frame, retry
from bridge.lab.simulator.lens.session import SimulatedSession
from bridge.lab.simulator.lens.switches import Closing, SharingRule
from bridge.lab.simulator.wire import Body

__all__ = ["Stream"]

_MAX_EVENTS, _MAX_BYTES = 1024, 256 * 1024  # of one write: many small events for speed, few large ones for memory
_LINGER_ZERO = struct.pack("ii", 1, 0)  # closing sends RST instead of FIN


def _reset(transport: asyncio.Transport) -> None:
    """Close with a TCP RST."""
    sock = transport.get_extra_info("socket")
    if sock is not None:
        with suppress(OSError):  # it is closed already: the client was faster, and nobody has heard of it yet
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
    transport.abort()


class Stream:
    """``position`` is that of the next frame to send."""

    def __init__(
        self,
        session: SimulatedSession,
        connection: Connection,
        body: Body,
        transport: asyncio.Transport,
        writer: AbstractStreamWriter,
        position: int,
    ) -> None:
        self.position = position
        self._session = session
        self._connection = connection
        self._body = body
        self._transport = transport
        self._writer = writer
        self._closing: Closing | None = None
        self._over = False
        self._waiter: asyncio.Future[None] | None = None
        self._control_frames = 0
        self._ready_at: float | None = None  # loop time when the next event may go, while events are delayed
        self._written_at = self._event_at = 0.0  # loop time of the last byte, of the last lens event

    @property
    def caught_up(self) -> bool:
        """Everything that was emitted is written."""
        return self._next_position() >= self._session.history.end

    async def run(self) -> None:
        """Serve the connection to its end."""
        self._event_at = asyncio.get_running_loop().time()
        try:
            await self._open()
            while not self._over:
                await self._step()
        except ConnectionError:
            self._connection.finish("client")

    def wake(self) -> None:
        """Look again for something to do."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def close(self, closing: Closing) -> None:
        """Close soon; RESET and CUT at once, also while the client does not read."""
        if closing is Closing.RESET or closing is Closing.CUT:
            self._connection.finish(closing)
            self._over = True
            if closing is Closing.RESET:
                _reset(self._transport)
            else:
                self._transport.close()
        else:
            self._closing = closing
        self.wake()

    def stop(self) -> None:
        """The simulator stops: no word to the client, nothing left behind."""
        self._connection.finish("stopped")
        self._over = True
        self._transport.abort()
        self.wake()

    async def _step(self) -> None:
        session = self._session
        if self._closing is not None:
            await self._finish(self._closing)
        elif session.silent:
            await self._wait(None)
        elif await self._drop_due():
            pass
        elif not self.caught_up:
            await self._send_events()
        elif session.destroyed:
            await self._finish(session.switches.destroy_closing)
        else:
            await self._idle()

    async def _open(self) -> None:
        switches, connection = self._session.switches, self._connection
        start: dict[str, object] = {"session_id": connection.session_id, "reader_id": connection.reader_id}
        head = ("\ufeff".encode() if switches.bom else b"") + retry(switches)
        if switches.start_frame:
            head += self._control_frame("sse.stream.start", start)
        if head:
            await self._write([head])

    async def _send_events(self) -> None:
        session, switches = self._session, self._session.switches
        if switches.event_delay_seconds and await self._delayed(switches.event_delay_seconds):
            return
        self._ready_at = None
        position = max(self._next_position(), session.history.oldest)
        frames = session.history.take(position, self._allowance(), _MAX_BYTES)
        self._connection.skipped += position - self._next_position()
        self._advance(position + len(frames))
        if not frames:
            return
        self._connection.events += len(frames)
        if session.drop_plan is not None:
            session.drop_plan.sent(len(frames))
        await self._write(frames)
        self._event_at = self._written_at
        session.notify()
        if switches.sharing is SharingRule.SPLIT:
            await asyncio.sleep(0)  # the other reader's turn

    async def _delayed(self, seconds: float) -> bool:
        """Wait before the next event; tells whether to look again, since anything may have changed meanwhile."""
        now = asyncio.get_running_loop().time()
        if self._ready_at is None:
            self._ready_at = now + seconds
        if now >= self._ready_at:
            return False
        await self._wait(self._ready_at)
        return True

    def _allowance(self) -> int:
        session = self._session
        alone = session.switches.event_delay_seconds > 0 or (
            session.switches.sharing is SharingRule.SPLIT and len(session.readers) > 1
        )
        most = 1 if alone else _MAX_EVENTS
        plan = session.drop_plan
        return most if plan is None or plan.left is None else min(most, plan.left)

    async def _drop_due(self) -> bool:
        """Carry out the drop plan when its count has run out; tells whether this step is used up by it."""
        plan = self._session.drop_plan
        if plan is None or plan.left is None or plan.left > 0:
            return False
        if plan.mid_frame:
            frames = self._session.history.take(self._next_position(), 1, _MAX_BYTES)
            if not frames:
                return False
            plan.dropped()
            await self._write([frames[0][: len(frames[0]) // 2]])
        else:
            plan.dropped()
        await self._finish(plan.closing)
        return True

    async def _idle(self) -> None:
        switches = self._session.switches
        now = asyncio.get_running_loop().time()
        deadlines = []
        if switches.idle_closing_seconds:
            deadlines.append(self._event_at + switches.idle_closing_seconds)
            if now >= deadlines[0]:
                await self._finish(switches.idle_closing)
                return
        if switches.heartbeat_interval_seconds:
            deadlines.append(self._written_at + switches.heartbeat_interval_seconds)
            if now >= deadlines[-1]:
                await self._heartbeat()
                return
        await self._wait(min(deadlines, default=None))

    async def _heartbeat(self) -> None:
        session, switches = self._session, self._session.switches
        self._connection.heartbeats += 1
        if switches.heartbeat_comments:
            await self._write([comment("heartbeat", switches)])
            return
        counters = {
            "session_id": session.session_id,
            "session_status": spelled(session.status, switches.status_spelling),
            "num_messages": session.history.end,
            "num_bytes": session.history.bytes_emitted,
            "message_timeout": switches.heartbeat_interval_seconds * self._connection.heartbeats,
        }
        await self._write([self._control_frame("sse.stream.heartbeat", counters)])

    async def _finish(self, closing: Closing) -> None:
        match closing:
            case Closing.RESET | Closing.CUT:
                self.close(closing)
                return
            case Closing.END:
                await self._write([self._control_frame("sse.stream.end", None)])
            case Closing.CLEAN:
                pass
            case _:
                assert_never(closing)
        self._transport.write(self._body.rest())  # the last, empty chunk comes from aiohttp
        self._connection.finish(closing)
        self._over = True

    def _control_frame(self, type_: str, event_data: dict[str, object] | None) -> bytes:
        switches = self._session.switches
        self._control_frames += 1
        identity = None
        if switches.ids_on_control_frames:
            identity = control_id(self._connection.reader_id or "", self._control_frames)
        body = {"type": type_} if event_data is None else {"type": type_, "event_data": event_data}
        return frame(encode(body), identity, switches)

    def _next_position(self) -> int:
        session = self._session
        return session.shared_position if session.switches.sharing is SharingRule.SPLIT else self.position

    def _advance(self, position: int) -> None:
        self.position = self._session.shared_position = position

    async def _write(self, frames: list[bytes]) -> None:
        for count, piece in enumerate(self._body.writes(frames, self._session.switches)):
            if count:
                await asyncio.sleep(0)  # each piece is a TCP write of its own
            if self._transport.is_closing():
                raise ConnectionResetError("the client left")
            self._transport.write(piece)
        self._written_at = asyncio.get_running_loop().time()
        await self._writer.drain()

    async def _wait(self, until: float | None) -> None:
        loop = asyncio.get_running_loop()
        self._waiter = loop.create_future()
        timer = None if until is None else loop.call_at(until, self.wake)
        try:
            await self._waiter
        finally:
            self._waiter = None
            if timer is not None:
                timer.cancel()
