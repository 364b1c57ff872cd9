"""What the bridge is measured against does what it is said to do, and figures of processes are right."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import cast

import pytest

from bridge.lab.redis_server import RedisServer
from tests.benchmarks.contenders import bare_loop
from tests.benchmarks.frames import frame
from tests.benchmarks.processes import cpu_seconds, machine_cpu_seconds
from tests.benchmarks.rig import Rig, source


def fields_in(rig: Rig, stream: str) -> list[dict[bytes, bytes]]:
    """Of every entry, in order."""
    return [fields for _, fields in cast("list[tuple[bytes, dict[bytes, bytes]]]", rig.client.xrange(stream))]


@pytest.mark.parametrize(
    ("events", "data_bytes", "per_chunk"), [(3000, 250, 1), (3000, 250, 128), (40, 64_000, 1), (5, 1_500_000, 1)]
)
def test_the_bare_loop_copies_every_event_byte_for_byte(
    redis_server: RedisServer, tmp_path: Path, events: int, data_bytes: int, per_chunk: int
) -> None:
    """However the socket cuts them, and where one is larger than its buffer."""
    contender = bare_loop()
    rig = Rig(redis_server, tmp_path / "entries.json")
    with source(events=events, data_bytes=data_bytes, per_chunk=per_chunk) as origin:
        rig.measure(contender, origin, events)
        entries = fields_in(rig, contender.streams[0])
    rig.client.close()
    assert [fields[b"id"] for fields in entries] == [b"%d" % number for number in range(1, events + 1)]
    assert [fields[b"seq"] for fields in entries] == [fields[b"id"] for fields in entries]
    expected = frame(1, data_bytes).split(b"\n")[2].removeprefix(b"data: ")
    assert {fields[b"data"] for fields in entries} == {expected}
    assert set(entries[0]) == {b"id", b"session_id", b"seq", b"type", b"data", b"received_at"}


def test_the_bare_loop_reads_many_sessions_each_into_its_stream(redis_server: RedisServer, tmp_path: Path) -> None:
    """As it does for fan-in."""
    contender = bare_loop(3)
    rig = Rig(redis_server, tmp_path / "entries.json")
    with source(sessions=3, events=1, data_bytes=250) as origin:
        rig.measure(contender, origin, 20, per_second=1000)
        numbers = [[int(fields[b"id"]) for fields in fields_in(rig, one)] for one in contender.streams]
    rig.client.close()
    assert numbers == [list(range(1, 21))] * 3


def test_cpu_time_counts_threads_that_have_ended() -> None:
    """And is finer than a tick of 10 ms."""
    work = (
        "import threading, time\n"
        "def work():\n while time.thread_time() < 0.2: pass\n"
        "one = threading.Thread(target=work); one.start(); one.join()\n"
        "print(time.process_time(), flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", work], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        own = float(child.stdout.readline())
        used = cpu_seconds(child.pid)
        child.communicate("\n")
    assert own >= 0.2
    assert used == pytest.approx(own, abs=0.05)
    assert cpu_seconds(child.pid) == 0.0


def test_cpu_time_of_the_machine_goes_on_with_that_of_a_process() -> None:
    """At least as much as this one uses."""
    began, own = machine_cpu_seconds(), time.process_time()
    while time.process_time() < own + 0.3:
        pass
    assert machine_cpu_seconds() - began >= 0.25  # counted in ticks


def test_a_source_sends_more_than_it_rendered_beforehand(redis_server: RedisServer, tmp_path: Path) -> None:
    """What the long run rests on: the same frames, without a file."""
    rig = Rig(redis_server, tmp_path / "entries.json")
    with source(events=10, data_bytes=250) as origin:
        rig.measure(bare_loop(), origin, 2500)
        assert rig.client.xlen(bare_loop().streams[0]) == 2500
    rig.client.close()
