"""The intake by column: for any chunk that may come it does what it does one by one."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import event as note
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.delivery.batch import records_in
from bridge.delivery.filters import Selection
from bridge.delivery.intake import Intake
from bridge.delivery.window import Window
from bridge.masking import Secrets
from bridge.model.labels import GapReason
from bridge.model.place import START
from bridge.model.records import Accepted, PlainEvents, Run

SECRET = "sk-very-secret-key"
_IDS = st.integers(0, 60).map(str) | st.sampled_from(["bridge-1", "bridge-gap-2", f"id-{SECRET}", "a" * 200, "7#1-x"])
_TYPES = st.sampled_from(["t"] * 12 + ["inference.result", "bridge.gap", "sse.stream.heartbeat", "sse.stream.end", "é"])
_PAYLOADS = st.builds(
    lambda type, n: json.dumps({"type": type, "n": n}, ensure_ascii=False).encode(), _TYPES, st.integers(0, 3)
) | st.sampled_from(
    [
        *(b"{", b"[]", b'{"type":1}', b'{"type":"t","x":NaN}', b'{"type":"t","x":"\xff"}'),
        b'{"type":"t","k":"%s"}' % SECRET.encode(),
    ]
)


@st.composite
def chunks(draw: st.DrawFn) -> PlainEvents:
    """As the decoder gives them: often ids that count up, sometimes any."""
    if draw(st.integers(0, 3)):
        first, count = draw(st.integers(0, 50)), draw(st.integers(1, 12))
        ids = [str(first + at) for at in range(count)]
        raws = [b'{"type":"t","n":%d}' % (int(id) % 4) for id in ids]
        return PlainEvents(ids, raws)
    rows = draw(st.lists(st.tuples(_IDS, _PAYLOADS), min_size=1, max_size=12))
    return PlainEvents([id for id, _ in rows], [raw for _, raw in rows])


steps = st.lists(
    st.one_of(
        chunks(), chunks(), chunks(), st.sampled_from(["open", "open without", "commit", "without ids", "release"])
    ),
    max_size=25,
)


class Side:
    """One of the two that are compared."""

    def __init__(self, size: int, selection: Selection | None = None) -> None:
        self.window = Window(size)
        secrets = Secrets()
        secrets.add(SECRET)
        self.intake = Intake(place=START, window=self.window, secrets=secrets, selection=selection)
        self.intake.opened(resumed=False)
        self.pending: list[Any] = []
        self.blobs: list[bytes] = []

    def took(self, accepted: Accepted) -> tuple[Any, ...]:
        """What can be seen of it, record by record."""
        self.pending += accepted.records
        records = records_in(accepted.records)
        counts = (accepted.heartbeats, accepted.duplicates, accepted.filtered, accepted.conflicts, accepted.masked)
        return records, dict(accepted.types), counts, accepted.overrun, accepted.ended

    def commit(self) -> None:
        """All that was taken, in one commit; both must remember the same afterwards."""
        seal = self.window.seal(self.pending)
        self.window.committed(seal)
        self.blobs.append(seal.blob)
        self.pending = []


@settings(max_examples=400)
@given(
    steps,
    st.sampled_from([0, 5, 20, 1000]),
    st.sampled_from([(["*"], []), (["*"], ["inference.*"]), (["t"], [])]),
    st.booleans(),
)
def test_by_column_or_one_by_one_it_is_the_same(
    script: list[Any], size: int, globs: tuple[list[str], list[str]], strict: bool
) -> None:
    """Records, counts, the cursor, and what is remembered, over connections, replays, reuse and secrets."""
    selection = Selection(*globs, strict_json=strict)
    columns, singly = Side(size, selection), Side(size, selection)
    for step in script:
        if isinstance(step, PlainEvents):
            accepted = columns.intake.accept(step, 1.5)
            note(f"by column: {any(isinstance(piece, Run) for piece in accepted.records)}")
            assert columns.took(accepted) == singly.took(singly.intake.accept(step.events(), 1.5))
        for side in (columns, singly):
            match step:
                case "open":
                    side.intake.opened(resumed=side.intake.cursor is not None)
                case "open without":
                    side.intake.opened(resumed=False)
                    side.intake.gap(GapReason.NO_CURSOR, outage_seconds=0.0, at=1.0)
                case "commit":
                    side.commit()
        if step == "without ids":
            loose = [
                one._replace(id=None) for one in PlainEvents(["x", "y"], [b'{"type":"a"}', b'{"type":"b"}']).events()
            ]
            assert columns.took(columns.intake.accept(loose, 2.0)) == singly.took(singly.intake.accept(loose, 2.0))
        if step == "release":
            assert columns.took(columns.intake.release()) == singly.took(singly.intake.release())
        assert columns.intake.cursor == singly.intake.cursor
        assert columns.intake.holding == singly.intake.holding
        assert columns.blobs == singly.blobs
        assert len(columns.window) == len(singly.window)


def test_a_chunk_of_new_plain_events_stays_together() -> None:
    """Or all of it would be for nothing."""
    side = Side(100)
    for first in (0, 100):
        ids = [str(first + n) for n in range(50)]
        [run] = side.intake.accept(PlainEvents(ids, [b'{"type":"t"}'] * 50), 1.0).records
        assert isinstance(run, Run)
        assert (list(run.keys), side.intake.cursor, run.end) == (ids, ids[-1], (ids[-1], 0))
