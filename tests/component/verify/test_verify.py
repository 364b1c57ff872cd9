"""`verify` against a real Redis: yes to a good stream; to each kind of bad one no, with the offending entry."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web
from redis.asyncio import Redis

from bridge.model.keys import SessionKeys, session_keys
from bridge.model.place import Session
from bridge.verify import StreamTarget, VerifyError, stream_targets, verify
from bridge.verify.report import FaultKind, Report, SessionReport, as_json, render_text
from tests.support.verify_lies import HONEST, LIES
from tests.support.verify_streams import load

SESSION = Session(name="line-1", session_id="lsn-1")
KEYS = session_keys("lens:{<name>}:events", SESSION)
TARGET = StreamTarget(stream_key=KEYS.events, sessions=(SESSION,))


def body(number: int) -> bytes:
    """The data of the n-th event."""
    return json.dumps({"type": "inference.result", "n": number}).encode()


def event(seq: int, id: str | None = None, **fields: Any) -> dict[str, Any]:
    """The fields of a sound entry, with some replaced."""
    return {
        "id": id or f"e{seq}",
        "session_id": SESSION.session_id,
        "seq": seq,
        "type": "inference.result",
        "data": body(seq),
        "received_at": "1741843200.123",
        **fields,
    }


def without_id(seq: int, after: str, ordinal: int, data: bytes | None = None) -> dict[str, Any]:
    """An entry of an event that came without an id."""
    data = data or body(seq)
    return event(seq, f"{after}#{ordinal}-{hashlib.sha256(data).hexdigest()[:8]}", data=data)


def gap(seq: int, reason: str = "cursor_unknown") -> dict[str, Any]:
    """A gap marker, which has the number of the entry before it."""
    data = json.dumps({"reason": reason, "last_id": "e1", "outage_seconds": 12.5})
    return event(seq, f"bridge-gap-{seq}", type="bridge.gap", data=data)


async def write(redis: Redis, entries: Sequence[Any], *, keys: SessionKeys = KEYS, **state: Any) -> list[str]:
    """Append entries, set the state that fits the last one or as told, and return the entries' ids."""
    names: list[str] = []
    for one in entries:
        name: Any = await redis.xadd(keys.events, one)
        names.append(name.decode())
    seqs = [int(one["seq"]) for one in entries if str(one.get("seq", "")).isdigit()]
    ids = [str(one["id"]) for one in entries if "id" in one and not str(one["id"]).startswith("bridge-")]
    fitting: dict[Any, Any] = {
        "cursor": ids[-1] if ids else "",
        "seq": seqs[-1] if seqs else 0,
        "ordinal": 0,
        "commits": 1,
    }
    await redis.hset(keys.state, mapping=fitting | state)
    return names


async def bury(redis: Redis, id: str, **more: Any) -> Any:
    """Write a dead letter."""
    fields = {
        "id": id,
        "session_id": SESSION.session_id,
        "data": "{",
        "reason": "invalid_json",
        "detail": "why",
        **more,
    }
    return await redis.xadd(KEYS.dead_letter, fields | more)


async def judged(redis: Redis, **options: Any) -> SessionReport:
    """The report of the one session."""
    report = await verify(redis, [TARGET], **options)
    assert len(report.sessions) == 1
    return report.sessions[0]


def offences(session: SessionReport) -> list[tuple[FaultKind, str | None]]:
    """Kinds of faults with the entries they name."""
    return [(fault.kind, fault.entry) for fault in session.faults]


async def test_a_good_stream_has_no_fault(redis: Redis) -> None:
    """Dense numbers, unique ids and a fitting state pass."""
    await write(redis, [event(seq) for seq in range(1, 1201)])
    report = await verify(redis, [TARGET])
    assert report.ok
    assert report.verdict == "no fault found in 1,200 events in 1 session"
    assert not report.compared
    assert (report.sessions[0].first_seq, report.sessions[0].last_seq) == (1, 1200)
    assert report.sessions[0].notes == ()


async def test_a_duplicate_is_named(redis: Redis) -> None:
    """An id that comes a second time, far from the first, is a duplicate at its second entry."""
    entries = [event(seq) for seq in range(1, 21)]
    entries[14] = event(15, "e3")
    names = await write(redis, entries)
    session = await judged(redis)
    assert offences(session) == [(FaultKind.DUPLICATE, names[14])]
    assert (session.faults[0].id, session.faults[0].seq) == ("e3", 15)
    assert names[2] in session.faults[0].detail


async def test_an_entry_that_was_appended_twice_is_one_duplicate(redis: Redis) -> None:
    """The same entry once more, number and all, is told as a duplicate and as nothing else."""
    names = await write(redis, [event(1), event(2), event(2), event(3)])
    assert offences(await judged(redis)) == [(FaultKind.DUPLICATE, names[2])]


async def test_many_duplicates_are_all_counted_and_the_first_are_listed(redis: Redis) -> None:
    """A ruined stream gives a bounded report with a true count."""
    await write(redis, [event(seq, f"e{seq % 1500}") for seq in range(1, 3001)], cursor="e0")
    session = await judged(redis)
    assert dict(session.fault_counts) == {FaultKind.DUPLICATE: 1500}
    assert len(session.faults) == 20


async def test_a_hole_is_named_at_the_entry_after_it(redis: Redis) -> None:
    """Missing numbers are given as a range."""
    names = await write(redis, [event(1), event(2), event(6)])
    session = await judged(redis)
    assert offences(session) == [(FaultKind.HOLE, names[2])]
    assert "seq 3 to 5" in session.faults[0].detail


async def test_swapped_entries_are_out_of_order_and_no_hole(redis: Redis) -> None:
    """The late entry is named; its number counts as found."""
    names = await write(redis, [event(1), event(3), event(2), event(4)])
    assert offences(await judged(redis)) == [(FaultKind.OUT_OF_ORDER, names[2])]


async def test_numbers_that_begin_anew_are_told_once(redis: Redis) -> None:
    """A restart of `seq` is one fault where it happens, not one for each entry after it."""
    names = await write(redis, [event(seq) for seq in range(1, 6)] + [event(seq, f"f{seq}") for seq in range(1, 4)])
    assert offences(await judged(redis)) == [(FaultKind.OUT_OF_ORDER, names[5])]


async def test_a_trimmed_beginning_is_a_note(redis: Redis) -> None:
    """A stream may have lost its oldest entries to a length limit."""
    await write(redis, [event(seq) for seq in range(41, 50)])
    session = await judged(redis)
    assert session.fault_total == 0
    assert "begins at seq 41" in session.notes[0]


async def test_a_gap_marker_is_a_declared_hole_and_no_fault(redis: Redis) -> None:
    """Its reason and outage are told, and the verdict mentions it."""
    names = await write(redis, [event(1), gap(1), event(2)])
    report = await verify(redis, [TARGET])
    assert report.verdict == "no fault found in 2 events in 1 session, 1 declared gap"
    assert report.sessions[0].notes == (
        f"declared gap at entry {names[1]} (seq 1): cursor_unknown, outage 12.5 s, last id e1",
    )


@pytest.mark.parametrize("name", HONEST)
async def test_what_a_bridge_writes_has_no_fault_in_redis_either(redis: Redis, name: str) -> None:
    """The reading adds none to the judging."""
    await load(redis, HONEST[name])
    report = await verify(redis, [TARGET])
    assert report.ok, render_text(report)


@pytest.mark.parametrize("name", LIES)
async def test_a_lie_is_found_in_redis_too(redis: Redis, name: str) -> None:
    """The reading hides none from the judging."""
    kind, stream = LIES[name]
    await load(redis, stream)
    report = await verify(redis, [TARGET])
    assert kind in {found for session in report.sessions for found, _ in session.fault_counts}


@pytest.mark.parametrize("field", ["id", "seq", "type", "data", "received_at"])
async def test_a_missing_field_is_named(redis: Redis, field: str) -> None:
    """Each required field is missed."""
    names = await write(redis, [event(1), {name: value for name, value in event(2).items() if name != field}, event(3)])
    fault = (await judged(redis)).faults[0]
    assert (fault.kind, fault.entry) == (FaultKind.MALFORMED, names[1])
    assert field in fault.detail


async def test_an_entry_without_a_session_is_reported_apart(redis: Redis) -> None:
    """It belongs to nobody, but the verdict knows of it."""
    names = await write(
        redis, [event(1), {name: value for name, value in event(2).items() if name != "session_id"}], seq=1, cursor="e1"
    )
    report = await verify(redis, [TARGET])
    assert not report.ok
    assert offences(report.sessions[1]) == [(FaultKind.MALFORMED, names[1])]


@pytest.mark.parametrize(
    "state",
    [{"seq": 4}, {"seq": 2}, {"cursor": "e2"}, {"cursor": ""}, {"ordinal": 1}, {"seq": "three"}, {"phase": "asleep"}],
)
async def test_a_state_that_does_not_fit_the_last_entry_is_a_mismatch(redis: Redis, state: dict[str, Any]) -> None:
    """Number, cursor and ordinal must be those of the last entry."""
    await write(redis, [event(1), event(2), event(3)], **state)
    assert {kind for kind, _ in offences(await judged(redis))} == {FaultKind.STATE_MISMATCH}


async def test_a_missing_state_is_a_mismatch(redis: Redis) -> None:
    """Entries without a committed place cannot go on exactly once."""
    names = await write(redis, [event(1)])
    await redis.delete(KEYS.state)
    assert offences(await judged(redis)) == [(FaultKind.STATE_MISMATCH, names[0])]


async def test_a_cursor_past_the_last_entry_is_explained_by_its_dead_letter(redis: Redis) -> None:
    """The commit moved past an event that could not become an entry; that one is in the other stream."""
    await write(redis, [event(1), event(2)], cursor="e3")
    await bury(redis, "e3")
    report = await verify(redis, [TARGET])
    assert report.verdict == "no fault found in 2 events in 1 session, 1 dead letter"


async def test_a_purged_dead_letter_does_not_make_a_fault(redis: Redis) -> None:
    """Where dead letters were removed, the cursor cannot be judged by them."""
    await write(redis, [event(1), event(2)], cursor="e3")
    await redis.xdel(KEYS.dead_letter, await bury(redis, "e3"))
    assert (await verify(redis, [TARGET])).ok


@pytest.mark.parametrize("left", [0, 1])
async def test_trimmed_dead_letters_do_not_make_a_fault(redis: Redis, left: int) -> None:
    """Nor where that of another session in the stream was written later, and is left."""
    await write(redis, [event(1), event(1, session_id="lsn-2")], cursor="e2")
    other = session_keys(KEYS.events, Session(name="", session_id="lsn-2"))
    await redis.hset(other.state, mapping={"cursor": "e3", "seq": 1, "ordinal": 0})
    await bury(redis, "e2")
    await bury(redis, "e3", session_id="lsn-2")
    await redis.xtrim(KEYS.dead_letter, maxlen=left, approximate=False)
    assert (await verify(redis, [TARGET])).ok


async def test_older_dead_letters_that_were_trimmed_explain_nothing(redis: Redis) -> None:
    """Where the session's last one is there, the place is that one's or the last event's."""
    await write(redis, [event(1)], cursor="never sent")
    await bury(redis, "e2")
    await bury(redis, "e3")
    await redis.xtrim(KEYS.dead_letter, maxlen=1, approximate=False)
    assert [kind for kind, _ in offences(await judged(redis))] == [FaultKind.STATE_MISMATCH]


async def test_a_cursor_far_behind_is_a_fault_whatever_was_purged(redis: Redis) -> None:
    """A dead letter that is gone explains a place further on, never one further back."""
    await write(redis, [event(1), event(2), event(3)], cursor="e1")
    await redis.xdel(KEYS.dead_letter, await bury(redis, "e4"))
    assert [kind for kind, _ in offences(await judged(redis))] == [FaultKind.STATE_MISMATCH]


async def test_events_without_ids_count_on_from_the_last_id(redis: Redis) -> None:
    """The state holds the id and how many events without one came since."""
    entries = [without_id(1, "0", 1), event(2), without_id(3, "e2", 1), without_id(4, "e2", 2)]
    await write(redis, entries, cursor="e2", ordinal=2)
    report = await verify(redis, [TARGET])
    assert report.verdict == "no fault found in 4 events in 1 session, 3 events without an id (at least once)"


async def test_an_ordinal_that_does_not_fit_is_named(redis: Redis) -> None:
    """Wrong in the state it is a mismatch; falling in the entries it is out of order."""
    entries = [event(1), without_id(2, "e1", 2), without_id(3, "e1", 1)]
    names = await write(redis, entries, cursor="e1", ordinal=7)
    assert offences(await judged(redis)) == [
        (FaultKind.OUT_OF_ORDER, names[2]),
        (FaultKind.STATE_MISMATCH, names[2]),
    ]


async def test_a_repeated_event_without_an_id_is_a_note(redis: Redis) -> None:
    """A replay of an older id's events that the bridge did not recognise: those are at least once."""
    again = [without_id(seq, "e1", 1, body(7)) for seq in (3, 5)]
    await write(redis, [event(1), event(2), again[0], event(4), again[1], event(6)])
    report = await verify(redis, [TARGET])
    assert report.ok
    assert "more than once" in report.sessions[0].notes[0]


async def test_a_reused_id_with_its_suffix_passes(redis: Redis) -> None:
    """An id that came again with other bytes has a key of its own; the cursor is the id as the server knows it."""
    await write(redis, [event(1), event(2), event(3, f"e1~{hashlib.sha256(body(3)).hexdigest()[:8]}")], cursor="e1")
    assert (await verify(redis, [TARGET])).ok


async def test_sessions_that_share_a_stream_are_judged_apart(redis: Redis) -> None:
    """A session that nobody named is found in the stream, with its own state, and each has its own numbers."""
    template = "lens:{all}:events"
    one, other = SESSION, Session(name="lsn-2", session_id="lsn-2")
    keys = session_keys(template, one)
    await write(redis, [event(1), event(1, session_id="lsn-2"), event(2)], keys=keys, seq=2)
    await redis.hset(session_keys(template, other).state, mapping={"cursor": "e1", "seq": 1, "ordinal": 0})
    report = await verify(redis, stream_targets(template, [one]))
    assert report.verdict == "no fault found in 3 events in 2 sessions"
    assert [session.name for session in report.sessions] == ["line-1", "lsn-2"]


async def test_nothing_to_judge_is_said_and_no_fault(redis: Redis) -> None:
    """A session before its first event is neither proved nor refuted."""
    report = await verify(redis, [TARGET])
    assert (report.ok, report.verdict) == (True, "nothing to judge: no events in 1 session")


async def test_entries_that_arrive_during_the_reading_do_no_harm(redis: Redis) -> None:
    """State and last entry are of one moment, whatever a worker writes meanwhile."""
    commit = redis.register_script(
        "local n = redis.call('HINCRBY', KEYS[2], 'seq', 1) "
        "redis.call('HSET', KEYS[2], 'cursor', 'e' .. n, 'ordinal', 0) "
        "redis.call('XADD', KEYS[1], '*', 'id', 'e' .. n, 'session_id', ARGV[1], 'seq', n, 'type', 't', "
        "'data', '{\"type\":\"t\"}', 'received_at', '1.500')"
    )
    done = asyncio.Event()

    async def write_on() -> None:
        while not done.is_set():
            await commit(keys=[KEYS.events, KEYS.state], args=[SESSION.session_id])

    for _ in range(700):
        await commit(keys=[KEYS.events, KEYS.state], args=[SESSION.session_id])
    writer = asyncio.create_task(write_on())
    try:
        for _ in range(5):
            assert (await judged(redis)).faults == ()
    finally:
        done.set()
        await writer


async def test_an_unreachable_redis_is_one_clear_error() -> None:
    """No traceback of the client's, but what could not be read."""
    async with Redis.from_url("redis://127.0.0.1:1/0") as client:
        with pytest.raises(VerifyError, match=r"lens:.*cannot read Redis"):
            await verify(client, [TARGET])


class RecordServer:
    """The part of a simulator that `verify` asks, with a record that the test sets."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.url = ""
        self.asked = asyncio.Event()

    def sent(self, *entries: dict[str, Any]) -> None:
        """Record entries as they were sent; those without an id have none here either."""
        for one in entries:
            id = None if "#" in one["id"] else one["id"]
            self.events.append({"id": id, "sha256": hashlib.sha256(one["data"]).hexdigest(), "type": one["type"]})

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.set()
        begin, limit = int(request.query["offset"]), min(int(request.query["limit"]), 3)  # several pages
        return web.json_response({"count": len(self.events), "events": self.events[begin : begin + limit]})


@pytest_asyncio.fixture
async def record() -> AsyncIterator[RecordServer]:
    """A server for the record, on loopback."""
    server = RecordServer()
    app = web.Application()
    app.router.add_get(f"/control/sessions/{SESSION.session_id}/record", server.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield server
    await runner.cleanup()


async def test_a_stream_equal_to_the_servers_record_passes(redis: Redis, record: RecordServer) -> None:
    """All that was sent is there, with and without ids, or is a dead letter, cut or whole."""
    dead, cut = event(4, "e4", data=b"{"), without_id(6, "e5", 1, b"cut short")
    entries = [event(1), event(2), without_id(3, "e2", 1), event(4, "e5", data=body(5)), event(5, "e6", data=body(6))]
    await write(redis, entries[:3])
    record.sent(*entries[:3], dead, entries[3], {**cut, "data": b"cut short, but longer"}, entries[4])
    await bury(redis, dead["id"])
    await bury(redis, cut["id"], reason="oversize", truncated=1)
    await write(redis, entries[3:])
    report = await verify(redis, [TARGET], simulator_url=record.url)
    session = report.sessions[0]
    assert (session.faults, session.pending, session.dead_letters) == ((), 0, 2)
    assert (
        report.verdict == "exactly once: 5 events in 1 session, 1 event without an id (at least once), 2 dead letters"
    )


async def test_an_id_that_several_events_share_is_compared_with_the_record(redis: Redis, record: RecordServer) -> None:
    """The second one has a key of its own, which names the id that the server gave."""
    second = without_id(2, "e1", 1, body(2))
    await write(redis, [event(1), second, event(3)])
    record.sent(event(1), event(2, "e1"), event(3))
    assert (await judged(redis, simulator_url=record.url)).faults == ()


async def test_changed_bytes_are_named(redis: Redis, record: RecordServer) -> None:
    """Only the server's record can tell that a payload is not what was sent."""
    record.sent(event(1), event(2), event(3))
    names = await write(redis, [event(1), event(2, data=body(9)), event(3)])
    assert offences(await judged(redis, simulator_url=record.url)) == [(FaultKind.CHANGED, names[1])]


async def test_an_event_that_the_cursor_passed_is_missing(redis: Redis, record: RecordServer) -> None:
    """Dense numbers cannot hide an event that was never written."""
    record.sent(event(1), event(9, "lost"), event(2))
    await write(redis, [event(1), event(2)])
    session = await judged(redis, simulator_url=record.url)
    assert [(fault.kind, fault.id) for fault in session.faults] == [(FaultKind.MISSING, "lost")]


async def test_an_event_that_was_never_sent_is_unexpected(redis: Redis, record: RecordServer) -> None:
    """Neither with an id nor without."""
    record.sent(event(1))
    names = await write(redis, [event(1), event(2, "invented"), without_id(3, "invented", 1)], ordinal=1)
    await redis.hset(KEYS.state, "cursor", "invented")
    session = await judged(redis, simulator_url=record.url)
    assert offences(session) == [(FaultKind.UNEXPECTED, names[1]), (FaultKind.UNEXPECTED, names[2])]


async def test_another_order_than_the_servers_is_named(redis: Redis, record: RecordServer) -> None:
    """The numbers may be dense and the order still wrong."""
    record.sent(event(1, "a"), event(2, "b"), event(3, "c"))
    names = await write(redis, [event(1, "a"), event(2, "c", data=body(3)), event(3, "b", data=body(2))], cursor="b")
    session = await judged(redis, simulator_url=record.url)
    assert offences(session) == [(FaultKind.OUT_OF_ORDER, names[2])]


async def test_what_fell_into_a_declared_gap_is_not_missing(redis: Redis, record: RecordServer) -> None:
    """The marker says that something may be missing there, and only there."""
    record.sent(event(1), event(7, "gone"), event(3))
    await write(redis, [event(1), gap(1), event(2, "e3", data=body(3))])
    session = await judged(redis, simulator_url=record.url)
    assert session.faults == ()
    assert any("1 events of the server fell" in note for note in session.notes)


async def test_what_is_still_under_way_is_pending_and_no_fault(redis: Redis, record: RecordServer) -> None:
    """Events after the last committed one are on their way."""
    record.sent(event(1), event(2), event(3))
    await write(redis, [event(1)])
    report = await verify(redis, [TARGET], simulator_url=record.url)
    assert (report.ok, report.pending) == (True, 2)
    assert report.verdict.endswith("2 events under way")


async def test_settling_waits_until_nothing_is_under_way(redis: Redis, record: RecordServer) -> None:
    """The wait ends as soon as the last event has landed, long before its limit."""
    record.sent(event(1), event(2))
    await write(redis, [event(1)])
    waiting = asyncio.create_task(verify(redis, [TARGET], simulator_url=record.url, settle_seconds=60))
    await record.asked.wait()
    await write(redis, [event(2)])
    async with asyncio.timeout(20):
        report = await waiting
    assert (report.ok, report.pending) == (True, 0)


async def test_a_simulator_without_a_record_is_one_clear_error(redis: Redis, record: RecordServer) -> None:
    """A wrong URL is told with the URL."""
    await write(redis, [event(1)])
    with pytest.raises(VerifyError, match="/nowhere/control"):
        await verify(redis, [TARGET], simulator_url=f"{record.url}/nowhere")


async def test_the_text_is_aligned_ends_with_the_verdict_and_carries_no_control_characters(redis: Redis) -> None:
    """What the server put into an id must not reach a terminal as it is."""
    await write(redis, [event(1), event(2, "\x1b[2J"), event(3, "\x1b[2J")])
    text = render_text(await verify(redis, [TARGET]))
    lines = text.splitlines()
    assert lines[0].index("FAULTS") == lines[1].index("1       lens:")
    assert lines[-1] == "faults found: 1 duplicate"
    assert "\\x1b[2J" in text
    assert "\x1b" not in text


async def test_the_json_says_the_same(redis: Redis) -> None:
    """It can be serialised, and a program finds the offence in it."""
    names = await write(redis, [event(1), event(3)])
    told = json.loads(json.dumps(as_json(await verify(redis, [TARGET]))))
    assert (told["ok"], told["verdict"]) == (False, "faults found: 1 hole")
    assert told["sessions"][0]["fault_counts"] == {"hole": 1}
    assert told["sessions"][0]["faults"][0]["entry"] == names[1]


def test_a_report_without_sessions_judges_nothing() -> None:
    """No sessions, no lease."""
    assert Report(sessions=()).verdict == "nothing to judge: no events in 0 sessions"
