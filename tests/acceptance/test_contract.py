"""What a bad night leaves in Redis, entry by entry, against the schemas that consumers are given."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

from redis.asyncio import Redis

from bridge.contract.messages import GAP_REASONS, MESSAGES
from bridge.lab.simulator import IdStyle, Poisoning, Profile, SimulatedSession
from bridge.lab.simulator.lens.switches import ChunkShape, UnknownCursorRule
from bridge.model.labels import DeadLetterReason
from tests.support.contract import Judged, judged
from tests.support.managed_redis import UNLOVED, ManagedRedis, managed_redis
from tests.support.steering import steer
from tests.support.worker import Worker, until
from tests.support.worker_rig import Rig, keys_of

LARGEST_BYTES = 65_536
SHARED, SHARED_LETTERS = "lens:{strict}:events", "lens:{strict}:dead-letter"
UNICODE_ID, UNSENDABLE_ID = "zażółć\u2028", "a\x0bb"


class Night:
    """The sessions of one worker, and all that was found in Redis so far: some of it is lost on the way."""

    def __init__(self, rig: Rig, service: ManagedRedis) -> None:
        self.rig = rig
        self.found: dict[tuple[bytes, bytes, bytes], tuple[dict[bytes, bytes], Judged]] = {}
        names = ("garbage", "keys", "noids", "unknown", "unsendable", "moved", "ended", "lost")
        self.sessions = {name: rig.simulator.create_session(name) for name in names}
        self.worker: Worker = rig.worker(
            *self.sessions.values(),
            redis__url=service.url,
            source__max_event_bytes=LARGEST_BYTES,
            stream__max_dead_letter_bytes=LARGEST_BYTES // 2,
            events__exclude="noise.*",
        )

    def __getitem__(self, name: str) -> SimulatedSession:
        return self.sessions[name]

    async def collect(self) -> None:
        """Take in what stands in Redis now."""
        client: Redis = self.rig.client
        async for key in client.scan_iter("lens:*", _type="stream"):
            for entry, fields in await self.rig.raw_entries(key):
                at = (key, entry, fields[b"id"])  # an entry id may come again after a rollback
                if at not in self.found:
                    self.found[at] = (fields, judged(fields, letter=key.endswith(b":dead-letter")))
                    assert self.found[at][1].broken == ()

    async def marked(self, name: str, reason: str) -> None:
        """Until a marker of this session says so."""
        key = keys_of(self[name]).events.encode()

        async def stands() -> bool:
            await self.collect()
            return any(at[0] == key and told.reason == reason for at, (_, told) in self.found.items())

        await until(stands, f"{name} has a marker {reason}")

    async def lettered(self, name: str, letters: int) -> None:
        """Until so many dead letters stand there."""

        async def set_aside() -> bool:
            return int(await self.rig.client.xlen(keys_of(self[name]).dead_letter)) >= letters

        await until(set_aside, f"{name} has {letters} dead letters")


async def test_whatever_a_bad_night_writes_keeps_the_contract(own_rig: Rig) -> None:
    """Every reason that a marker or a dead letter can have was written by a real worker, and every field was there."""
    async with managed_redis(own_rig.server.port) as service:
        night = Night(own_rig, service)
        night["noids"].change(ids=False)
        night["lost"].change(chunk_shape=ChunkShape.COALESCE)
        for session in night.sessions.values():
            session.generate(5)
        await night.worker.start()
        await asyncio.gather(*(own_rig.reaches(session, 5) for session in night.sessions.values()))
        await _what_servers_send(night)
        await _what_servers_forget(night)
        await _what_people_do(night)
        await _what_strictness_refuses(night)
        await night.collect()
        await _what_redis_forgets(night)
    await night.collect()
    print(Counter((told.message, told.reason) for _, told in night.found.values()))
    written = [fields for fields, _ in night.found.values()]
    seen = {told.message: {one.reason for _, one in night.found.values() if one.message == told.message}
            for _, told in night.found.values()}  # fmt: skip
    assert seen.keys() == set(MESSAGES)
    assert seen["gap"] == set(GAP_REASONS)
    assert seen["deadLetter"] == {one.value for one in DeadLetterReason}
    assert {name for fields in written for name in fields} >= {
        b"name",
        b"event",
        b"dead_letter",
        b"truncated",
        b"ce_id",
    }
    assert {UNICODE_ID, UNSENDABLE_ID, "server-bridge-gap-7"} <= {fields[b"id"].decode() for fields in written}


async def _what_servers_send(night: Night) -> None:
    """Garbage of every kind, what is too large, what Redis refuses, odd ids, names and types."""
    garbage, keys, rig = night["garbage"], night["keys"], night.rig
    Poisoning(size_bytes=3 * LARGEST_BYTES).apply(garbage)
    garbage.emit(b'{"type": "t", "bytes": "\xff\xfe"}')
    garbage.emit({"type": "t", "is": UNLOVED.decode()})
    await night.lettered("garbage", 8)
    for id in ("8", UNICODE_ID, "bridge-gap-7"):
        keys.emit({"type": "bridge.gap", "is": "an event"}, id=id)
    keys.emit({"type": "t", "n": 1}, id="twice")
    keys.emit({"type": "t", "n": 2}, id="twice")
    keys.emit({"type": "t", "n": 3}, id="between")
    keys.emit({"type": "t", "n": 4}, id="twice")
    keys.emit({"type": "noise.fan"})
    keys.change(event_name="named-ż", id_style=IdStyle.UNICODE, ids_on_control_frames=True)
    keys.generate(5, profile=Profile.MACHINE_STATE)
    keys.change(event_name=None, ids=False)
    keys.generate(5)
    await rig.reaches(keys, 5 + 7 + 10)


async def _what_servers_forget(night: Night) -> None:
    """Connections without a cursor, cursors that are refused or cannot be sent, and a session that is over."""
    unknown, unsendable = night["unknown"], night["unsendable"]
    night["noids"].drop()
    unknown.change(unknown_cursor=UnknownCursorRule.REFUSE)
    unknown.forget()
    unknown.drop()
    unsendable.emit({"type": "t"}, id=UNSENDABLE_ID)
    await night.rig.reaches(unsendable, 6)
    unsendable.drop()
    night["ended"].destroy()
    await night.marked("noids", "no_cursor")
    await night.marked("unknown", "cursor_unknown")
    await night.marked("unsendable", "cursor_unsendable")
    await night.marked("ended", "unknown")


async def _what_people_do(night: Night) -> None:
    """Move a place to wherever that goes, publish a dead letter after all, and kill a worker meanwhile."""
    moved, garbage = night["moved"], night["garbage"]
    named: dict[str, Any] = {"sessions": ",".join(night.sessions)}
    for to in (("--to-start",), ("--to", "3"), ("--to-live",)):
        await steer(night.rig, "sessions", "rewind", moved.session_id, *to, **named)
    await night.worker.kill()
    await night.worker.start()
    moved.generate(1)
    await night.rig.reaches(moved, 6)
    letters = await night.rig.raw_entries(keys_of(garbage).dead_letter)
    (rejected,) = [entry.decode() for entry, fields in letters if fields[b"reason"] == b"rejected"]
    await steer(night.rig, "dead-letters", "replay", rejected, **named)
    await night.marked("moved", "rewound")


async def _what_strictness_refuses(night: Night) -> None:
    """Two sessions with names of their own, in one stream of CloudEvents and beside one stream of dead letters."""
    rig = night.rig
    sessions = [rig.simulator.create_session(f"lsn-{n}") for n in range(2)]
    listed = [f"camera-{n}={one.session_id}" for n, one in enumerate(sessions)]
    worker = await rig.worker(
        *listed, stream__key=SHARED, events__strict_json=True, stream__format="cloudevents"
    ).start()
    for n, session in enumerate(sessions):
        session.emit(b'{"type": "t", "x": NaN}' if n else b'{"type": "t", "x": "\xff"}')
        session.generate(3)

    async def all_there() -> bool:
        counts = (await rig.client.xlen(SHARED), await rig.client.xlen(SHARED_LETTERS))
        return tuple(map(int, counts)) == (6, 2)

    await until(all_there, "three events and one letter of each")
    worker.terminate()
    assert await worker.exit_code() == 0


async def _what_redis_forgets(night: Night) -> None:
    """What came after a snapshot, and is not served again; then everything."""
    rig, lost = night.rig, night["lost"]
    lost.generate(1)
    await rig.reaches(lost, 6)
    await rig.client.save()
    lost.generate(20)  # in one chunk, by column: the first of a connection never is
    await rig.reaches(lost, 26)
    await night.collect()
    await rig.server.kill()
    lost.forget()
    await rig.client.connection_pool.disconnect()
    await rig.server.start()
    lost.play(Profile.SIZED, rate=20)
    await night.marked("lost", "numbers_lost")
    await rig.client.flushall()
    await night.marked("lost", "state_lost")
    lost.pause()
