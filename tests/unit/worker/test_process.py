"""Descriptors: the limit of this process, and what is said where they run out; and memory."""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import resource
from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs

from bridge.worker.process import collect_garbage_seldom, raise_descriptor_limit, tell_shortage_once


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """The limit is the whole process's."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def _soft() -> int:
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def test_the_limit_is_raised_near_the_highest_allowed() -> None:
    """Some are kept for probes."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    with capture_logs() as lines:
        raise_descriptor_limit(10)
    assert _soft() == min(hard, 1 << 20) - 64
    assert lines == []


def test_too_many_sessions_for_the_limit_are_told_at_once() -> None:
    """Before the first of them is refused."""
    with capture_logs() as lines:
        raise_descriptor_limit(2_000_000)
    (line,) = lines
    assert (line["event"], line["log_level"], line["sessions"]) == ("descriptors.scarce", "warning", 2_000_000)
    assert line["limit"] == _soft()


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE])
async def test_a_shortage_is_told_once(number: int) -> None:
    """Not with a traceback for each connection that was not accepted."""
    loop = asyncio.get_running_loop()
    tell_shortage_once(loop)
    with capture_logs() as lines:
        for _ in range(100):
            loop.call_exception_handler({"message": "accept", "exception": OSError(number, os.strerror(number))})
    (line,) = lines
    assert line["event"] == "descriptors.exhausted"
    assert str(line["error"]).startswith("this machine has no descriptors left")


async def test_any_other_fault_is_told_as_ever(caplog: pytest.LogCaptureFixture) -> None:
    """A task that failed unseen must be seen."""
    loop = asyncio.get_running_loop()
    tell_shortage_once(loop)
    loop.call_exception_handler({"message": "it broke", "exception": OSError(errno.EPIPE, "broken")})
    assert "it broke" in caplog.text


def test_garbage_in_cycles_is_looked_for_seldom() -> None:
    """A look at a thousand sessions is a pause that every event feels; never to look would be a leak."""
    before = gc.get_threshold()
    try:
        collect_garbage_seldom()
        assert gc.isenabled()
        assert 10_000 <= gc.get_threshold()[0] <= 100_000
    finally:
        gc.set_threshold(*before)
