"""A command with large arguments as bytes: each of them is copied once. Pure.

hiredis packs small ones in half the time, but lets its buffer grow under a large request and copies all of that again:
64 instead of 8 microseconds for 64 KB.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["LARGE_BYTES", "pack_large"]

LARGE_BYTES = 8 * 1024
"""On the average of an event's data: from here on `pack_large` is the quicker way."""


def pack_large(arguments: Sequence[bytes | str | int]) -> bytes:
    """One command in RESP, just as `bridge.store.connection.pack` gives it."""
    parts = [b"*%d\r\n" % len(arguments)]
    for argument in arguments:
        one = argument if isinstance(argument, bytes) else str(argument).encode()
        parts += (b"$%d\r\n" % len(one), one, b"\r\n")
    return b"".join(parts)
