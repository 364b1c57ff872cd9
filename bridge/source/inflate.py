"""Bodies that something on the way compressed though nobody asked for it, undone in bounded steps. Pure."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

__all__ = ["STEP_BYTES", "Inflater", "inflater_of"]

STEP_BYTES = 64 * 1024
"""Most plain bytes of one step: a few bytes of a gzip bomb are millions of events, which would meet no other cap."""

_GZIP_OR_ZLIB = 47  # zlib's own word for: whichever header comes
_HEADERLESS = -15


def inflater_of(coding: str) -> Inflater | None:
    """What undoes a content coding (RFC 9110, 8.4.1); None where nothing has to, or nothing here can."""
    return Inflater(headerless=coding == "deflate") if coding in ("gzip", "x-gzip", "deflate") else None


class Inflater:
    """Undoes gzip and deflate. ``headerless``: also deflate without its zlib header, as some servers mean it.

    A body may be several gzip members (RFC 1952, 2.2). One that is cut off gives what was whole.
    """

    def __init__(self, *, headerless: bool = False) -> None:
        self.more = False
        """There is more to come of what was taken in: call `step` again before the next chunk."""
        self._headerless = headerless
        self._engine: zlib._Decompress | None = None
        self._left = b""

    def step(self, chunk: bytes = b"") -> bytes:
        """Take in the next bytes and give up to STEP_BYTES of plain ones. Raises zlib.error for what is broken."""
        data = self._left + chunk if self._left else chunk
        if self._engine is None or self._engine.eof:
            if self._headerless and len(data) < 2:
                self._left, self.more = data, False
                return b""
            self._engine = zlib.decompressobj(wbits=self._format_of(data))
        plain = self._engine.decompress(data, STEP_BYTES)
        self._left = self._engine.unconsumed_tail or self._engine.unused_data
        held = len(plain) == STEP_BYTES and not self._engine.eof  # zlib itself may still have some
        self.more = bool(self._left) or held
        return plain

    def steps(self, chunk: bytes) -> Iterator[bytes]:
        """All that a chunk gives, step by step; whoever has enough stops asking. Raises zlib.error."""
        yield self.step(chunk)
        while self.more:
            yield self.step()

    def _format_of(self, data: bytes) -> int:
        is_zlib = data[0] & 0x8F == 0x08 and int.from_bytes(data[:2], "big") % 31 == 0  # RFC 1950, 2.2
        is_gzip = data[:2] == b"\x1f\x8b"
        return _HEADERLESS if self._headerless and not is_zlib and not is_gzip else _GZIP_OR_ZLIB
