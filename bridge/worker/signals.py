"""SIGTERM, SIGINT and SIGHUP: the first asks for a graceful stop, the second for an end at once."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

__all__ = ["stop_on_signals"]

log = structlog.get_logger()


@contextmanager
def stop_on_signals(stop: asyncio.Event) -> Iterator[None]:
    """Set ``stop`` at the first signal. Only within a running event loop, in the main thread."""
    loop = asyncio.get_running_loop()

    def handle(number: signal.Signals) -> None:
        if stop.is_set():
            log.warning("worker.stopped_at_once", signal=number.name)
            # Nothing is lost: what is not committed is read again. 128 + n is the shell's code for it.
            os._exit(128 + number)
        log.info("worker.stopping", signal=number.name)
        stop.set()

    signals = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)  # the last where a terminal is closed
    for number in signals:
        loop.add_signal_handler(number, handle, number)
    try:
        yield
    finally:
        for number in signals:
            loop.remove_signal_handler(number)
