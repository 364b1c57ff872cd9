"""The judge itself: `verify` says no to a stream that was tampered with, and yes to the one it came from."""

from __future__ import annotations

import asyncio
import hashlib
import sys
from typing import Any

from tests.support.worker import ROOT, python_environment
from tests.support.worker_rig import Rig, keys_of

Entries = list[tuple[bytes, dict[Any, Any]]]

EVENTS = 20
YES, NO = 0, 3


def _doubled(entries: Entries) -> Entries:
    return [*entries[:12], entries[3], *entries[12:]]


def _holed(entries: Entries) -> Entries:
    return [*entries[:7], *entries[8:]]


def _swapped(entries: Entries) -> Entries:
    return [*entries[:7], entries[8], entries[7], *entries[9:]]


def _repeated_under_another_number(entries: Entries) -> Entries:
    again = {**entries[3][1], b"seq": entries[-1][1][b"seq"]}
    return [*entries[:-1], (b"", again)]


def _renewed(entries: Entries) -> Entries:
    """An event again with the next number, and all numbers behind it moved."""
    again = {**entries[3][1], b"seq": entries[12][1][b"seq"]}
    moved = [(name, {**fields, b"seq": b"%d" % (int(fields[b"seq"]) + 1)}) for name, fields in entries[12:]]
    return [*entries[:12], (b"", again), *moved]


def _as_a_reuse(entries: Entries) -> Entries:
    """The same under a key that says that other bytes came under an id that was there."""
    renewed = _renewed(entries)
    fields = renewed[12][1]
    fields[b"id"] += b"~" + hashlib.sha256(fields[b"data"]).hexdigest()[:8].encode()
    return renewed


def _retyped(entries: Entries) -> Entries:
    return [*entries[:7], (b"", {**entries[7][1], b"type": b"forged"}), *entries[8:]]


def _marked(entries: Entries) -> Entries:
    """A marker in the place of an event's number."""
    told = {b"id": b"bridge-gap-1", b"type": b"bridge.gap", b"data": b'{"reason":"x","last_id":"","outage_seconds":1}'}
    return [*entries[:7], (b"", {**entries[7][1], **told}), *entries[7:]]


TAMPERS = (_holed, _swapped, _repeated_under_another_number, _renewed, _as_a_reuse, _retyped, _marked, _doubled)


async def test_verify_says_no_to_a_stream_that_was_tampered_with(rig: Rig) -> None:
    """From the entries and the state alone, without the simulator's record; exit codes are the contract."""
    session = rig.simulator.create_session("lsn-judged")
    session.generate(EVENTS)
    worker = await rig.worker(session).start()
    await rig.reaches(session, EVENTS)
    worker.terminate()
    assert await worker.exit_code() == 0
    key = keys_of(session).events
    entries = await rig.raw_entries(key)
    assert await _command_line(rig, session.session_id) == YES
    seq = await rig.seq(session)
    for tamper in TAMPERS:
        tampered = tamper(entries)
        await rig.client.delete(key)
        for _, fields in tampered:
            await rig.client.xadd(key, fields)
        # The state goes along where the numbers do, so that it is not what gives the lie away.
        await rig.client.hset(keys_of(session).state, "seq", str(seq + (tamper in (_renewed, _as_a_reuse))))
        assert not (await rig.verify(session, recorded=False)).ok, tamper.__name__
    assert await _command_line(rig, session.session_id) == NO


async def _command_line(rig: Rig, session_id: str) -> int:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bridge", "verify", "--redis-url", rig.server.url, "--sessions", session_id,
        env=python_environment(), cwd=ROOT, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    output, _ = await process.communicate()
    print(output.decode())
    assert process.returncode is not None
    return process.returncode
