"""Which node of a cluster has which keys: the hash slots, as the Redis Cluster specification defines them. Pure."""

from __future__ import annotations

from binascii import crc_hqx
from bisect import bisect_right
from collections.abc import Iterator
from typing import Any

from bridge.model.keys import hash_tag
from bridge.model.redis_address import Endpoint

__all__ = ["SLOTS", "SlotMap", "slot_of"]

SLOTS = 16_384


def slot_of(key: str) -> int:
    """The slot of a key: CRC16 (XMODEM) of its hash tag."""
    return crc_hqx(hash_tag(key).encode(), 0) % SLOTS


class SlotMap:
    """A node's word on who serves what, with the corrections that came since.

    Made of a reply to CLUSTER SLOTS. ``asked`` is who gave it, and stands where a node does not know its own name.
    Raises ValueError for a reply of another form.
    """

    def __init__(self, reply: Any, asked: Endpoint) -> None:
        try:
            ranges = sorted((int(first), int(last), _endpoint(primary, asked)) for first, last, primary, *_ in reply)
            everyone = [_endpoint(node, asked) for _, _, *nodes in reply for node in nodes]
        except (TypeError, ValueError, AttributeError) as error:
            raise ValueError(f"not the slots of a cluster: {error}") from error
        self._ranges = [(first, last, owner) for first, last, owner in ranges if owner]
        self._firsts = [first for first, _, _ in self._ranges]
        self._moved: dict[int, Endpoint] = {}
        self.endpoints = tuple(dict.fromkeys(one for one in everyone if one))
        """All nodes that it names, replicas too."""

    def owner(self, slot: int) -> Endpoint | None:
        """Who serves a slot; None where nobody does."""
        if moved := self._moved.get(slot):
            return moved
        at = bisect_right(self._firsts, slot) - 1
        if at < 0:
            return None
        _, last, owner = self._ranges[at]
        return owner if slot <= last else None

    def owners(self) -> set[Endpoint]:
        """Everyone who serves a slot."""
        return {owner for _, _, owner in self._ranges} | set(self._moved.values())

    def covered(self) -> int:
        """How many slots are served."""
        return sum(last - first + 1 for first, last, _ in self._ranges)

    def move(self, slot: int, owner: Endpoint) -> None:
        """A node has said that it was another one's."""
        self._moved[slot] = owner

    def __iter__(self) -> Iterator[tuple[int, int, Endpoint]]:
        return iter(self._ranges)


def _endpoint(node: Any, asked: Endpoint) -> Endpoint | None:
    """A node begins with its host and port. The host is empty or missing for the one that is asked, ? if unknown."""
    host, port, *_ = node
    name = (host or b"").decode(errors="replace").lower()
    return None if name == "?" else Endpoint(name or asked.host, int(port))
