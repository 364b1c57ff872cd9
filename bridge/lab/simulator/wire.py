"""Frames into HTTP chunks: how many to a chunk, where cut, compressed or not. Pure."""

from __future__ import annotations

import random
import zlib
from typing import assert_never

from bridge.lab.simulator.lens.switches import ChunkShape, GzipRule, Switches

__all__ = ["Body", "wants_gzip"]


def wants_gzip(rule: GzipRule, accept_encoding: str) -> bool:
    """Whether a body is compressed, given the request's Accept-Encoding."""
    return rule is GzipRule.ALWAYS or (rule is GzipRule.ACCEPTED and "gzip" in accept_encoding.lower())


class Body:
    """One response body. ``chunked``: HTTP/1.1 chunk framing; without it the body ends with the connection."""

    def __init__(self, *, seed: str, gzip: bool, chunked: bool) -> None:
        self._random = random.Random(seed)
        self._gzip = zlib.compressobj(wbits=31) if gzip else None
        self._chunked = chunked

    def writes(self, frames: list[bytes], switches: Switches) -> list[bytes]:
        """What to write, each as one TCP write: one for whole events, many where events are cut up."""
        match switches.chunk_shape:
            case ChunkShape.EVENT:
                return [b"".join([self._chunk(one) for one in frames])]
            case ChunkShape.COALESCE:
                step = switches.chunk_events
                groups = range(0, len(frames), step)
                return [b"".join([self._chunk(b"".join(frames[at : at + step])) for at in groups])]
            case ChunkShape.DRIP | ChunkShape.RANDOM:
                return [self._chunk(piece) for piece in self._cut(b"".join(frames), switches)]
            case _:
                assert_never(switches.chunk_shape)

    def rest(self) -> bytes:
        """What the compressor still holds; to be written before the body ends."""
        return b"" if self._gzip is None else self._framed(self._gzip.flush())

    def _cut(self, blob: bytes, switches: Switches) -> list[bytes]:
        pieces, at = [], 0
        while at < len(blob):
            size = switches.chunk_bytes
            if switches.chunk_shape is ChunkShape.RANDOM:
                size = self._random.randint(1, 2 * size - 1)
            pieces.append(blob[at : at + size])
            at += size
        return pieces

    def _chunk(self, payload: bytes) -> bytes:
        if self._gzip is not None:
            # Flushed each time: a compressor that waits for more would hold events back.
            payload = self._gzip.compress(payload) + self._gzip.flush(zlib.Z_SYNC_FLUSH)
        return self._framed(payload)

    def _framed(self, payload: bytes) -> bytes:
        return b"%x\r\n%b\r\n" % (len(payload), payload) if self._chunked else payload
