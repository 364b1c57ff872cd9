"""The demo's verdict: what stands in Redis, compared by `bridge.verify` with what the simulated API has sent."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from redis.asyncio import Redis
from rich.console import Group
from rich.text import Text

from bridge.lab.demo.screen import table
from bridge.lab.demo.story import Tone
from bridge.lab.service import Work, read_work
from bridge.lab.simulator import SimulatedSession, Simulator
from bridge.model.place import Session
from bridge.verify import stream_targets, verify
from bridge.verify.report import FaultKind, Report, SessionReport, as_json, render_text

__all__ = ["Judgement", "Tally", "judge", "judgement_json", "judgement_text"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """One session in the final table."""

    name: str
    sent: int
    published: int
    twice: int
    missing: int
    out_of_order: int
    reconnects: int
    takeovers: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """The verdict with its reasons."""

    tallies: tuple[Tally, ...]
    report: Report
    work: Work | None = None  # of the service that read, where one did

    @property
    def exact(self) -> bool:
        """Everything that was sent stands in Redis, once, unchanged, in order, and nothing else does."""
        clean = self.report.ok and not any(one.gaps for one in self.report.sessions)
        landed = clean and all(one.sent == one.published > 0 for one in self.tallies)
        return landed and (self.work is None or self.work.exact)

    @property
    def verdict(self) -> str:
        """``exactly once``, or what is wrong."""
        if self.exact:
            return "exactly once"
        if not self.report.ok:
            return self.report.verdict
        if self.work is not None and not self.work.exact and all(one.sent == one.published for one in self.tallies):
            return f"not exactly once: {_worked(self.work)}"
        sent, published = sum(one.sent for one in self.tallies), sum(one.published for one in self.tallies)
        return f"not exactly once: {sent:,} events were sent and {published:,} have landed"


async def judge(
    client: Redis,
    simulator: Simulator,
    sessions: Sequence[Session],
    *,
    template: str = "lens:{<name>}:events",
    takeovers: Mapping[str, int] | None = None,
    settle_seconds: float = 15.0,
    database: Path | None = None,
) -> Judgement:
    """Compare, entry by entry. ``takeovers`` are those seen, by session name. Raises VerifyError.

    ``database``: of the service that read, which is held against what was sent as well.
    """
    control = simulator.control_url.removesuffix("/control")
    report = await verify(
        client, stream_targets(template, sessions), simulator_url=control, settle_seconds=settle_seconds
    )
    by_id = {one.session_id: one for one in report.sessions}
    tallies = [
        _tally(by_id[one.session_id], simulator.sessions[one.session_id], (takeovers or {}).get(one.name, 0))
        for one in sessions
    ]
    sent = {one.session_id: {event.id or "" for event in simulator.sessions[one.session_id].record} for one in sessions}
    work = await asyncio.to_thread(read_work, database, sent) if database is not None else None
    return Judgement(tallies=tuple(tallies), report=report, work=work)


def _tally(found: SessionReport, simulated: SimulatedSession, takeovers: int) -> Tally:
    counts = dict(found.fault_counts)
    return Tally(
        name=found.name,
        sent=len(simulated.record),
        published=found.events,
        twice=counts.get(FaultKind.DUPLICATE, 0),
        missing=counts.get(FaultKind.MISSING, 0) + (found.pending or 0),
        out_of_order=counts.get(FaultKind.OUT_OF_ORDER, 0),
        reconnects=max(0, len(simulated.connections) - 1),
        takeovers=takeovers,
    )


# Short words: it fits into a terminal of 80 columns.
_HEAD = ("", "SENT", "LANDED", "TWICE", "MISSING", "SWAPPED", "RECONNECTS", "TAKEOVERS")
_FAULTS = range(2, 5)  # the numbers that must be 0


def judgement_text(judgement: Judgement) -> Group:
    """The table, the offending entries where there are any, and the verdict as the last line."""
    rows = [(one.name, *list(asdict(one).values())[1:]) for one in judgement.tallies]
    rows.append(("total", *(sum(column) for column in list(zip(*rows, strict=True))[1:])))
    counts = table(*_HEAD, right=range(1, len(_HEAD)))
    for name, *numbers in rows:
        counts.add_row(name, *(_count(at, number) for at, number in enumerate(numbers)))
    verdict = Text("  verdict: ").append(judgement.verdict, Tone.GOOD if judgement.exact else Tone.BAD)
    return Group(counts, "", _meaning(judgement), verdict)


def _count(column: int, number: int) -> Text:
    wrong = Tone.BAD if number else Tone.GOOD
    return Text(f"{number:,}", wrong if column in _FAULTS else Tone.PLAIN)


def _meaning(judgement: Judgement) -> Text:
    if not judgement.exact:
        return Text("\n".join(f"  {line}" for line in render_text(judgement.report).splitlines()) + "\n")
    total = sum(one.sent for one in judgement.tallies)
    text = Text(f"  {total:,} events compared with the API's record: same ids, bytes and order.", Tone.DIM)
    if judgement.work is not None:
        text.append(f"\n  The service: {_worked(judgement.work)}.")
    return text


def _worked(work: Work) -> str:
    counts = f"{work.done:,} events worked on, {work.twice:,} twice, {work.missing + work.unknown:,} missing or unknown"
    return f"{counts}; {work.again:,} came again and were recognised"


def judgement_json(judgement: Judgement) -> dict[str, Any]:
    """The same for a program."""
    return {
        "ok": judgement.exact,
        "verdict": judgement.verdict,
        "sessions": [asdict(one) for one in judgement.tallies],
        "verify": as_json(judgement.report),
        "service": _work_json(judgement.work) if judgement.work else None,
    }


def _work_json(work: Work) -> dict[str, object]:
    counts = {"twice": work.twice, "missing": work.missing, "unknown": work.unknown, "again": work.again}
    return {"ok": work.exact, "worked": work.done, **counts, "members": dict(work.by)}
