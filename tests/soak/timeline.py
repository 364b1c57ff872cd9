"""What went wrong when, to be read beside the first bad entry of a stream. Times are Unix seconds, as in entry ids."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import NamedTuple

__all__ = ["Happened", "Timeline"]


class Happened(NamedTuple):
    """One fault: ``began`` and ``ended``, what it was, whom it struck."""

    began: float
    ended: float
    fault: str
    whom: str

    def line(self, since: float) -> str:
        """For a person, in seconds from ``since``."""
        return f"{self.began - since:8.2f} to {self.ended - since:8.2f} s  {self.fault} {self.whom}"


@dataclass
class Timeline:
    """All faults so far, in the order of their beginning."""

    began: float
    faults: list[Happened]

    @staticmethod
    def begun() -> Timeline:
        """A night that begins now."""
        return Timeline(time.time(), [])

    def before(self, at: float, session: str, count: int = 4) -> list[Happened]:
        """The last faults that began before ``at`` and may concern the session: not those of other sessions."""
        near = [one for one in self.faults if one.began <= at and _concerns(one.whom, session)]
        return near[-count:]


def _concerns(whom: str, session: str) -> bool:
    name = whom.split(" ")[0]
    return name in (session, "redis") or name.startswith("worker-")
