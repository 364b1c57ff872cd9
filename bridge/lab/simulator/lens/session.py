"""One simulated lens session: what it has emitted, who reads it, what is to go wrong."""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, Protocol

from bridge.errors import ConfigurationError
from bridge.lab.simulator.lens.connection import Connection
from bridge.lab.simulator.lens.frames import Poison, as_read, encode, event_id, frame, normalized, poison_data
from bridge.lab.simulator.lens.history import History, RecordEntry
from bridge.lab.simulator.lens.plans import DropPlan, Refusals
from bridge.lab.simulator.lens.profiles import Profile, payload
from bridge.lab.simulator.lens.switches import Closing, Switches, changed_switches

__all__ = ["LensStatus", "OpenStream", "SimulatedSession"]

_TICK_SECONDS = 0.005  # generated events that fall due within this time are emitted together
_MAX_CONNECTIONS_LOGGED = 10_000


class LensStatus(StrEnum):
    """The life of a lens session."""

    REGISTERED = "REGISTERED"
    CREATED = "CREATED"
    STARTING = "STARTING"
    RUNNING = "RUNNING"
    FAILED = "FAILED"
    STALE = "STALE"
    DESTROYED = "DESTROYED"


class OpenStream(Protocol):
    """A connection that reads the session, as the session sees it."""

    position: int
    """Of the next frame to send."""

    @property
    def caught_up(self) -> bool:
        """Everything that was emitted is written."""

    def wake(self) -> None:
        """Look again for something to do."""

    def close(self, closing: Closing) -> None:
        """Close soon; RESET and CUT at once, also while the client does not read."""

    def stop(self) -> None:
        """The simulator stops: no word to the client, nothing left behind."""


class SimulatedSession:
    """Made by `Simulator.create_session`. Not for use from several threads."""

    def __init__(self, session_id: str, switches: Switches, *, lens_id: str, seed: int, api_key: str) -> None:
        self.session_id = session_id
        self.lens_id = lens_id
        self.seed = seed
        self.status = LensStatus.RUNNING
        self.created_at = self.updated_at = time.time()  # Unix seconds
        self.history = History()
        self.connections: deque[Connection] = deque(maxlen=_MAX_CONNECTIONS_LOGGED)
        self.readers: list[OpenStream] = []
        self.peak_readers = 0
        self.refusals = Refusals()
        self.drop_plan: DropPlan | None = None
        self.silent = False
        self.shared_position = 0  # where all readers together stand while `sharing` is `split`
        self.switches = switches
        self.generated = 0
        self.mailbox_outputs = 0  # what no reader gets
        self._common = switches
        self._own: dict[str, object] = {}
        self._api_key = api_key
        self._poisoned = 0
        self._generator: asyncio.Task[None] | None = None
        self._unsilence: asyncio.TimerHandle | None = None
        self._changed = asyncio.Event()

    # What it emits

    def emit(self, event: Mapping[str, Any] | bytes | str, *, id: str | None = None) -> str | None:
        """Emit one lens event, given as a JSON object or as exact data; returns its id.

        ``id`` is used as it is, also while ids are switched off. Raises ConfigurationError if it holds a line end.
        """
        if id is not None and ("\n" in id or "\r" in id):
            raise ConfigurationError(f"id {id!r} holds a line end, which no SSE id can")
        if isinstance(event, Mapping):
            type_ = event.get("type")
            identity = self._add(encode(event), id, type_ if isinstance(type_, str) else None, None)
        else:
            data = event.encode() if isinstance(event, str) else event
            identity = self._add(data, id, _type_of(data), None)
        self._touch()
        return identity

    def emit_raw(self, raw: bytes, *, id: str | None = None, data: bytes | None = None) -> None:
        """Put bytes into the stream as they are, at this place, also on replay.

        They enter the record only with ``data``, which is what a client should take from them, under ``id``.
        """
        if data is not None and self.switches.record:
            self.history.note(id, as_read(data), _type_of(data), None)
        self.history.append(raw, id, self.switches.history_events)
        self._touch()

    def poison(self, kind: Poison, *, size_bytes: int = 9 * 1024 * 1024) -> str | None:
        """Emit an event that a client must survive; ``size_bytes`` is for OVERSIZE. Returns its id."""
        self._poisoned += 1
        data, type_ = poison_data(kind, self._poisoned, size_bytes)
        identity = self._add(data, None, type_, kind.value)
        self._touch()
        return identity

    def generate(self, events: int = 1, *, profile: Profile = Profile.SIZED, event_bytes: int = 250) -> None:
        """Emit events of a profile at once."""
        key = self._api_key if self.switches.echo_key else None
        now = time.time()
        for _ in range(events):
            self.generated += 1
            n = self.generated
            type_, data = payload(profile, seed=self.seed, n=n, timestamp=now, event_bytes=event_bytes, api_key=key)
            self._add(data, None, type_, None)
        self._touch()

    def play(self, profile: Profile, *, rate: float, limit: int | None = None, event_bytes: int = 250) -> None:
        """Generate ``rate`` events per second, until ``limit`` of them, `pause` or the end of the session."""
        self.pause()
        self._generator = asyncio.create_task(
            self._play(profile, rate, limit, event_bytes), name=f"lens {self.session_id}"
        )

    def pause(self) -> None:
        """Stop generating."""
        if self._generator is not None:
            self._generator.cancel()
            self._generator = None

    def destroy(self) -> None:
        """End the session: readers get what is left and are closed as `destroy_closing` says."""
        self.set_status(LensStatus.DESTROYED)

    def set_status(self, status: LensStatus) -> None:
        """Change the status. DESTROYED ends the session; under any other the stream goes on."""
        self.status = status
        if self.destroyed:
            self.pause()
        self._touch()

    @property
    def destroyed(self) -> bool:
        """No more events will come."""
        return self.status is LensStatus.DESTROYED

    @property
    def record(self) -> list[RecordEntry]:
        """Every lens event emitted so far, in order."""
        return self.history.record

    # How it behaves

    def change(self, **switches: object) -> None:
        """Set switches for this session only. Raises ConfigurationError, and then nothing has changed."""
        self.switches = changed_switches(self.switches, switches)
        self._own |= switches
        self._touch()

    def use(self, common: Switches) -> None:
        """Take over the switches of the whole simulator; the session's own still win."""
        self.switches = changed_switches(common, self._own)
        self._common = common
        self._touch()

    def reset_switches(self) -> None:
        """Forget the session's own switches."""
        self._own.clear()
        self.use(self._common)

    # What goes wrong

    def drop(self, closing: Closing = Closing.RESET) -> int:
        """Close all connections now; returns how many there were."""
        for reader in self.readers:
            reader.close(closing)
        return len(self.readers)

    def plan_drops(self, plan: DropPlan) -> None:
        """Close connections as the plan says, in place of an earlier one."""
        self.drop_plan = plan
        self._touch()

    def silence(self, seconds: float | None = None) -> None:
        """Keep connections open and send nothing at all, for some time or until `speak`."""
        self.speak()
        self.silent = True
        if seconds is not None:
            self._unsilence = asyncio.get_running_loop().call_later(seconds, self.speak)

    def speak(self) -> None:
        """End a silence; what was emitted meanwhile is sent."""
        if self._unsilence is not None:
            self._unsilence.cancel()
            self._unsilence = None
        self.silent = False
        self._touch()

    def forget(self, events: int | None = None) -> None:
        """Lose the oldest events of the history, or all of it. The record stays."""
        self.history.forget(events)

    def clear_faults(self) -> None:
        """Nothing goes wrong any more."""
        self.drop_plan = None
        self.refusals.clear()
        self.speak()

    # What others see

    async def wait_for(self, condition: Callable[[], bool], timeout: float = 10.0) -> None:
        """Return when the condition holds; it is looked at after each change. Raises TimeoutError."""
        async with asyncio.timeout(timeout):
            while not condition():
                await self._changed.wait()

    async def wait_connected(self, readers: int = 1, timeout: float = 10.0) -> None:
        """Return when at least so many connections are open."""
        await self.wait_for(lambda: len(self.readers) >= readers, timeout)

    async def wait_disconnected(self, timeout: float = 10.0) -> None:
        """Return when no connection is open."""
        await self.wait_for(lambda: not self.readers, timeout)

    async def wait_caught_up(self, timeout: float = 10.0) -> None:
        """Return when some connection is open and each has all events."""
        await self.wait_for(lambda: bool(self.readers) and all(one.caught_up for one in self.readers), timeout)

    def as_json(self) -> dict[str, object]:
        """Counts, for the control API."""
        return {
            "session_id": self.session_id,
            "lens_id": self.lens_id,
            "status": self.status.value,
            "seed": self.seed,
            "events": self.history.end,
            "generated": self.generated,
            "recorded": len(self.record),
            "bytes": self.history.bytes_emitted,
            "readers": len(self.readers),
            "peak_readers": self.peak_readers,
            "caught_up": all(one.caught_up for one in self.readers),
            "connections": len(self.connections),
            "silent": self.silent,
            "drop_in_events": None if self.drop_plan is None else self.drop_plan.left,
        }

    def join(self, reader: OpenStream) -> None:
        """A connection was opened."""
        if not self.readers:
            self.shared_position = reader.position
        self.readers.append(reader)
        self.peak_readers = max(self.peak_readers, len(self.readers))
        self.notify()

    def leave(self, reader: OpenStream) -> None:
        """A connection is over."""
        self.readers.remove(reader)
        self.notify()

    def notify(self) -> None:
        """Something changed that `wait_for` may look at."""
        self._changed.set()
        self._changed.clear()

    def _add(self, data: bytes, given_id: str | None, type_: str | None, poison: str | None) -> str | None:
        switches = self.switches
        if switches.mailbox_only:
            self.mailbox_outputs += 1
            return None
        if switches.python_repr:
            data, type_, poison = repr(data).encode(), None, poison or Poison.PYTHON_REPR
        data = normalized(data)
        identity = given_id
        if identity is None and switches.ids:
            identity = event_id(switches.id_style, self.session_id, self.history.end + 1)
        if switches.record:
            self.history.note(identity, as_read(data), type_, poison)
        self.history.append(frame(data, identity, switches), identity, switches.history_events)
        return identity

    def _touch(self) -> None:
        self.updated_at = time.time()
        for reader in self.readers:
            reader.wake()
        self.notify()

    async def _play(self, profile: Profile, rate: float, limit: int | None, event_bytes: int) -> None:
        await asyncio.sleep(self.switches.first_result_delay_seconds)
        clock = asyncio.get_running_loop().time
        started, done = clock(), 0
        while limit is None or done < limit:
            due = int((clock() - started) * rate) + 1
            due = due if limit is None else min(due, limit)
            self.generate(due - done, profile=profile, event_bytes=event_bytes)
            done = due
            await asyncio.sleep(max(_TICK_SECONDS, started + done / rate - clock()))


def _type_of(data: bytes) -> str | None:
    try:
        body = json.loads(as_read(data))
    except (ValueError, RecursionError):
        return None
    type_ = body.get("type") if isinstance(body, dict) else None
    return type_ if isinstance(type_, str) else None
