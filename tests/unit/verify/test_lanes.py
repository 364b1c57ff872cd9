"""The one order of a session's entries that stand in several streams."""

from __future__ import annotations

from bridge.verify.entries import Entry
from bridge.verify.lanes import HELD, Lanes
from bridge.verify.report import Findings

STREAMS = ("main", "logs")


def event(seq: int, stream: str = "main") -> Entry:
    """The entry of this number."""
    return Entry(f"{seq}-0", f"e{seq}", "lsn-1", seq, "t", b"", 1.0, stream=stream)


def marker(seq: int, stream: str = "main") -> Entry:
    """A marker behind the event of this number."""
    return Entry(f"{seq}-1", "bridge-gap-1", "lsn-1", seq, "bridge.gap", b"", 1.0, stream=stream)


def test_what_is_next_is_given_as_soon_as_it_comes_and_nothing_waits_without_need() -> None:
    """The judge reads streams of any length in bounded memory."""
    lanes = Lanes(Findings(), STREAMS, ())
    assert [one.entry.seq for one in lanes.add("main", event(1))] == [1]
    assert [one.entry.seq for one in lanes.add("main", event(3))] == []
    assert [one.entry.seq for one in lanes.add("logs", event(2, "logs"))] == [2, 3]
    assert list(lanes.rest()) == []


def test_what_never_comes_is_waited_for_so_long_and_no_longer() -> None:
    """It is missing then."""
    lanes = Lanes(Findings(), STREAMS, ())
    given = [[one.entry.seq for one in lanes.add("main", event(seq))] for seq in range(2, HELD + 3)]
    assert given == [[]] * HELD + [list(range(2, HELD + 3))]


def test_a_stream_that_was_trimmed_to_nothing_lacks_no_marker() -> None:
    """Nobody can tell that it never stood there; of a stream that is whole it is known."""
    for trimmed, faults in (("logs",), 0), ((), 1):
        findings = Findings()
        lanes = Lanes(findings, STREAMS, trimmed)
        for entry in (event(1), marker(1)):
            list(lanes.add("main", entry))
        lanes.conclude({"logs": 0})
        assert len(findings.faults) == faults
