"""The thread that writes the log, on real pipes."""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field

import pytest

from bridge.telemetry.log_writer import LogWriter

PIPE_BYTES = 4096  # the smallest that there is
DEADLINE_SECONDS = 30.0


@dataclass
class Pipe:
    """A pipe of the smallest size, and what is told about lines that did not fit."""

    read_end: int
    write_end: int
    told: list[int] = field(default_factory=list)
    flowing: threading.Event = field(default_factory=threading.Event)

    def writer(self, max_bytes: int) -> LogWriter:
        """One that says what it dropped in a line of its own, as the log does."""

        def tell(lines: int) -> None:
            self.told.append(lines)
            made.write(f"dropped {lines}")
            self.flowing.set()

        made = LogWriter(self.write_end, tell, max_bytes)
        return made

    def lines_until(self, last: str) -> list[str]:
        """Read until this line has come."""
        text = ""
        while not text.endswith(f"{last}\n"):
            text += os.read(self.read_end, 65536).decode()
        return text.splitlines()


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    """Closed at the end."""
    read_end, write_end = os.pipe()
    fcntl.fcntl(write_end, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    yield Pipe(read_end, write_end)
    os.close(read_end)  # a thread that still waits to write gets an error, and drops what it has
    os.close(write_end)


def test_lines_come_whole_and_in_order(pipe: Pipe) -> None:
    """Also where they are more than a pipe holds, and one of them is."""
    writer = pipe.writer(max_bytes=1_000_000)
    sent = [f"{number} {'x' * 100}" for number in range(1000)] + ["y" * 100_000, "last"]
    for line in sent:
        writer.write(line)
    assert pipe.lines_until("last") == sent
    assert writer.flush(DEADLINE_SECONDS)
    assert (writer.dropped, pipe.told) == (0, [])


def test_who_logs_does_not_wait_for_who_reads(pipe: Pipe) -> None:
    """A thousand lines into a pipe that holds forty: what does not fit is dropped, counted and told once it flows."""
    writer = pipe.writer(max_bytes=10_000)
    sent = [f"{number:04} {'x' * 95}" for number in range(1000)]
    for line in sent:
        writer.write(line)  # would stand still here
    dropped = writer.dropped
    assert 800 < dropped < 1000
    assert pipe.told == []
    kept = pipe.lines_until(f"dropped {dropped}")[:-1]
    assert kept == sent[: 1000 - dropped]
    assert pipe.told == [dropped]
    writer.write("later")
    assert pipe.lines_until("later") == ["later"]
    assert writer.flush(DEADLINE_SECONDS)
    assert pipe.told == [dropped], "a loss is told once"


def test_a_flush_ends_though_nobody_reads(pipe: Pipe) -> None:
    """An exit must not wait for a log driver."""
    writer = pipe.writer(max_bytes=100_000)
    writer.write("x" * 50_000)
    assert not writer.flush(0.01)


def test_an_output_that_fails_loses_lines_and_nothing_else() -> None:
    """A full disk."""
    told: list[int] = []
    with open("/dev/full", "wb", buffering=0) as full:
        writer = LogWriter(full.fileno(), told.append)
        for _ in range(10):
            writer.write("x")
        assert writer.flush(DEADLINE_SECONDS)
    assert (writer.dropped, told) == (10, [])


def test_a_reader_that_has_gone_is_no_error(pipe: Pipe) -> None:
    """As in `lens-bridge run 2>&1 | head`."""
    read_end, write_end = os.pipe()
    os.close(read_end)
    with closing(os.fdopen(write_end, "wb")):
        writer = LogWriter(write_end, pipe.told.append)
        writer.write("x")
        assert writer.flush(DEADLINE_SECONDS)
    assert writer.dropped == 1


def test_a_pipe_that_does_not_wait_is_waited_for(pipe: Pipe) -> None:
    """Who shares it may have made it so."""
    os.set_blocking(pipe.write_end, False)
    writer = pipe.writer(max_bytes=1_000_000)
    sent = ["x" * 1000 for _ in range(100)] + ["last"]
    for line in sent:
        writer.write(line)
    assert pipe.lines_until("last") == sent
    assert writer.flush(DEADLINE_SECONDS)
    assert writer.dropped == 0


def test_a_text_that_is_no_unicode_is_written_all_the_same(pipe: Pipe) -> None:
    """Half of a surrogate pair can come out of a JSON document."""
    writer = pipe.writer(max_bytes=1000)
    writer.write("bad \ud800 text")
    assert pipe.lines_until("text") == ["bad \\ud800 text"]
