"""Any stream that a bridge can write has no fault; the same stream tampered with in any one way has one."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from bridge.delivery.batch import records_in
from bridge.delivery.filters import Selection
from bridge.delivery.intake import Intake
from bridge.delivery.window import Window
from bridge.masking import Secrets
from bridge.model.labels import GapReason
from bridge.model.place import START
from bridge.model.records import Piece
from bridge.source.sse import ServerSentEvent
from tests.support.verify_streams import Stream, Writer, body, hash8, judge

IDS = st.sampled_from(
    ["a", "b", "0", "bridge-1", "bridge-gap-1", "8#1-1f0c33aa", "c~0123abcd", "é", "x#y", "~", "server-z"]
)
TYPES = st.sampled_from(["inference.result", "bridge.gap", "", "bridge.x", "log"])


@st.composite
def honest(draw: st.DrawFn) -> Stream:
    """A stream, and maybe its beginning trimmed."""
    writer = Writer(numbered_markers=draw(st.booleans()))
    used: list[str] = []
    for step in draw(st.lists(st.sampled_from("eeeennnrlkgx"), min_size=1, max_size=20)):
        _write(writer, step, used, draw)
    ends: bool = draw(st.booleans())
    if used and ends:
        writer.ended()
    return writer.stream.trimmed(draw(st.integers(0, 3)))


def _write(writer: Writer, step: str, used: list[str], draw: Any) -> None:
    match step:
        case "e":
            id = draw(IDS)
            id = id if id not in used else f"{id}-{len(used)}"
            writer.event(id, type=draw(TYPES))
            used.append(id)
        case "n":
            writer.without_id()
        case "r" if used:
            writer.reused(draw(st.sampled_from(used)), body(f"again {len(writer.stream.entries)}"))
        case "l":
            writer.letter(f"dead-{len(writer.stream.letters)}", reason=draw(st.sampled_from(["oversize", "rejected"])))
        case "k":
            writer.letter(None, b"{" * (len(writer.stream.letters) + 1))
        case "g" if writer.stream.entries:
            writer.gap()
        case "x" if writer.stream.entries and not writer.numbered_markers:
            writer.lost(draw(st.integers(1, 5)))


@settings(deadline=None, max_examples=200)
@given(st.lists(st.sampled_from("eeennrkgxLLNppff"), min_size=1, max_size=25), st.integers(0, 3), st.data())
def test_what_was_published_later_and_what_was_filtered_out_is_no_fault(
    steps: list[str], trim: int, data: st.DataObject
) -> None:
    """Dead letters that become entries at any time, events that leave none, among everything else."""
    writer, used = Writer(), list[str]()
    whole: list[str] = []
    for step in steps:
        match step:
            case "L" | "N":
                id = f"whole-{len(steps)}-{len(whole)}-{writer.milliseconds}" if step == "L" else None
                writer.letter(id, body(f"whole {writer.milliseconds}"), "rejected")
                whole.append(writer.stream.letters[-1][0])
            case "p" if whole:
                entry = whole.pop(data.draw(st.integers(0, len(whole) - 1)))
                writer.publish_letter([one for one, _ in writer.stream.letters].index(entry))
            case "f":
                writer.filtered(data.draw(st.none() | st.just(f"filtered-{writer.milliseconds}-{len(used)}")))
            case _:
                _write(writer, step, used, data.draw)
    stream = writer.stream.trimmed(trim)
    assert judge(stream).faults == (), stream


@settings(deadline=None, max_examples=200)
@given(honest())
def test_what_a_bridge_writes_has_no_fault(stream: Stream) -> None:
    """Whatever the ids look like, and wherever it was trimmed."""
    assert judge(stream).faults == ()


# What a bridge's own intake makes of a server that may do anything


@st.composite
def server(draw: st.DrawFn) -> list[Any]:
    """Connections, each with the events that come over it."""
    payload = st.integers(0, 5).map(lambda n: body(n)) | st.sampled_from(
        [b"{", b"[]", b'{"type": ""}', b'{"type":"\\ud83d"}', b'{"type":"t","x":NaN}', b'{"type":"t","x":"\xff"}']
    )
    id = st.none() | st.sampled_from(["1", "2", "3", "0", "bridge-4", "5#1-1f0c33aa", "6~0123abcd"])
    events = st.lists(st.tuples(id, payload), max_size=8)
    return draw(st.lists(st.tuples(st.booleans(), st.booleans(), events), min_size=1, max_size=5))


@settings(deadline=None, max_examples=200)
@given(server(), st.sampled_from([Selection(), Selection(exclude=[""]), Selection([""]), Selection(strict_json=True)]))
def test_what_the_intake_makes_of_any_server_has_no_fault(connections: list[Any], selection: Selection) -> None:
    """The rules for keys were written twice, on either side; this is where they meet."""
    intake = Intake(place=START, window=Window(10_000), secrets=Secrets(), selection=selection)
    writer = Writer()
    for at, (resumed, at_once, events) in enumerate(connections):
        intake.opened(resumed=resumed)
        if at and not resumed:
            _land(writer, intake.gap(GapReason.NO_CURSOR, outage_seconds=1.0, at=1.0) or [])
        received = [ServerSentEvent("message", raw, id, id or "") for id, raw in events]
        for chunk in [received] if at_once else [[one] for one in received]:
            taken = intake.accept(chunk, 1741843200.0)
            assume(not taken.overrun)  # counted and alarmed about: it publishes twice
            assume(
                selection.types is None or not taken.conflicts
            )  # an id that comes again, filtered out: see `bridge.verify`
            _land(writer, taken.records)
        _land(writer, intake.release().records)
    stream = writer.stream
    assert judge(stream).faults == (), [(name, one["id"]) for name, one in stream.entries]


def _land(writer: Writer, batch: Sequence[Piece]) -> None:
    writer.milliseconds += 1
    writer.one_commit = True
    for record in records_in(batch):
        writer.land(record)


# One thing changed

Tamper = Callable[[Stream, Any], None]


def _place(stream: Stream, draw: Any, *, begin: int = 1, markers: bool = False) -> int:
    places = [at for at in range(begin, len(stream.entries)) if markers or not _is_marker(stream.entries[at][1])]
    assume(places)
    return int(draw(st.sampled_from(places)))


def _is_marker(fields: dict[str, Any]) -> bool:
    return str(fields["id"]).startswith("bridge-") and str(fields["type"]).startswith("bridge.")


def _delete(stream: Stream, draw: Any) -> None:
    del stream.entries[_place(stream, draw)]


def _duplicate(stream: Stream, draw: Any) -> None:
    at = _place(stream, draw, begin=0)
    stream.insert(draw(st.integers(at + 1, len(stream.entries))), dict(stream.entries[at][1]))


def _duplicate_with_a_number(stream: Stream, draw: Any) -> None:
    at = _place(stream, draw, begin=0)
    copied = dict(stream.entries[at][1])
    assume("#" not in copied["id"])
    if draw(st.booleans()):
        copied["id"] += "~" + hash8(copied["data"])
    seq = stream.entries[-1][1]["seq"] + 1
    assume(stream.state is not None and stream.state["seq"] == seq - 1)
    stream.insert(len(stream.entries), copied | {"seq": seq})
    assert stream.state is not None
    stream.state["seq"] = seq


def _swap(stream: Stream, draw: Any) -> None:
    at = _place(stream, draw, begin=0)
    assume(at + 1 < len(stream.entries) and not _is_marker(stream.entries[at + 1][1]))
    one, other = stream.entries[at], stream.entries[at + 1]
    stream.entries[at], stream.entries[at + 1] = (one[0], other[1]), (other[0], one[1])


def _renumber(stream: Stream, draw: Any) -> None:
    at = _place(stream, draw, markers=True)
    fields = stream.entries[at][1]
    before = json.loads(stream.entries[at - 1][1]["data"])
    assume("to_seq" not in before)  # after lost numbers a marker may stand at either end of them
    seq = draw(st.integers(1, fields["seq"] + 3))
    assume(seq != fields["seq"])
    fields["seq"] = seq


def _shift(stream: Stream, draw: Any) -> None:
    stream.renumber(_place(stream, draw), draw(st.integers(1, 5)))


def _field(stream: Stream, draw: Any) -> None:
    fields = stream.entries[_place(stream, draw, begin=0, markers=True)][1]
    match draw(st.sampled_from(["less", "time", "type", "number"])):
        case "less":
            del fields[draw(st.sampled_from(sorted(fields)))]
        case "time":
            fields["received_at"] = draw(st.sampled_from(["nan", "inf", "-1.5", "", "x", "1e5"]))
        case "type":
            fields["type"] += "x"
        case "number":
            fields["seq"] = draw(st.sampled_from(["", "x", "-1", "1.0", " 1", "1_0", "9" * 30]))


def _other_session(stream: Stream, draw: Any) -> None:
    stream.entries[_place(stream, draw)][1]["session_id"] = "lsn-2"


def _state(stream: Stream, draw: Any) -> None:
    assert stream.state is not None
    assume(stream.entries)
    match draw(st.sampled_from(["seq", "cursor", "gone"])):
        case "seq":
            seq = draw(st.integers(0, stream.state["seq"] + 5))
            assume(seq != stream.state["seq"])
            stream.state["seq"] = seq
        case "cursor":
            assume(any(not _is_marker(fields) for _, fields in stream.entries))
            stream.state["cursor"] = draw(st.sampled_from(["never seen", "never seen either"]))
        case "gone":
            stream.state = None


def _marker(stream: Stream, draw: Any) -> None:
    markers = [fields for _, fields in stream.entries if fields["type"] == "bridge.gap" and _is_marker(fields)]
    assume(markers)
    fields = draw(st.sampled_from(markers))
    told = json.loads(fields["data"])
    match draw(st.sampled_from(["reason", "numbers", "id"])):
        case "reason":
            del told["reason"]
        case "numbers":
            told["to_seq"] = told.get("to_seq", 0) + draw(st.integers(1, 3))
        case "id":
            fields["id"] = "bridge-other"
    fields["data"] = json.dumps(told).encode()


def _letter(stream: Stream, draw: Any) -> None:
    assume(stream.letters)
    at = draw(st.integers(0, len(stream.letters) - 1))
    fields = stream.letters[at][1]
    match draw(st.sampled_from(["reason", "less", "beside"])):
        case "reason":
            fields["reason"] = draw(st.sampled_from(["", "x"]))
        case "less":
            del fields[draw(st.sampled_from(["id", "data", "reason"]))]
        case "beside":
            fields["id"] = stream.entries[_place(stream, draw, begin=0)][1]["id"]


TAMPERS: list[Tamper] = [
    _delete, _duplicate, _duplicate_with_a_number, _swap, _renumber, _shift, _field, _other_session, _state, _marker,
    _letter,
]  # fmt: skip


@settings(deadline=None, max_examples=400)
@given(honest(), st.sampled_from(TAMPERS), st.data())
def test_a_stream_that_was_tampered_with_has_a_fault(stream: Stream, tamper: Tamper, data: st.DataObject) -> None:
    """Entries deleted, doubled, swapped, renumbered, fields and state changed, at any place.

    An event that is missing just before a marker looks as an earlier release's marker, which the verdict tells.
    """
    before = judge(stream).numbered_markers
    tamper(stream, data.draw)
    report = judge(stream)
    assert report.fault_total or (tamper in (_delete, _other_session) and report.numbered_markers > before), stream
