"""Events that bring back the API key they were asked for with: found for many at once, masked one by one. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from bridge.masking import Secrets
from bridge.model.records import ServerSentEvent

__all__ = ["echo", "masked"]

_LARGE_BYTES = 4096  # on the average: from here on to join costs more than to ask for each


def echo(secrets: Secrets, raws: Collection[bytes], texts: Collection[str]) -> bool:
    """Whether a secret stands in any of these payloads, ids and names. Asking costs, so ask for many at once."""
    if secrets.empty:
        return False
    if sum(map(len, raws)) > _LARGE_BYTES * len(raws):
        found = any(map(secrets.contains, raws))
    else:
        found = secrets.contains(b"\n".join(raws))
    return found or secrets.contains("\n".join(texts).encode())


def masked(secrets: Secrets, events: Sequence[ServerSentEvent]) -> tuple[Sequence[ServerSentEvent], int]:
    """The events without a secret, and in how many of them there was one."""
    if not events:
        return events, 0
    names, raws, _, ids, _ = zip(*events, strict=True)
    if not echo(secrets, raws, (*ids, *set(names))):
        return events, 0
    safe = [_safe(secrets, event) for event in events]
    return safe, sum(one != event for one, event in zip(safe, events, strict=True))


def _safe(secrets: Secrets, event: ServerSentEvent) -> ServerSentEvent:
    # An id that holds the key can neither be stored nor sent back: such an event counts as one without an id.
    id = None if event.id and secrets.contains(event.id.encode()) else event.id
    return event._replace(event=secrets.mask(event.event), raw=secrets.mask_bytes(event.raw), id=id)
