"""The group itself: made, found again, made anew where Redis has lost it, and looked at. Pure."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from bridge.consumer.core.asking import Asking, Patience
from bridge.consumer.core.calls import Program

__all__ = ["Group", "Stand", "before"]

log = logging.getLogger("bridge.consumer")


class Stand:
    """What `look.lua` tells. ``lag`` and ``pending`` are entries; no ``lag`` where Redis knows none (below 7.0)."""

    __slots__ = ("lag", "newest", "newest_seq", "pending", "settled")

    def __init__(self, reply: list[Any]) -> None:
        delivered, self.pending, oldest, lag, newest, seq = reply
        self.lag = int(lag) if lag is not None and int(lag) >= 0 else None
        self.settled = before(oldest.decode()) if oldest else delivered.decode()
        self.newest = newest.decode()
        self.newest_seq = int(seq) if seq else None


class Group:
    """Of one stream. It remembers up to where all is acknowledged, and what stood there."""

    def __init__(self, name: str, asking: Asking) -> None:
        self.name = name
        self._asking = asking
        self.known = False  # it was there once: where it is gone, nothing may be skipped
        self._settled = ""
        self._witness: tuple[str, bytes, bytes] = ("", b"", b"")
        self._looked = False

    def read(self, entry_id: str, fields: Mapping[bytes, bytes]) -> None:
        """This entry stands in the stream: where it does later on, it is still the same stream."""
        self._witness = entry_id, fields.get(b"id", b""), fields.get(b"seq", b"")

    def make(self) -> Program[None]:
        """Make it where it is not there; where it was, go on behind what all members have acknowledged.

        A stream that was emptied meanwhile is read from its beginning. Raises ConsumerError.
        """
        start = "0" if self.known else self._asking.limits.start
        made = yield from self._asking.run(
            "make", self.name, start, self._settled, *self._witness, patience=Patience.TO_THE_STOP
        )
        if made:
            text = made.decode()
            if self.known:
                log.warning("group.made_again stream=%s group=%s from=%s", self._asking.stream, self.name, text)
            self._settled = self._settled or text
            self.known = True

    def tell_of_nothing(self) -> Program[None]:
        """Say once, when nothing came, that nothing stands there at all: the key may be misspelt. Raises as `look`."""
        if not (self._looked or self._witness[0]):
            stand = yield from self.look(patience=Patience.TO_THE_STOP)
            self._looked = True
            if not stand.newest:
                hint = "waits; if it should hold entries, compare the key with the bridge's stream.key"
                log.warning("stream.empty stream=%s at=%s: %s", self._asking.stream, self._asking.where, hint)

    def look(self, *, patience: Patience = Patience.NONE) -> Program[Stand]:
        """How it stands. Raises GroupMissingError, ConsumerError, and what redis-py raises where patience ends."""
        stand = Stand((yield from self._asking.run("look", self.name, patience=patience)))
        self._settled = stand.settled
        return stand


def before(entry_id: str) -> str:
    """The greatest entry id that is smaller."""
    ms, _, seq = entry_id.partition("-")
    if int(seq):
        return f"{ms}-{int(seq) - 1}"
    return f"{int(ms) - 1}-{2**64 - 1}" if int(ms) else "0-0"
