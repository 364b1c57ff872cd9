"""Values that must never be shown, and how to hide them: in logs, in errors, and in events that echo the API key."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Iterator
from typing import overload
from urllib.parse import quote, quote_plus

__all__ = ["MASK", "SHORTEST", "Secrets"]

MASK = "**********"
SHORTEST = 8  # a shorter value may well be part of ordinary data, which masking would destroy
_COMMON_LAST = b"QZXJKWVYUGqzjxkHFBPMOLwvNDRCSATIEbhgpyfumcdlosrniate9876543210"
"""Letters and digits from the rarest to the commonest, roughly, in text and numbers as JSON; all else is rarer."""
_KEPT = 4  # of each origin: the old ones may be valid for a while, but a token that rotates must not pile up


class Secrets:
    """A set of secrets that grows while the worker runs: keys and passwords are rotated.

    A secret is found as it is, percent-encoded, escaped as in JSON, HTML or Python, and inside base64 at any offset.
    One shorter than ``SHORTEST`` characters is not masked.
    """

    def __init__(self) -> None:
        self._values: dict[str, list[str]] = {}
        self._needles: tuple[bytes, ...] = ()
        self._marks: tuple[tuple[bytes, bytes], ...] = ()  # the rarest byte of each needle, and the needle
        self._texts: tuple[str, ...] = ()

    def add(self, value: str, origin: str = "other") -> None:
        """Hide this value from now on. Only the last four of an ``origin`` (e.g. a setting's path) are kept."""
        values = self._values.setdefault(origin, [])
        if len(value) < SHORTEST or values[-1:] == [value]:
            return
        if value in values:
            values.remove(value)
        self._values[origin] = [*values, value][-_KEPT:]
        every = {spelling for kept in self._values.values() for one in kept for spelling in _spellings(one)}
        self._texts = tuple(
            sorted(every, key=lambda text: (-len(text), text))
        )  # the longest first: one may hold another
        self._needles = tuple(text.encode() for text in self._texts)
        self._marks = tuple((bytes((min(needle, key=_COMMON_LAST.find),)), needle) for needle in self._needles)

    def contains(self, data: bytes) -> bool:
        """Whether a secret stands in the data.

        Most of its cost is per call, not per byte: ask once for a whole chunk (``b"\\n".join(...)``) where many
        small events come together, and for each of them only if the answer is yes.
        """
        # One byte is looked for at twenty times the speed of a text, and numbers hold next to no letters.
        for mark, needle in self._marks:  # noqa: SIM110  any() and a generator cost twice as much
            if mark in data and needle in data:
                return True
        return False

    def mask_bytes(self, data: bytes) -> bytes:
        """The data with every secret replaced. Inside a JSON string it stays JSON."""
        for needle in self._needles:
            data = data.replace(needle, MASK.encode())
        return data

    @overload
    def mask(self, text: str) -> str: ...
    @overload
    def mask(self, text: bytes) -> bytes: ...
    def mask(self, text: str | bytes) -> str | bytes:
        """The same for text or bytes."""
        if isinstance(text, bytes):
            return self.mask_bytes(text)
        for spelling in self._texts:
            text = text.replace(spelling, MASK)
        return text

    @property
    def empty(self) -> bool:
        """There is nothing to hide."""
        return not self._texts

    def __repr__(self) -> str:
        return f"Secrets({sum(map(len, self._values.values()))} hidden)"


def _spellings(value: str) -> Iterator[str]:
    yield value
    yield quote(value, safe="")
    yield quote(value)
    yield quote_plus(value)
    yield json.dumps(value)[1:-1]
    yield json.dumps(value, ensure_ascii=False)[1:-1]
    yield json.dumps(value)[1:-1].replace("/", "\\/")  # as some JSON writers do
    yield html.escape(value)
    yield repr(value)[1:-1]
    yield repr(value.encode())[2:-1]
    for text in _base64_cores(value.encode()):
        yield text
        yield text.replace("+", "-").replace("/", "_")


def _base64_cores(value: bytes) -> Iterator[str]:
    """What base64 makes of the value wherever it stands in longer data, less the characters it shares with others."""
    for before in range(3):
        encoded = base64.b64encode(bytes(before) + value).decode().rstrip("=")
        bits = 8 * (before + len(value))
        yield encoded[(0, 2, 3)[before] : bits // 6]
