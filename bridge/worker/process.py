"""What the operating system asks of this process and gives it: signals, descriptors, memory.

SIGTERM and SIGINT: the first asks for a graceful stop, the second for an end at once. SIGHUP: read the configuration
again, or stop where it says that the terminal was closed. Descriptors: as many as this process may have, and one clear
line where they are not enough.
"""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import resource
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import structlog

__all__ = ["collect_garbage_seldom", "heed_signals", "raise_descriptor_limit", "tell_shortage_once"]

log = structlog.get_logger()

_CLOSING_SECONDS = 1.0
_MOST = 1 << 20  # some systems have no limit; nobody needs more
_RESERVED = 64  # for the admin server, whose connections are fewer; see `bridge.telemetry.listening`
_OTHERS = 32  # for Redis, lookups, files and the libraries
_TELL_EVERY_SECONDS = 60.0
_GARBAGE_OBJECTS = 50_000  # in cycles, before somebody looks for them; Python's own choice is 700
_HINT = "raise the limit of open files (ulimit -n), or run more workers"


@contextmanager
def heed_signals(stop: asyncio.Event, reload: asyncio.Event, *, who: str = "worker") -> Iterator[None]:
    """Set ``stop`` at the first signal that asks for it, ``reload`` at SIGHUP. Only within a running event loop, in the
    main thread.

    SIGHUP stops where this process had a terminal and has none any more. Started under nohup it never does. The log's
    events begin with ``who``.
    """
    loop = asyncio.get_running_loop()
    signals = _Signals(stop, reload, who)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, signals.end, number)
    loop.add_signal_handler(signal.SIGHUP, signals.hang_up)
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.remove_signal_handler(number)


class _Signals:
    def __init__(self, stop: asyncio.Event, reload: asyncio.Event, who: str) -> None:
        self._stop = stop
        self._who = who
        self._reload = reload
        self._closable = signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN and _has_terminal()

    def end(self, number: signal.Signals) -> None:
        """The first one stops, the second one ends at once."""
        if self._stop.is_set():
            log.warning(f"{self._who}.stopped_at_once", signal=number.name)
            # Nothing is lost: what is not committed is read again. 128 + n is the shell's code for it.
            os._exit(128 + number)
        self._begin_to_stop(number)

    def hang_up(self) -> None:
        """The terminal was closed, of which kernel and shell may both tell; or somebody wants a reload."""
        if self._closed():
            self._begin_to_stop(signal.SIGHUP)
        elif not self._stop.is_set():
            self._reload.set()
            # A shell that ends may send the signal first, and close the terminal after it.
            asyncio.get_running_loop().call_later(_CLOSING_SECONDS, self._look_again)

    def _look_again(self) -> None:
        if self._closed():
            self._begin_to_stop(signal.SIGHUP)

    def _closed(self) -> bool:
        return self._closable and not self._stop.is_set() and not _has_terminal()

    def _begin_to_stop(self, number: signal.Signals) -> None:
        log.info(f"{self._who}.stopping", signal=number.name)
        self._stop.set()


def _has_terminal() -> bool:
    """This process has a controlling terminal, and it has not been closed."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK))
    except OSError:
        return False
    return True


def collect_garbage_seldom() -> None:
    """Look for garbage in cycles less often, and not among what stands now; all else is freed at once, as ever.

    Each look at everything that a worker with 1,000 sessions has takes 0.2 s, in which nothing else is done.
    """
    gc.freeze()
    gc.set_threshold(_GARBAGE_OBJECTS, 20, 20)


def raise_descriptor_limit(sessions: int) -> None:
    """Set the limit of open files near the highest that is allowed, and say so where it is low for so many sessions.

    The soft limit of most systems, 1024, is meant for programs that use select(). Each session needs a descriptor.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = _MOST if hard == resource.RLIM_INFINITY else min(hard, _MOST)
    soft = allowed - min(_RESERVED, allowed // 4)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if sessions + _OTHERS > soft:
        log.warning("descriptors.scarce", sessions=sessions, limit=soft, hint=_HINT)


def tell_shortage_once(loop: asyncio.AbstractEventLoop) -> None:
    """Say once a minute that descriptors have run out: asyncio has a traceback for every connection not accepted."""
    told_at = float("-inf")

    def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        nonlocal told_at
        error = context.get("exception")
        if not (isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE)):
            loop.default_exception_handler(context)
        elif time.monotonic() - told_at >= _TELL_EVERY_SECONDS:
            told_at = time.monotonic()
            log.error("descriptors.exhausted", error=_shortage(error), hint=_HINT)

    loop.set_exception_handler(handle)


def _shortage(error: OSError) -> str:
    if error.errno == errno.ENFILE:
        return "this machine has no descriptors left"
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return f"this machine has no descriptors left for this process, which may have {soft:,}"
