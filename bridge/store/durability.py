"""What a commit must have reached before it counts: memory, a replica, the disk. One for all sessions of a worker.

The command that asks for it goes out right behind the commit, on the same connection, since Redis answers it for what
was written there. One such command covers all commits before it, those of other sessions too. Where it is not met in
time the commit stands all the same: it is not written again, it is asked for again, and meanwhile nothing more is read.
"""

from __future__ import annotations

from collections.abc import Callable

from bridge.errors import FaultKind, Meaning, SinkFault
from bridge.settings import DurabilityLevel, RedisSettings
from bridge.store.connection import pack

__all__ = ["Durability"]


class Durability:
    """``on_change`` hears whether Redis gives less than was asked for.

    ``confirmation`` is the packed command; empty where nothing is asked for.
    """

    def __init__(self, settings: RedisSettings, on_change: Callable[[bool], None] = lambda degraded: None) -> None:
        milliseconds = int(settings.durability_timeout_seconds * 1000)
        self._level = settings.durability
        self._replicas = settings.durability_replicas
        self._on_change = on_change
        match self._level:
            case DurabilityLevel.MEMORY:
                self.confirmation = b""
            case DurabilityLevel.REPLICATED:
                self.confirmation = pack("WAIT", self._replicas, milliseconds)
            case DurabilityLevel.FSYNCED:
                self.confirmation = pack("WAITAOF", 1, 0, milliseconds)

    def check(self, told: object) -> None:
        """What the server answered to the confirmation, or the fault that it met. Raises SinkFault for a shortfall."""
        if isinstance(told, SinkFault) and told.kind.meaning is Meaning.UNKNOWN:
            raise SinkFault(told.kind, told.detail)
        short = self._shortfall(told)
        self._on_change(short is not None)
        if short is not None:
            raise SinkFault(FaultKind.NOT_DURABLE, f"redis.durability {self._level.value} is not met: {short}")

    def _shortfall(self, told: object) -> str | None:
        match told:
            case SinkFault(detail=detail):
                return f"{detail} - {self._needs}"
            case int(replicas):
                return None if replicas >= self._replicas else f"{replicas} of {self._replicas} replicas have it"
            case [int(local), *_]:
                return None if local else "it is not on the disk of the primary yet"
        return f"Redis answers {told!r:.100}"

    @property
    def _needs(self) -> str:
        if self._level is DurabilityLevel.FSYNCED:
            return "this level needs Redis 7.2 or newer with appendonly yes"
        return "this level needs a primary, and the permission for WAIT"
