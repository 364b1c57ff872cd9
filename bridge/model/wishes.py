"""Which sessions a worker wants to read, in a form that workers can compare without sending names to and fro. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["NO_WISHES", "Wishes", "fingerprint_of"]

_FINGERPRINT_BYTES = (
    8  # two of 30,000 sessions share one in 2 of 10^11 cases; then one of them counts as wanted by more
)
_DIGEST_DIGITS = 16


def fingerprint_of(state_key: str) -> bytes:
    """Stands for a session. Made of the key of its state: under another `stream.key` it is another session."""
    return hashlib.sha256(state_key.encode()).digest()[:_FINGERPRINT_BYTES]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """``sessions`` by their fingerprints. Workers that want the same have the same ``digest`` and the same ``blob``."""

    sessions: frozenset[bytes]
    digest: str
    blob: bytes

    @classmethod
    def of(cls, fingerprints: Iterable[bytes]) -> Wishes:
        """The list of these."""
        sessions = frozenset(fingerprints)
        blob = b"".join(sorted(sessions))
        return cls(sessions=sessions, digest=hashlib.sha256(blob).hexdigest()[:_DIGEST_DIGITS], blob=blob)

    @classmethod
    def parse(cls, blob: bytes, digest: str) -> Wishes | None:
        """The list as it stands in Redis; None where it is not the one that ``digest`` stands for."""
        size = _FINGERPRINT_BYTES
        found = cls.of(blob[at : at + size] for at in range(0, len(blob), size))
        return found if (found.digest, found.blob) == (digest, blob) else None


NO_WISHES = Wishes.of(())
