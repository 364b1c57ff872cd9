"""Flat: a catch-up so long that whatever grows is seen to grow."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from tests.benchmarks.contenders import Contender
from tests.benchmarks.processes import Process, cpu_seconds, memory_mib
from tests.benchmarks.report.results import Course
from tests.benchmarks.rig import Rig, source

_LOOK_SECONDS = 0.05
_STALL_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Flat:
    """Memory and CPU time per event while ``events`` go by, looked at ``looks`` times, evenly spread."""

    name: str
    title: str
    events: int
    looks: int = 100
    data_bytes: int = 250
    sessions: int = 1

    def run(self, rig: Rig, bridges: Sequence[Contender], rounds: int) -> Course:
        """Each bridge once, however many rounds the others have: its own beginning is what its end is compared with."""
        course = Course(name=self.name, title=self.title)
        for one in bridges:
            with (
                source(events=1, data_bytes=self.data_bytes) as origin,
                rig.started(one, origin, self.events) as process,
            ):
                origin.send(self.events, 0)
                self._watch(rig, one, process, course)
        return course

    def _watch(self, rig: Rig, one: Contender, process: Process, course: Course) -> None:
        step = max(1, self.events // self.looks)
        seen, used, landed = 0, cpu_seconds(process.pid), 0
        began = progress = time.monotonic()
        while landed < self.events:
            time.sleep(_LOOK_SECONDS)
            process.check()
            # What is counted goes: the entries of millions of events would take more memory than all the rest.
            now, new = time.monotonic(), rig.client.xtrim(one.streams[0], maxlen=0, approximate=False)
            landed += new
            progress = now if new else progress
            if now > progress + _STALL_SECONDS:
                raise SystemExit(f"{process} stalled at {landed} of {self.events} events")
            if landed >= seen + step or landed == self.events:
                rss_mib, _ = memory_mib(process.pid)
                before, used = used, cpu_seconds(process.pid)
                cpu_us, rate = (used - before) / (landed - seen) * 1e6, (landed - seen) / (now - began)
                figures = {"events": landed, "rss_mib": rss_mib, "cpu_us": cpu_us, "events_per_second": rate}
                course.add(one.name, figures)
                seen, began = landed, now
