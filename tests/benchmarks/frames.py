"""What the sources send: frames as the lens API writes them, of a wished size. Pure."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from functools import cache

EMBEDDING_BYTES = 32_768
"""From this size on the data is rows of floats, as lenses send embeddings; below it is text."""

SENT_NS = b'"sent_ns": '
"""What stands in the data before the time of sending, a whole number followed by a comma: `sent_ns_of` reads it."""

_FLOATS_IN_A_ROW = 768


def frame(number: int, data_bytes: int, *, timestamp: float = 1741843200.123, sent_ns: int = 123456789012) -> bytes:
    """The SSE frame of one event whose data is about ``data_bytes`` long.

    ``timestamp`` is in Unix seconds, as lenses give it; ``sent_ns`` in nanoseconds of this machine's monotonic clock.
    """
    before, after = _around(data_bytes)
    return b"event: message\nid: %d\ndata: %s%.6f, %s%d%s\n\n" % (number, before, timestamp, SENT_NS, sent_ns, after)


def sent_ns_of(data: bytes) -> int:
    """When an event was sent, by its data. Raises ValueError where that does not say so."""
    begin = data.index(SENT_NS) + len(SENT_NS)
    return int(data[begin : data.index(b",", begin)])


def chunk(frames: bytes) -> bytes:
    """An HTTP chunk that holds these frames."""
    return b"%x\r\n%s\r\n" % (len(frames), frames)


def chunks(events: int, data_bytes: int, per_chunk: int) -> Iterator[bytes]:
    """The response body of events 1 to ``events``, ``per_chunk`` of them in each HTTP chunk."""
    for first in range(1, events + 1, per_chunk):
        numbers = range(first, min(first + per_chunk, events + 1))
        yield chunk(b"".join(frame(number, data_bytes) for number in numbers))


@cache
def _around(data_bytes: int) -> tuple[bytes, bytes]:
    """The data before and after its times."""
    before = '{"type": "inference.result", "timestamp": '
    left = data_bytes - len(before) - len("1741843200.123456, ") - len(SENT_NS) - len("123456789012")
    if data_bytes >= EMBEDDING_BYTES:
        after = ', "event_data": {"response": ' + json.dumps(_rows(left - 60)) + ', "query_metadata": {}}}'
    else:
        after = ', "event_data": {"response": [""]}}'
        after = after.replace('""', f'"{"x" * max(0, left - len(after))}"')
    return before.encode(), after.encode()


def _rows(text_bytes: int) -> list[list[float]]:
    """Rows of random floats whose JSON is about ``text_bytes`` long; the same ones each time."""
    source, length = random.Random(1), 0
    rows: list[list[float]] = [[]]
    while length < text_bytes:
        if len(rows[-1]) == _FLOATS_IN_A_ROW:
            rows.append([])
        rows[-1].append(source.gauss(0, 0.05))
        length += len(repr(rows[-1][-1])) + 2
    return rows
