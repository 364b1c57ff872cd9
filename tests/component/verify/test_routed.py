"""`verify` where a session's events are routed to several streams: judged together, as one run of numbers."""

from __future__ import annotations

import json
import random
from collections.abc import Collection, Mapping
from typing import Any

import pytest

from bridge.model.keys import session_keys
from bridge.model.place import Session
from bridge.verify import StreamTarget, VerifyError, stream_targets, verify
from bridge.verify.report import FaultKind, Report, SessionReport, as_json, render_text
from tests.support.verify_lies import HONEST, LIES
from tests.support.verify_streams import SESSION, Stream, Writer, flat

Client = Any  # redis-py's types know every field and reply that could be

ROUTES = {"log.*": "lens:{<name>}:logs", "inference.*": "lens:{<name>}:results"}
KEYS = session_keys("lens:{<name>}:events", SESSION, ROUTES)
MAIN, LOGS, RESULTS = KEYS.streams
TARGET = StreamTarget(stream_key=MAIN, sessions=(SESSION,))  # what is routed is told by the state


def is_marker(fields: Mapping[str, Any]) -> bool:
    """As a reader tells."""
    return str(fields.get("id", "")).startswith("bridge-") and str(fields.get("type", "")).startswith("bridge.")


def was_numbered(stream: Stream) -> bool:
    """An earlier release gave markers numbers, and knew no routes."""
    seqs = [fields["seq"] for _, fields in stream.entries if is_marker(fields) and "seq" in fields]
    others = {fields.get("seq") for _, fields in stream.entries if not is_marker(fields)}
    return any(seq and seq not in others for seq in seqs)


async def spread(redis: Client, stream: Stream, seed: int, *, trimmed: bool = False) -> dict[str, list[str]]:
    """Load it over three streams, each event into one of them, as a seed has it; gives the ids in each."""
    chosen = random.Random(seed)
    found: dict[str, list[str]] = {key: [] for key in KEYS.streams}
    if trimmed:
        for key in KEYS.streams:
            await redis.xadd(key, {"id": "gone"}, id="1-1")
            await redis.xtrim(key, maxlen=0, approximate=False)
    for at, (entry_id, fields) in enumerate(stream.entries):
        for key in KEYS.streams if is_marker(fields) else (chosen.choice(KEYS.streams),):
            await redis.execute_command("XADD", key, entry_id, *flat(fields), *stream.extra.get(at, []))
            found[key].append(entry_id)
    for entry_id, fields in stream.letters:
        await redis.execute_command("XADD", KEYS.dead_letter, entry_id, *flat(fields))
    if stream.state:
        told = {"streams": "\n".join(KEYS.streams), "routed": json.dumps({LOGS: 0, RESULTS: 0})}
        await redis.hset(KEYS.state, mapping=stream.state | told)
    return found


async def judged(redis: Client, target: StreamTarget = TARGET) -> SessionReport:
    """The one report."""
    return only(await verify(redis, [target]))


def only(report: Report) -> SessionReport:
    """Of one session."""
    (one,) = report.sessions
    return one


def kinds(report: SessionReport) -> set[FaultKind]:
    """What it is accused of."""
    return {fault.kind for fault in report.faults}


FAIR = [name for name, stream in HONEST.items() if stream.removed_until < 0 and not was_numbered(stream)]


@pytest.mark.parametrize("name", FAIR)
async def test_what_a_bridge_writes_into_several_streams_has_no_fault(redis: Client, name: str) -> None:
    """Not one false alarm, whichever stream each event is routed to."""
    for seed in range(3):
        await redis.flushall()
        await spread(redis, HONEST[name], seed, trimmed="trimmed" in name)
        report = await judged(redis)
        assert (report.faults, report.fault_counts) == ((), ()), seed


ONE_STREAM_ONLY = ("two entries swapped", "two numbers swapped")  # of two streams nobody can tell: see `bridge.verify`
TOLD = [
    name
    for name, (_, stream) in LIES.items()
    if stream.removed_until < 0 and stream.state and name not in ONE_STREAM_ONLY
]


@pytest.mark.parametrize("name", TOLD)
async def test_a_lie_is_found_whichever_streams_it_is_spread_over(redis: Client, name: str) -> None:
    """The judge sees one run of numbers, as of one stream."""
    _, stream = LIES[name]
    for seed in range(3):
        await redis.flushall()
        await spread(redis, stream, seed)
        assert not (await verify(redis, [TARGET])).ok, seed


def routed() -> Writer:
    """Ten events, with a marker in the middle."""
    writer = Writer()
    for number in range(1, 6):
        writer.event(f"e{number}")
    writer.gap()
    for number in range(6, 11):
        writer.event(f"e{number}")
    return writer


async def place(redis: Client, key: str, numbers: Collection[int] = (), *, marker: bool = True) -> None:
    """Some of `routed`, by number; the marker behind all up to the fifth."""
    done = not marker
    for entry_id, fields in routed().stream.entries:
        if is_marker(fields):
            if not done:
                await redis.xadd(key, fields, id=entry_id)
            done = True
        elif fields["seq"] in numbers:
            await redis.xadd(key, fields, id=entry_id)


async def load_routed(redis: Client, *, marker_in_logs: bool = True, **state: Any) -> None:
    """1, 4, 7, 10 in the first stream, 2, 5, 8 in the logs, 3, 6, 9 in the results."""
    await place(redis, MAIN, (1, 4, 7, 10))
    await place(redis, LOGS, (2, 5, 8), marker=marker_in_logs)
    await place(redis, RESULTS, (3, 6, 9))
    told = {"streams": "\n".join(KEYS.streams), "routed": json.dumps({LOGS: 0, RESULTS: 0})}
    honest: Any = routed().stream.state
    await redis.hset(KEYS.state, mapping=honest | told | state)


async def entry_of(redis: Client, key: str, seq: int) -> tuple[bytes, dict[bytes, bytes]]:
    """The event with this number, and its id."""
    found: Any = await redis.xrange(key)
    return next((id, fields) for id, fields in found if fields[b"seq"] == b"%d" % seq and fields[b"type"][:1] != b"b")


async def test_the_streams_of_a_session_are_counted_and_named_together(redis: Client) -> None:
    """A person and a program see where it was looked."""
    await load_routed(redis)
    report = await verify(redis, [TARGET])
    one = only(report)
    assert (one.faults, one.events, one.markers, one.first_seq, one.last_seq) == ((), 10, 1, 1, 10)
    assert f"{MAIN}, {LOGS}, {RESULTS}" in render_text(report)
    assert as_json(report)["sessions"][0]["routed"] == [LOGS, RESULTS]
    assert report.verdict == "no fault found in 10 events in 1 session, 1 declared gap"


async def test_an_event_that_stands_in_two_streams_is_a_duplicate(redis: Client) -> None:
    """Also under its own number: each reader would act on it."""
    await load_routed(redis)
    _, fields = await entry_of(redis, LOGS, 8)
    await redis.xadd(RESULTS, fields)
    report = await judged(redis)
    assert FaultKind.DUPLICATE in kinds(report)
    assert {fault.stream for fault in report.faults} <= {LOGS, RESULTS}


async def test_an_event_taken_out_of_a_routed_stream_is_a_hole(redis: Client) -> None:
    """Its number stands nowhere."""
    await load_routed(redis)
    id, _ = await entry_of(redis, LOGS, 8)
    await redis.xdel(LOGS, id)
    report = await judged(redis)
    assert [(fault.kind, fault.detail) for fault in report.faults] == [(FaultKind.HOLE, "seq 8 missing before it")]


async def test_events_out_of_order_within_a_routed_stream_are_found(redis: Client) -> None:
    """Its readers count on numbers that rise."""
    await load_routed(redis)
    id, fields = await entry_of(redis, RESULTS, 6)
    await redis.xdel(RESULTS, id)
    await redis.xadd(RESULTS, fields)
    assert FaultKind.OUT_OF_ORDER in kinds(await judged(redis))


async def test_a_marker_that_one_of_the_streams_lacks_is_told(redis: Client) -> None:
    """Whoever reads that one alone would not learn of the gap."""
    await load_routed(redis, marker_in_logs=False)
    report = await judged(redis)
    assert kinds(report) == {FaultKind.MARKER}
    assert f"does not stand in {LOGS}" in report.faults[0].detail


async def test_a_marker_is_not_asked_for_where_the_route_came_later_or_is_gone(redis: Client) -> None:
    """The state says since when a stream is written to; what was taken away holds numbers all the same."""
    for routes in ({LOGS: 5, RESULTS: 0}, {LOGS: -1, RESULTS: 0}):
        await redis.flushall()
        await load_routed(redis, marker_in_logs=False, routed=json.dumps(routes))
        assert (await judged(redis)).faults == ()


async def test_a_marker_in_the_wrong_place_of_one_stream_is_told(redis: Client) -> None:
    """It says between which events the gap is."""
    await load_routed(redis, marker_in_logs=False)
    found: Any = await redis.xrange(MAIN)
    marker = next(fields for _, fields in found if fields[b"type"] == b"bridge.gap")
    await redis.xadd(LOGS, marker)
    report = await judged(redis)
    assert [(fault.kind, fault.detail) for fault in report.faults] == [
        (FaultKind.MARKER, "it stands behind seq 8 there")
    ]


async def test_a_marker_that_says_something_else_in_one_stream_is_told(redis: Client) -> None:
    """All readers are to learn the same."""
    await load_routed(redis, marker_in_logs=False)
    found: Any = await redis.xrange(MAIN)
    marker = next(fields for _, fields in found if fields[b"type"] == b"bridge.gap")
    told = json.loads(marker[b"data"]) | {"outage_seconds": 1.0}
    await redis.delete(LOGS)
    await place(redis, LOGS, (2, 5), marker=False)
    await redis.xadd(LOGS, marker | {b"data": json.dumps(told)}, id=f"{routed().stream.entries[5][0]}")
    await place(redis, LOGS, (8,), marker=False)
    report = await judged(redis)
    assert kinds(report) == {FaultKind.MARKER}
    assert "not the same" in report.faults[0].detail


async def test_what_was_trimmed_from_one_of_the_streams_is_a_note_and_no_hole(redis: Client) -> None:
    """Its numbers lie between those that are left in the others."""
    await load_routed(redis)
    await redis.xtrim(LOGS, maxlen=1, approximate=False)
    report = await judged(redis)
    assert (report.faults, report.begins_late) == ((), True)
    assert any("2 numbers are not there" in note for note in report.notes)


async def test_a_hole_behind_what_was_trimmed_is_still_a_hole(redis: Client) -> None:
    """Trimming excuses what stood before the first entry that is left, and nothing else."""
    await load_routed(redis)
    await redis.xtrim(LOGS, maxlen=2, approximate=False)
    id, _ = await entry_of(redis, RESULTS, 9)
    await redis.xdel(RESULTS, id)
    assert [fault.detail for fault in (await judged(redis)).faults] == ["seq 9 missing before it"]


async def test_a_session_that_nobody_named_is_judged_over_its_streams_as_well(redis: Client) -> None:
    """It is found in the stream; its state tells the others, which are then read too."""
    await load_routed(redis)
    assert (await judged(redis, StreamTarget(stream_key=MAIN))).faults == ()


async def test_sessions_that_share_only_a_routed_stream_are_judged_each_with_its_own(redis: Client) -> None:
    """The other one's numbers begin in a stream of its own."""
    sessions = [Session(name=name, session_id=f"lsn-{name}") for name in ("a", "b")]
    targets = stream_targets("lens:{all}:<name>", sessions, {"log.*": "lens:{all}:logs"})
    for session in sessions:
        keys = session_keys("lens:{all}:<name>", session, {"log.*": "lens:{all}:logs"})
        for entry_id, fields in routed().stream.entries:
            own = fields | {"session_id": session.session_id}
            if is_marker(fields) or fields["seq"] % 2:
                await redis.xadd(keys.events, own, id=entry_id)
            if is_marker(fields) or not fields["seq"] % 2:
                await redis.xadd("lens:{all}:logs", own)
        told = {"streams": "\n".join(keys.streams), "routed": json.dumps({"lens:{all}:logs": 0})}
        honest: Any = routed().stream.state
        await redis.hset(keys.state, mapping=honest | told)
    report = await verify(redis, targets)
    assert [(one.session_id, one.events, one.faults) for one in report.sessions] == [
        ("lsn-a", 10, ()),
        ("lsn-b", 10, ()),
    ]


async def test_a_routed_stream_by_itself_is_not_judged(redis: Client) -> None:
    """It holds a part of the numbers; the message names the stream that holds the rest."""
    await load_routed(redis)
    with pytest.raises(VerifyError, match=r"routed from lens:\{line-1\}:events"):
        await verify(redis, [StreamTarget(stream_key=LOGS)])


async def test_many_entries_of_one_stream_before_the_first_of_another_are_put_in_order(redis: Client) -> None:
    """One commit writes them in one millisecond, so their ids say nothing of their order."""
    writer = Writer()
    for number in range(1, 4001):
        writer.event(f"e{number}")
    pipeline = redis.pipeline(transaction=False)
    for at, (_, fields) in enumerate(writer.stream.entries):
        pipeline.xadd(MAIN if at < 1500 or at % 2 else LOGS, fields, id=f"{1_741_843_200_000}-*")
    await pipeline.execute()
    told = {"streams": "\n".join(KEYS.streams), "routed": json.dumps({LOGS: 0, RESULTS: 0})}
    honest: Any = writer.stream.state
    await redis.hset(KEYS.state, mapping=honest | told)
    assert (await judged(redis)).faults == ()
