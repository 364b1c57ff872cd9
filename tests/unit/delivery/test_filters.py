"""Events that are filtered out: the place moves on, nothing is published, and all rules about ids hold for them."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.delivery.batch import counts_in, records_in
from bridge.delivery.filters import Router, Selection, TypeFilter
from bridge.delivery.intake import Intake
from bridge.delivery.window import Window
from bridge.masking import Secrets
from bridge.model.keys import session_keys
from bridge.model.labels import GapReason
from bridge.model.place import START, Session
from bridge.model.records import Piece, PlainEvents, Record, Run, ServerSentEvent


@pytest.mark.parametrize(
    ("include", "exclude", "taken", "left"),
    [
        (["inference.*"], [], ["inference.result", "inference."], ["inference", "log.info", "Inference.result"]),
        (["*"], ["log.*", "error"], ["inference.result", "errors"], ["log.info", "log.", "error"]),
        (["log.*", "error"], ["log.debug"], ["log.info", "error"], ["log.debug", "t"]),
        (["a?", "[bc]"], [], ["ab", "b", "c"], ["a", "abc", "d"]),
        (["a.b"], [], ["a.b"], ["axb", "a.b\n"]),
    ],
)
def test_a_type_is_taken_that_is_included_and_not_excluded(
    include: list[str], exclude: list[str], taken: list[str], left: list[str]
) -> None:
    """Globs, whole names, upper and lower case told apart; asked twice it is the same."""
    filter = TypeFilter(include, exclude)
    for _ in range(2):
        assert [filter.takes(one) for one in (*taken, *left)] == [True] * len(taken) + [False] * len(left)
    assert filter.takes_all(taken)
    assert not filter.takes_all([*taken, left[0]])


def test_where_everything_is_taken_there_is_no_filter() -> None:
    """So that it costs nothing."""
    assert TypeFilter.of(["*"], []) is None
    assert TypeFilter.of(["*"], ["a"]) is not None
    assert TypeFilter.of(["a"], []) is not None


def test_types_without_end_take_no_memory_without_end() -> None:
    """A server may make up one for each event."""
    filter = TypeFilter(["a*"], [])
    for n in range(5000):
        assert filter.takes(f"a{n}")
    assert len(filter._known) <= 1000


def intake_of(selection: Selection | None = None) -> tuple[Intake, Window]:
    """At the start of a session."""
    window = Window(100)
    intake = Intake(place=START, window=window, secrets=Secrets(), selection=selection or Selection(exclude=["noise"]))
    intake.opened(resumed=False)
    return intake, window


def event(type: str, n: int, id: str | None = None) -> ServerSentEvent:
    """One with a type."""
    return ServerSentEvent("message", b'{"type":"%s","n":%d}' % (type.encode(), n), id, id or "")


def test_the_place_moves_past_what_is_filtered_out_and_no_number_is_taken() -> None:
    """One record for each, since the dedupe window has to know it."""
    intake, _ = intake_of()
    accepted = intake.accept([event("t", 1, "1"), event("noise", 2, "2"), event("noise", 3, "3")], 1.0)
    records = records_in(accepted.records)
    assert [(one.key, one.type, one.cursor, one.skip) for one in records] == [
        ("1", "t", "1", None),
        ("2", "", "2", 0),
        ("3", "", "3", 0),
    ]
    assert all(one.digest for one in records)
    assert counts_in(accepted.records) == (3, 1, 1)
    assert (accepted.filtered, intake.cursor) == (2, "3")
    assert accepted.types == {"t": 1, "noise": 2}


def test_a_replay_of_what_was_filtered_out_is_a_replay() -> None:
    """Counted as such, once published or not."""
    intake, _ = intake_of()
    events = [event("noise", 1, "1"), event("t", 2, "2")]
    intake.accept(events, 1.0)
    intake.opened(resumed=False)
    again = intake.accept(events, 2.0)
    assert (again.duplicates, again.filtered, again.records) == (2, 0, [])


def test_events_without_an_id_count_on_over_those_that_are_filtered_out() -> None:
    """So their keys are the same whatever the filter is, today and after it has changed."""
    keys = []
    for left_out in ("noise", "nothing"):
        intake, _ = intake_of(Selection(exclude=[left_out]))
        accepted = intake.accept([event("t", 0, "7"), event("noise", 1), event("t", 2), event("noise", 3)], 1.0)
        keys.append([one.key for one in records_in(accepted.records)])
        assert records_in(accepted.records)[-1].ordinal == 3
    assert keys[0] == keys[1]


def test_what_is_no_event_is_a_dead_letter_whatever_the_filter() -> None:
    """It has no type that a pattern could name."""
    intake, _ = intake_of(Selection(["nothing"]))
    accepted = intake.accept([ServerSentEvent("message", b"{", "1", "1")], 1.0)
    assert [one.dead is not None for one in records_in(accepted.records)] == [True]
    assert accepted.filtered == 0


def test_before_anything_was_published_there_is_no_gap_to_mark() -> None:
    """A consumer has nothing that something could be missing behind."""
    intake, _ = intake_of()
    intake.accept([event("noise", 1, "1")], 1.0)
    assert intake.gap(GapReason.CURSOR_UNKNOWN, outage_seconds=1.0, at=1.0) is None
    intake.accept([event("t", 2, "2")], 1.0)
    assert intake.gap(GapReason.CURSOR_UNKNOWN, outage_seconds=1.0, at=1.0)


def test_a_chunk_in_which_nothing_is_filtered_out_goes_by_column() -> None:
    """The filter is asked once for each type of a chunk."""
    intake, _ = intake_of()
    raws = [b'{"type":"t","n":%d}' % n for n in range(3)]
    assert len(intake.accept(PlainEvents(["1", "2", "3"], raws), 1.0).records) == 1
    mixed = [*raws[:2], b'{"type":"noise"}']
    assert len(intake.accept(PlainEvents(["4", "5", "6"], mixed), 1.0).records) == 3


def router(**routes: str) -> Router:
    """To `lens:{a}:<value>`, by glob."""
    keys = {glob: f"lens:{{<name>}}:{part}" for glob, part in routes.items()}
    made = Router.of(session_keys("lens:{<name>}:events", Session(name="a", session_id="lsn-a"), keys))
    assert made is not None
    return made


def record(type: str, **changes: Any) -> Record:
    """An event."""
    return Record("1", type, b"", 1.0, "message", b"", "1", 0)._replace(**changes)


def test_a_type_goes_to_the_stream_of_the_first_glob_that_fits() -> None:
    """Whole names, case told apart, and to the first stream where none fits; asked twice it is the same."""
    made = router(**{"log.info": "events", "log.*": "logs", "infer?nce.[rs]*": "results", "log*": "x"})
    expected = {
        "log.info": "events",
        "log.warn": "logs",
        "logs": "x",
        "inference.result": "results",
        "inference.error": "events",
        "Log.warn": "events",
        "": "events",
    }
    for _ in range(2):
        assert {type: made.stream_of(type).rpartition(":")[2] for type in expected} == expected


def test_the_streams_of_a_batch_are_told_for_what_takes_a_number_alone() -> None:
    """Markers go everywhere, dead letters and what is filtered out nowhere."""
    made = router(**{"log.*": "logs", "b": "results"})
    run = Run.of(["1", "2", "3"], ["b", "t", "log.x"], [b""] * 3, [b""] * 3, 1.0)
    batch: list[Piece] = [record("log.a"), record("bridge.gap", skip=2), run, record("", skip=0), record("t")]
    assert made.targets(batch) == b"23121"
    assert made.targets([record("t"), record("bridge.gap", skip=0)]) == b""
    assert made.targets([]) == b""


def test_where_all_goes_to_one_stream_there_is_no_router() -> None:
    """So that it costs nothing."""
    session = Session(name="a", session_id="lsn-a")
    assert Router.of(session_keys("lens:{<name>}:events", session)) is None
    assert Router.of(session_keys("lens:{<name>}:events", session, {"*": "lens:{a}:events"})) is None


def test_a_router_remembers_no_more_types_than_a_filter() -> None:
    """A server may make up one for each event."""
    made = router(**{"a*": "logs"})
    assert {made.stream_of(f"a{n}") for n in range(5000)} == {"lens:{a}:logs"}
    assert len(made._targets) <= 1000
