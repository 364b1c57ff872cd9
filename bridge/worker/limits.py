"""Descriptors: as many as this process may have, and one clear line where they are not enough."""

from __future__ import annotations

import asyncio
import errno
import resource
import time
from typing import Any

import structlog

__all__ = ["raise_descriptor_limit", "tell_shortage_once"]

log = structlog.get_logger()

_MOST = 1 << 20  # some systems have no limit; nobody needs more
_RESERVED = 64  # for the admin server, whose connections are fewer; see `bridge.telemetry.listening`
_OTHERS = 32  # for Redis, lookups, files and the libraries
_TELL_EVERY_SECONDS = 60.0
_HINT = "raise the limit of open files (ulimit -n), or run more workers"


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
