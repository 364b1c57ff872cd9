"""What is kept of a night that verify says no to, and what it shows: the first bad entry, and what went before it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Container, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bridge.lab.simulator.lens.connection import Connection
from bridge.lab.simulator.lens.history import RecordEntry
from tests.soak.night import Night
from tests.soak.timeline import Timeline
from tests.support.worker_rig import keys_of

__all__ = ["Offence", "keep", "offences", "served"]


class Offence(NamedTuple):
    """The first entry of a stream that is wrong in some way. ``at`` is its Unix time by Redis's clock."""

    kind: str
    at: float
    detail: str


async def keep(night: Night, timeline: Timeline, directory: Path) -> None:
    """Write down all that can be known of the night, and print which faults preceded each session's first offence."""
    _write(directory / "timeline.jsonl", [one._asdict() for one in timeline.faults])
    for name, session in night.sessions.items():
        entries = await night.rig.raw_entries(keys_of(session).events)
        letters = await night.rig.raw_entries(keys_of(session).dead_letter)
        state: Any = await night.rig.client.hgetall(keys_of(session).state)
        _write(directory / f"{name}.state.jsonl", [_text(state)])
        _write(directory / f"{name}.stream.jsonl", [{"entry": entry.decode()} | _text(each) for entry, each in entries])
        _write(
            directory / f"{name}.letters.jsonl", [{"entry": entry.decode()} | _text(each) for entry, each in letters]
        )
        _write(directory / f"{name}.record.jsonl", [entry.as_json() for entry in session.record])
        _write(directory / f"{name}.connections.jsonl", [one.as_json() for one in session.connections])
        ever = served(session.connections, len(session.record))
        for offence in offences(session.record, entries, ever, {each[b"id"] for _, each in letters}):
            print(f"{name}: first {offence.kind} at {offence.at - timeline.began:.2f} s: {offence.detail}; before it")
            for fault in timeline.before(offence.at, session.session_id):
                print(f"     {fault.line(timeline.began)}")
    print(f"evidence in {directory}")


def served(connections: Iterable[Connection], events: int) -> list[bool]:
    """Which events were written to any connection, as the simulator's log of connections tells."""
    ever = [False] * events
    for one in connections:
        if one.position is not None:
            begin = one.position + one.skipped
            ever[begin : begin + one.events] = [True] * len(ever[begin : begin + one.events])
    return ever


def offences(
    record: Sequence[RecordEntry],
    entries: Sequence[tuple[bytes, dict[bytes, bytes]]],
    ever: Sequence[bool],
    letters: Container[bytes] = (),
) -> list[Offence]:
    """The first repeat, the first step back and the first hole of a stream, compared with what the server has sent.

    ``letters`` are the ids of dead letters: such an event is not missing.

    A hole tells how many events are missing in all, and how many of them were ever served to anybody.
    """
    place_of = {(one.id or "", one.sha256): at for at, one in enumerate(record)}
    found: dict[str, Offence] = {}
    delivered: set[int] = set()
    reached = -1
    holes: list[tuple[float, int, int]] = []
    for entry, fields in entries:
        at = _seconds(entry)
        place = _place(place_of, fields)
        if place is None:
            continue
        if place in delivered:
            found.setdefault("repeat", Offence("repeat", at, f"{entry.decode()} holds event {place} again"))
        elif place < reached:
            found.setdefault("step back", Offence("step back", at, f"{entry.decode()}: {place} behind {reached}"))
        elif place > reached + 1:
            holes.append((at, reached + 1, place))
        delivered.add(place)
        reached = max(reached, place)
    missing = [at for at in range(reached + 1) if at not in delivered and (record[at].id or "").encode() not in letters]
    if missing:
        at, begin, end = next(hole for hole in holes if hole[1] <= missing[0] < hole[2])
        was = sum(ever[one] for one in missing)
        detail = f"events {begin} to {end - 1}; missing in all {len(missing)}, of which {was} were ever served"
        found["hole"] = Offence("hole", at, detail)
    return sorted(found.values(), key=lambda offence: offence.at)


def _place(place_of: dict[tuple[str, bytes], int], fields: dict[bytes, bytes]) -> int | None:
    sha256 = hashlib.sha256(fields[b"data"].decode("utf-8", "replace").encode()).digest()  # as the record has it
    place = place_of.get((fields[b"id"].decode(), sha256))
    return place_of.get(("", sha256)) if place is None else place


def _seconds(entry: bytes) -> float:
    return int(entry.partition(b"-")[0]) / 1000


def _text(fields: dict[bytes, bytes]) -> dict[str, str]:
    return {name.decode(): value.decode(errors="replace") for name, value in fields.items()}


def _write(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
