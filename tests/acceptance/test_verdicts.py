"""The judge itself: `verify` says no to a stream that was tampered with, and yes to the one it came from."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from tests.acceptance.rig import Rig, keys_of
from tests.acceptance.worker import ROOT, python_environment

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
    for tamper in (_holed, _swapped, _repeated_under_another_number, _doubled):
        await rig.client.delete(key)
        for _, fields in tamper(entries):
            await rig.client.xadd(key, fields)
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
