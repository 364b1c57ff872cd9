"""Keys, replays, dead letters, gaps: each rule, and then all of them against a server that may do anything."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.delivery.batch import records_in
from bridge.delivery.intake import HOLD_BYTES, Intake
from bridge.delivery.window import Window, digest_of, hash8
from bridge.masking import Secrets
from bridge.model.labels import DeadLetterReason, GapReason
from bridge.model.place import START, Place
from bridge.model.records import Accepted, Record
from bridge.source.sse import ServerSentEvent


def sse(data: object, id: str | None = None, *, event: str = "message", oversize_bytes: int = 0) -> ServerSentEvent:
    """A decoded event."""
    raw = data if isinstance(data, bytes) else json.dumps(data).encode()
    return ServerSentEvent(event, raw, id, id or "", oversize_bytes)


def result(n: object) -> dict[str, object]:
    """A lens event."""
    return {"type": "inference.result", "n": n}


def make(place: Place = START, window: Window | None = None, *secrets: str, markers: bool = True) -> Intake:
    """An intake as a pump makes it."""
    known = Secrets()
    for secret in secrets:
        known.add(secret)
    return Intake(
        place=place,
        window=Window(100) if window is None else window,
        secrets=known,
        markers=markers,
        max_dead_letter_bytes=64,
    )


def keys(taken: Accepted) -> list[str]:
    """The keys of what is to be published."""
    return [record.key for record in records_in(taken.records)]


def h8(data: object) -> str:
    """The hash in a key."""
    return hash8(digest_of(json.dumps(data).encode()))


@pytest.fixture
def intake() -> Intake:
    """A fresh session with an open connection."""
    made = make()
    made.opened(resumed=False)
    return made


def test_an_event_keeps_its_id_type_and_bytes(intake: Intake) -> None:
    """Nothing is changed on the way."""
    raw = b'{"type": "frame.processed",  "x": "\xc3\xa9"}'
    [record] = records_in(intake.accept([sse(raw, "7", event="custom")], 12.5).records)
    assert (record.key, record.type, record.data, record.event, record.received_at, record.cursor) == (
        "7",
        "frame.processed",
        raw,
        "custom",
        12.5,
        "7",
    )


def test_control_frames_are_not_published_and_do_not_move_the_cursor(intake: Intake) -> None:
    """Also where they carry an id."""
    taken = intake.accept(
        [
            sse({"type": "sse.stream.start"}, "1"),
            sse(result(1), "2"),
            sse({"type": "sse.stream.heartbeat"}, "3"),
            sse({"type": "sse.stream.end"}, "4"),
        ],
        1.0,
    )
    assert keys(taken) == ["2"]
    assert intake.cursor == "2"
    assert (taken.heartbeats, taken.ended) == (1, True)


def test_stream_end_without_sse_is_a_lens_event(intake: Intake) -> None:
    """Only the three documented types are control frames."""
    taken = intake.accept([sse({"type": "stream.end"}, "1")], 1.0)
    assert keys(taken) == ["1"]
    assert not taken.ended


def test_a_replayed_event_is_skipped(intake: Intake) -> None:
    """The same id with the same bytes."""
    intake.accept([sse(result(1), "1"), sse(result(2), "2")], 1.0)
    taken = intake.accept([sse(result(1), "1"), sse(result(2), "2"), sse(result(3), "3")], 2.0)
    assert keys(taken) == ["3"]
    assert taken.duplicates == 2


def test_a_reused_id_is_published_under_a_key_of_its_own(intake: Intake) -> None:
    """The same id with other bytes is another event; and that one is not published twice either."""
    intake.accept([sse(result(1), "1"), sse(result(2), "2")], 1.0)
    taken = intake.accept([sse(result("other"), "1"), sse(result(2), "2"), sse(result("other"), "1")], 2.0)
    assert keys(taken) == [f"1~{h8(result('other'))}"]
    assert (taken.conflicts, taken.duplicates) == (1, 2)
    assert intake.cursor == "1"


def test_events_that_share_the_id_of_the_one_before_are_told_apart_by_their_position(intake: Intake) -> None:
    """Ids from a clock: all events of a second have one, and nothing has gone back, so each of them is new."""
    same = [sse(result("HEALTHY"), "1741843200")] * 3
    taken = intake.accept(same, 1.0)
    healthy = h8(result("HEALTHY"))
    assert keys(taken) == ["1741843200", f"1741843200#1-{healthy}", f"1741843200#2-{healthy}"]
    assert (taken.conflicts, taken.duplicates, intake.cursor) == (2, 0, "1741843200")


@pytest.mark.parametrize("includes_cursor", [False, True])
def test_events_that_share_an_id_are_compared_position_by_position_after_a_reconnect(
    intake: Intake, includes_cursor: bool
) -> None:
    """What the server sends again is skipped, what comes behind it is new."""
    events = [sse(result(n), "1741843200") for n in range(3)]
    intake.accept(events, 1.0)
    intake.opened(resumed=True)
    new = sse(result("new"), "1741843200")
    taken = intake.accept([*events[not includes_cursor :], new, sse(result(9), "1741843201")], 2.0)
    assert keys(taken) == [f"1741843200#3-{h8(result('new'))}", "1741843201"]
    assert taken.duplicates == 2 + includes_cursor


def test_events_that_share_an_id_and_their_bytes_are_not_lost_behind_a_reconnect(intake: Intake) -> None:
    """A server that resumes after the first of them sends the other two, and then the fourth."""
    same = sse(result("HEALTHY"), "1")
    intake.accept([same] * 3, 1.0)
    intake.opened(resumed=True)
    assert keys(intake.accept([same] * 3, 2.0)) == [f"1#3-{h8(result('HEALTHY'))}"]


def test_a_replay_from_the_beginning_skips_events_that_share_an_id(intake: Intake) -> None:
    """The server ignores Last-Event-ID."""
    events = [sse(result(0), "1"), sse(result(1), "2"), sse(result(2), "2"), sse(result(2), "2"), sse(result(3), "3")]
    intake.accept(events, 1.0)
    intake.opened(resumed=True)
    assert keys(intake.accept([*events, sse(result(4), "4")], 2.0)) == ["4"]


def test_no_event_of_a_server_passes_for_a_marker(intake: Intake) -> None:
    """One whose id and type both look like those of a marker gets a key that does not; all others keep theirs."""
    events = [
        sse({"type": "bridge.gap"}, "bridge-gap-1"),
        sse({"type": "bridge.x"}),
        sse({"type": "t"}, "bridge-2"),
        sse({"type": "bridge.gap"}, "3"),
    ]
    taken = intake.accept(events, 1.0)
    behind = h8({"type": "bridge.x"})
    assert keys(taken) == ["server-bridge-gap-1", f"server-bridge-gap-1#1-{behind}", "bridge-2", "3"]
    assert [record.cursor for record in records_in(taken.records)] == ["bridge-gap-1", "bridge-gap-1", "bridge-2", "3"]
    intake.opened(resumed=False)
    assert keys(intake.accept(events, 2.0)) == [], "and is known again under it"


def test_events_without_an_id_are_counted_since_the_last_id(intake: Intake) -> None:
    """`<last id>#<n>-<hash8>`, and 0 where there was no id yet."""
    taken = intake.accept([sse(result("a")), sse(result("b"), "5"), sse(result("c")), sse(result("d"), "")], 1.0)
    assert keys(taken) == [
        f"0#1-{h8(result('a'))}",
        "5",
        f"5#1-{h8(result('c'))}",
        f"5#2-{h8(result('d'))}",
    ]
    assert intake.cursor == "5", "an explicit empty id must not clear the cursor"


def test_events_without_an_id_are_skipped_when_the_server_resumes_before_them(intake: Intake) -> None:
    """After a reconnect from id 5 the server sends again what followed it."""
    intake.accept([sse(result("b"), "5"), sse(result("c")), sse(result("d"))], 1.0)
    intake.opened(resumed=True)
    taken = intake.accept([sse(result("c")), sse(result("d")), sse(result("e")), sse(result("f"), "6")], 2.0)
    assert keys(taken) == [f"5#3-{h8(result('e'))}", "6"]
    assert taken.duplicates == 2


def test_a_different_event_in_the_place_of_a_replayed_one_is_published(intake: Intake) -> None:
    """Skipping ends at the first that does not match."""
    intake.accept([sse(result("b"), "5"), sse(result("c")), sse(result("d"))], 1.0)
    intake.opened(resumed=True)
    taken = intake.accept([sse(result("c")), sse(result("x")), sse(result("d"))], 2.0)
    assert keys(taken) == [f"5#3-{h8(result('x'))}", f"5#4-{h8(result('d'))}"]


def test_a_full_replay_with_mixed_ids_is_skipped_whole(intake: Intake) -> None:
    """The server ignores Last-Event-ID: events without an id are recognised behind the id they follow."""
    history = [sse(result(1), "1"), sse(result("x")), sse(result(2), "2"), sse(result("y")), sse(result("y"))]
    intake.accept(history, 1.0)
    intake.opened(resumed=True)
    taken = intake.accept([*history, sse(result(3), "3")], 2.0)
    assert keys(taken) == ["3"]


def test_without_any_ids_a_replay_is_recognised_by_content(intake: Intake) -> None:
    """And what follows it is published with the next number."""
    history = [sse(result(n)) for n in range(3)]
    intake.accept(history, 1.0)
    intake.opened(resumed=False)
    taken = intake.accept([*history, sse(result("new"))], 2.0)
    assert keys(taken) == [f"0#4-{h8(result('new'))}"]
    assert taken.duplicates == 3


def test_a_replay_without_ids_may_be_broken_off_and_begin_again(intake: Intake) -> None:
    """What was held from the first try is part of the same replay."""
    history = [sse(result(n)) for n in range(4)]
    intake.accept(history, 1.0)
    intake.opened(resumed=False)
    assert keys(intake.accept(history[:2], 2.0)) == []
    assert intake.holding
    intake.opened(resumed=False)
    assert keys(intake.accept([*history, sse(result("new"))], 3.0)) == [f"0#5-{h8(result('new'))}"]
    assert not intake.holding


def test_a_heartbeat_in_the_middle_of_a_replay_does_not_end_it(intake: Intake) -> None:
    """The server may be slow to read its own history."""
    history = [sse(result(n)) for n in range(4)]
    intake.accept(history, 1.0)
    intake.opened(resumed=False)
    intake.accept(history[:2], 2.0)
    assert records_in(intake.accept([sse({"type": "sse.stream.heartbeat"})], 3.0).records) == []
    assert keys(intake.accept([*history[2:], sse(result("new"))], 4.0)) == [f"0#5-{h8(result('new'))}"]


def test_what_is_convincingly_a_replay_is_not_published_by_time(intake: Intake) -> None:
    """The connection broke off or stands still; the next one brings the end."""
    history = [sse(result(n)) for n in range(20)]
    intake.accept(history, 1.0)
    intake.opened(resumed=False)
    intake.accept(history[:8], 2.0)
    assert (records_in(intake.release().records), intake.holding) == ([], True)
    intake.opened(resumed=False)
    taken = intake.accept([*history, sse(result("new"))], 3.0)
    assert (keys(taken), taken.duplicates) == ([f"0#21-{h8(result('new'))}"], 28)


def test_what_was_published_undecided_is_not_taken_for_the_end_of_a_replay(intake: Intake) -> None:
    """Two events of a replay were published by time; a server that never sent them twice does not repeat them."""
    history = [sse(result(n)) for n in range(20)]
    intake.accept(history, 1.0)
    intake.opened(resumed=False)
    intake.accept(history[:2], 2.0)
    assert len(records_in(intake.release().records)) == 2
    intake.opened(resumed=False)
    assert keys(intake.accept([*history, sse(result("new"))], 3.0)) == [f"0#23-{h8(result('new'))}"]


@pytest.mark.parametrize("seed", range(5))
def test_without_ids_replays_that_break_off_bring_no_duplicate(intake: Intake, seed: int) -> None:
    """The server replays its last 500 events at each reconnect; connections drop at random, often in mid-replay."""
    chance = random.Random(seed)
    served: list[ServerSentEvent] = []
    published: list[bytes] = []
    while len(served) < 4000:
        intake.opened(resumed=False)
        connection = served[-500:] + [sse(result(f"{seed} {len(served) + n}")) for n in range(400)]
        cut = chance.randrange(len(connection))
        served += connection[len(served[-500:]) : cut]
        for at in range(0, cut, 50):
            published += [
                record.data for record in records_in(intake.accept(connection[at : min(cut, at + 50)], 1.0).records)
            ]
            if chance.random() < 0.1:
                published += [record.data for record in records_in(intake.release().records)]
    assert [event.raw for event in served[:100]] == published[:100]
    assert sorted(published) == sorted(event.raw for event in served)


def test_held_events_are_published_on_release(intake: Intake) -> None:
    """For a stop, or when they have waited long enough; with the time at which they came."""
    history = [sse(result(n)) for n in range(4)]
    intake.accept(history, 1.0)
    intake.opened(resumed=False)
    intake.accept(history[:2], 2.0)
    assert [record.received_at for record in records_in(intake.release().records)] == [2.0, 2.0]
    assert not intake.holding


def test_constant_payloads_without_ids_are_never_lost(intake: Intake) -> None:
    """A machine that is healthy after each reconnect."""
    published = 0
    for at in range(5):
        intake.opened(resumed=False)
        published += len(records_in(intake.accept([sse(result("HEALTHY"))], float(at)).records))
    assert published == 5


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (sse(b"{broken", "1"), DeadLetterReason.INVALID_JSON),
        (sse(b"", "1"), DeadLetterReason.INVALID_JSON),
        (sse([1], "1"), DeadLetterReason.MISSING_TYPE),
        (sse({"type": 3}, "1"), DeadLetterReason.MISSING_TYPE),
        (sse(b"x" * 100, "1", oversize_bytes=5000), DeadLetterReason.OVERSIZE),
    ],
)
def test_what_cannot_be_an_entry_becomes_a_dead_letter_and_the_cursor_moves_on(
    intake: Intake, event: ServerSentEvent, reason: DeadLetterReason
) -> None:
    """Its raw bytes are kept, cut at the limit."""
    [record] = records_in(intake.accept([event], 1.0).records)
    assert record.dead is not None
    assert (record.dead.reason, record.key, record.cursor) == (reason, "1", "1")
    assert record.data == event.raw[:64]
    assert record.dead.truncated == (len(event.raw) > 64 or event.oversize_bytes > 0)


def test_a_dead_letter_is_not_written_again_on_a_replay(intake: Intake) -> None:
    """It is remembered like any other event."""
    intake.accept([sse(b"{broken", "1"), sse(result(2), "2")], 1.0)
    assert records_in(intake.accept([sse(b"{broken", "1")], 2.0).records) == []


def test_nan_is_what_python_servers_send_and_is_published(intake: Intake) -> None:
    """Embeddings with NaN are not dead letters."""
    [record] = records_in(intake.accept([sse(b'{"type":"inference.result","x":[NaN,Infinity]}', "1")], 1.0).records)
    assert record.dead is None


def test_an_echoed_key_is_masked_and_counted(intake: Intake) -> None:
    """In the data, in the event name and in the id; an id that holds it cannot be used as one."""
    made = make(START, None, "sk-very-secret-key")
    made.opened(resumed=False)
    taken = made.accept(
        [
            sse({"type": "a", "key": "sk-very-secret-key"}, "1"),
            sse({"type": "b"}, "sk-very-secret-key"),
            sse({"type": "c"}, "2", event="sk-very-secret-key"),
            sse({"type": "sk-very-secret-key"}, "3"),
            sse({"type": "d"}, "4"),
        ],
        1.0,
    )
    assert taken.masked == 4
    assert "secret" not in repr(taken)
    assert [record.type for record in records_in(taken.records)][3] != "sk-very-secret-key"
    assert json.loads(records_in(taken.records)[0].data)["type"] == "a", "masked JSON is still JSON"


def test_no_gap_is_marked_before_the_first_event(intake: Intake) -> None:
    """The first connection has nothing to resume from."""
    assert intake.gap(GapReason.NO_CURSOR, outage_seconds=1.0, at=1.0) is None


def test_a_gap_is_marked_once_until_something_comes(intake: Intake) -> None:
    """A server that keeps hanging up without sending anything must not fill the stream."""
    intake.accept([sse(result(1), "9")], 1.0)
    first = intake.gap(GapReason.CURSOR_UNKNOWN, outage_seconds=3.25, at=2.0)
    assert first is not None
    [marker] = first
    assert marker.key.startswith("bridge-gap-")
    assert marker.type == "bridge.gap"
    assert json.loads(marker.data) == {"reason": "cursor_unknown", "last_id": "9", "outage_seconds": 3.25}
    assert intake.gap(GapReason.CURSOR_UNKNOWN, outage_seconds=1.0, at=3.0) is None
    intake.accept([sse(result(2), "10")], 4.0)
    assert intake.gap(GapReason.CURSOR_UNKNOWN, outage_seconds=1.0, at=5.0)


def test_with_markers_off_a_gap_still_counts(intake: Intake) -> None:
    """The list is empty, not None."""
    made = make(markers=False)
    made.opened(resumed=False)
    made.accept([sse(result(1), "1")], 1.0)
    assert made.gap(GapReason.NO_CURSOR, outage_seconds=1.0, at=2.0) == []
    assert made.ended("destroyed", at=3.0) == []


def test_the_end_is_marked_only_where_something_was_published(intake: Intake) -> None:
    """A mistyped session id should not leave a stream behind."""
    assert intake.ended("gone", at=1.0) == []
    intake.accept([sse(result(1), "1")], 1.0)
    [marker] = intake.ended("destroyed", at=2.0)
    assert (marker.type, json.loads(marker.data)) == ("bridge.session.ended", {"reason": "destroyed"})


def test_a_replay_longer_than_the_window_is_noticed_when_it_brings_back_the_cursor() -> None:
    """What it published before that were duplicates, and an operator must know."""
    made = make(START, Window(2))
    made.opened(resumed=False)
    history = [sse(result(n), str(n)) for n in range(1, 7)]
    committed = Committed(made._window)
    for event in history:
        committed.commit(records_in(made.accept([event], 1.0).records))
    made.opened(resumed=True)
    assert made.accept(history, 2.0).overrun


def test_an_overrun_is_noticed_when_commits_keep_pace_with_the_replay() -> None:
    """Each event that is published again pushes the next one out of the window: at last the cursor itself."""
    made = make(START, Window(2))
    committed = Committed(made._window)
    made.opened(resumed=False)
    history = [sse(result(n), str(n)) for n in range(1, 7)]
    for event in history:
        committed.commit(records_in(made.accept([event], 1.0).records))
    made.opened(resumed=True)
    overran = []
    for event in [*history, sse(result(7), "7")]:
        taken = made.accept([event], 2.0)
        overran.append(taken.overrun)
        committed.commit(records_in(taken.records))
    assert overran == [False] * 5 + [True, False]
    assert [record.key for record in committed.records][-2:] == ["5", "7"], "the cursor itself is not published again"
    assert made.cursor == "7"


# Against a server that may do anything it is allowed to


@dataclass
class Committed:
    """What Redis would hold."""

    window: Window
    place: Place = START
    blobs: list[bytes] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)

    def commit(self, batch: list[Record]) -> None:
        if not batch:
            return
        seal = self.window.seal(batch)
        if seal.blob:
            self.blobs.append(seal.blob)
        del self.blobs[: seal.drop]
        self.window.committed(seal)
        self.records += batch
        last = batch[-1]
        self.place = Place(
            cursor=last.cursor, ordinal=last.ordinal, seq=len(self.records), commits=self.place.commits + 1
        )


_histories = st.lists(st.booleans(), min_size=1, max_size=25)  # whether each event has an id
_steps = st.lists(
    st.tuples(
        st.integers(0, 30),  # how far back before the cursor the server resumes
        st.integers(0, 30),  # how many events it sends before the connection breaks
        st.integers(0, 30),  # how many of the buffered records are committed then
        st.booleans(),  # whether the worker crashes after that
    ),
    max_size=12,
)


@settings(max_examples=300)
@given(_histories, _steps)
def test_every_event_is_published_once_and_in_order_over_drops_replays_and_crashes(
    history: list[bool], steps: list[tuple[int, int, int, bool]]
) -> None:
    """With a cursor to resume from: whatever is replayed, wherever the connection breaks, whenever the worker dies."""
    events = [sse(result(n), str(n) if has_id else None) for n, has_id in enumerate([True, *history])]
    committed = Committed(Window(1000))
    intake = make(committed.place, committed.window)
    buffered: list[Record] = []
    for back, length, commits, crash in [*steps, (0, 10_000, 10_000, False)]:
        after = int(intake.cursor) + 1 if intake.cursor is not None else 0
        # A replay begins at an event with an id: the server resumes after some earlier cursor.
        start = max((at for at in range(max(0, after - back) + 1) if at == after or events[at].id), default=0)
        intake.opened(resumed=intake.cursor is not None)
        buffered += records_in(intake.accept(events[start : start + length], 1.0).records)
        committed.commit(buffered[:commits])
        del buffered[:commits]
        if crash:
            committed.window = Window(1000, committed.blobs)
            intake = make(committed.place, committed.window)
            buffered = []
    assert [record.data for record in committed.records] == [event.raw for event in events]
    assert len({record.key for record in committed.records}) == len(events)


@settings(max_examples=200)
@given(st.lists(st.booleans(), min_size=1, max_size=30), _steps, st.booleans())
def test_without_ids_nothing_is_ever_lost(
    repeats: list[bool], steps: list[tuple[int, int, int, bool]], live: bool
) -> None:
    """At least once, though some events repeat: a server that replays its history, or one that sends only news."""
    events = [sse(result("HEALTHY" if again else n)) for n, again in enumerate(repeats)]
    intake = make()
    published: list[bytes] = []
    sent = 0
    for back, length, _, _ in [*steps, (0, 10_000, 0, False)]:
        start = sent if live else max(0, sent - back)
        intake.opened(resumed=False)
        published += [record.data for record in records_in(intake.accept(events[start : start + length], 1.0).records)]
        sent = max(sent, min(len(events), start + length))
    published += [record.data for record in records_in(intake.release().records)]
    rest = iter(published)
    assert all(event.raw in rest for event in events), "the history is no subsequence of what was published"


@pytest.mark.parametrize("seed", range(5))
def test_without_ids_a_stop_in_mid_replay_costs_a_few_duplicates_once(
    seed: int,
) -> None:
    """What is undecided at a stop is published, and must not count as what the server has sent.

    Else the next worker stumbles over it in every replay, publishes that whole, and so pushes the true events out.
    """
    chance = random.Random(seed)
    served = [sse(result(n)) for n in range(300)]
    committed, stops = Committed(Window(500)), 0
    intake = make(committed.place, committed.window)
    for _ in range(300):
        intake.opened(resumed=False)
        connection = served[-300:][: 1 + int(chance.expovariate(1 / 150))]
        for at in range(0, len(connection), 50):
            committed.commit(records_in(intake.accept(connection[at : at + 50], 1.0).records))
        served += [sse(result(len(served) + n)) for n in range(chance.randrange(3))]
        if chance.random() < 0.05:
            committed.commit(records_in(intake.release().records))
            committed.window = Window(500, committed.blobs)
            intake = make(committed.place, committed.window)
            stops += 1
    intake.opened(resumed=False)
    committed.commit(records_in(intake.accept(served[-300:], 2.0).records))
    published = [record.data for record in committed.records]
    assert {event.raw for event in served} == set(published), "something is lost"
    assert len(published) - len(served) <= 8 * stops


def test_without_ids_what_an_earlier_connection_brought_is_published_where_the_next_one_brings_news(
    intake: Intake,
) -> None:
    """However much it looked like a replay: a server that sends news only does not begin with them."""
    history = [sse(result(n)) for n in range(20)]
    intake.accept(history, 1.0)
    intake.opened(resumed=False)
    assert intake.accept(history[:9], 2.0).records == []
    intake.opened(resumed=False)
    taken = intake.accept([sse(result("new"))], 3.0)
    assert [record.data for record in records_in(taken.records)] == [
        event.raw for event in [*history[:9], sse(result("new"))]
    ]


def test_a_replay_of_large_events_is_recognised_without_keeping_all_of_it() -> None:
    """A window full of embeddings is more than a worker has memory for, and comes again with each reconnect."""
    intake = make(window=Window(2048))
    intake.opened(resumed=False)
    large = [sse({"type": "embedding", "n": n, "vector": "0" * 500_000}) for n in range(64)]
    assert len(records_in(intake.accept(large, 1.0).records)) == 64
    intake.opened(resumed=False)
    skipped = 0
    for at, event in enumerate(large, 1):
        taken = intake.accept([event], 2.0)
        assert not taken.records
        skipped += taken.duplicates
        assert (at - skipped) * 500_000 <= HOLD_BYTES
    assert skipped == 64
    assert keys(intake.accept([sse(result("new"))], 3.0)) == [f"0#65-{h8(result('new'))}"]


def test_large_events_that_all_look_alike_are_published_rather_than_kept() -> None:
    """Nothing tells them from new ones, and without ids the promise is at least once."""
    intake = make(window=Window(2048))
    intake.opened(resumed=False)
    alike = [sse({"type": "embedding", "vector": "0" * 500_000})] * 40
    assert len(records_in(intake.accept(alike, 1.0).records)) == 40
    intake.opened(resumed=False)
    published = sum(len(records_in(intake.accept([event], 2.0).records)) for event in alike)
    assert published + len(records_in(intake.release().records)) == 40


def test_an_event_without_an_id_before_the_replay_of_the_cursor_is_no_overrun(intake: Intake) -> None:
    """It was published under the cursor, so nothing has gone back."""
    intake.accept([sse(result(1), "1"), sse(result("a"))], 1.0)
    intake.opened(resumed=False)
    taken = intake.accept([sse(result("b")), sse(result(1), "1"), sse(result("c"))], 2.0)
    assert not taken.overrun
    assert keys(taken) == [f"1#2-{h8(result('b'))}", f"1#3-{h8(result('c'))}"]
    assert records_in(taken.records)[-1].ordinal == 3


def test_an_overrun_leaves_the_events_without_an_id_behind_the_cursor_where_they_were() -> None:
    """The window was too small for the replay, and not for what followed the cursor."""
    window = Window(2)
    made = make(window=window)
    made.opened(resumed=False)
    events = [sse(result(n), str(n)) for n in range(1, 5)]
    for chunk in (events[:2], [*events[2:], sse(result("a"))]):
        batch = records_in(made.accept(chunk, 1.0).records)
        window.committed(window.seal(batch))
    assert window.get("1") is None
    made.opened(resumed=True)
    again = made.accept([events[0], events[3], sse(result("a")), sse(result("b"))], 2.0)
    assert again.overrun
    assert keys(again) == ["1", f"4#2-{h8(result('b'))}"]
    assert records_in(again.records)[-1].ordinal == 2


# Ids, positions and what is held, case by case


def test_the_cursor_is_known_by_its_bytes_when_the_window_has_lost_it() -> None:
    """Other bytes under its id are another event, which a replay that overran the window must not swallow."""
    window = Window(1)
    made = make(window=window)
    made.opened(resumed=False)
    for n in (1, 2):
        batch = records_in(made.accept([sse(result(n), str(n))], 1.0).records)
        window.committed(window.seal(batch))
    made.opened(resumed=True)
    batch = records_in(made.accept([sse(result(1), "1")], 2.0).records)
    window.committed(window.seal(batch))
    assert window.get("2") is None
    taken = made.accept([sse(result("other"), "2")], 2.0)
    assert (len(taken.records), taken.duplicates, taken.overrun) == (1, 0, False)


def test_bytes_equal_to_the_cursors_under_another_id_are_another_event(intake: Intake) -> None:
    """A machine that is healthy again."""
    intake.accept([sse(result("HEALTHY"), "1")], 1.0)
    intake.opened(resumed=True)
    assert keys(intake.accept([sse(result("HEALTHY"), "2")], 2.0)) == ["2"]


def test_positions_begin_anew_behind_each_id_that_comes_again(intake: Intake) -> None:
    """A replay of two ids with events behind each: none of them is published again."""
    events = [sse(result(1), "1"), sse(result("a")), sse(result("b")), sse(result(2), "2"), sse(result("c"))]
    intake.accept(events, 1.0)
    intake.opened(resumed=True)
    taken = intake.accept([*events, sse(result("d"))], 2.0)
    assert (keys(taken), taken.duplicates) == ([f"2#2-{h8(result('d'))}"], 5)


def test_an_id_sent_again_on_a_connection_that_did_not_resume_is_the_same_event(intake: Intake) -> None:
    """The first thing that it sends bears the id that we stand behind, and so do its bytes: a server without resume."""
    intake.accept([sse(result(1), "1")], 1.0)
    intake.opened(resumed=False)
    taken = intake.accept([sse(result(1), "1"), sse(result(2), "2")], 2.0)
    assert (keys(taken), taken.duplicates, taken.conflicts) == (["2"], 1, 0)


def test_the_id_we_stand_behind_may_come_with_other_bytes_on_a_connection_that_did_not_resume(intake: Intake) -> None:
    """Its ids have begun anew."""
    intake.accept([sse(result(1), "1")], 1.0)
    intake.opened(resumed=False)
    taken = intake.accept([sse(result("other"), "1")], 2.0)
    assert (keys(taken), taken.conflicts) == ([f"1~{h8(result('other'))}"], 1)


def test_a_replayed_position_under_a_shared_id_is_a_duplicate_and_no_conflict(intake: Intake) -> None:
    """Conflicts raise an alert; what comes again does not."""
    events = [sse(result(n), "7") for n in range(3)]
    assert intake.accept(events, 1.0).conflicts == 2
    intake.opened(resumed=True)
    taken = intake.accept(events, 2.0)
    assert (taken.conflicts, taken.duplicates, taken.records) == (0, 3, [])


def test_where_a_replay_of_positions_ends_it_has_ended_for_good(intake: Intake) -> None:
    """Behind the first new event, one equal to a remembered one is new as well."""
    intake.accept([sse(result(1), "5"), *(sse(result(n)) for n in "abc")], 1.0)
    intake.opened(resumed=True)
    taken = intake.accept([sse(result("a")), sse(result("x")), sse(result("c")), sse(result("a"))], 2.0)
    assert keys(taken) == [f"5#{4 + at}-{h8(result(n))}" for at, n in enumerate("xca")]
    assert taken.duplicates == 1


def test_a_replay_that_has_ended_behind_an_older_id_does_not_go_on_there(intake: Intake) -> None:
    """An equal event in the place of a remembered one is new, once another one has come in between."""
    events = [sse(result(1), "1"), *(sse(result(n)) for n in "abc"), sse(result(2), "2")]
    intake.accept(events, 1.0)
    intake.opened(resumed=True)
    taken = intake.accept([*events[:2], sse(result("x")), sse(result("c"))], 2.0)
    assert (keys(taken), taken.duplicates) == ([f"1#2-{h8(result('x'))}", f"1#4-{h8(result('c'))}"], 2)


def test_what_is_held_stands_before_an_event_with_an_id(intake: Intake) -> None:
    """It was no replay, since that would have come to its end first."""
    intake.accept([sse(result(n)) for n in "abc"], 1.0)
    intake.opened(resumed=False)
    intake.accept([sse(result("a")), sse(result("b"))], 2.0)
    taken = intake.accept([sse(result(1), "1"), sse(result("c"))], 3.0)
    assert [record.data for record in records_in(taken.records)] == [sse(result(n)).raw for n in ("a", "b", 1, "c")]
    assert keys(taken)[2:] == ["1", f"1#1-{h8(result('c'))}"]
    assert not intake.holding


def test_what_is_held_from_a_connection_before_stands_before_news() -> None:
    """The next connection remembers nothing to compare with any more: its events are new, and so was what was held."""
    window = Window(3)
    made = make(window=window)
    made.opened(resumed=False)
    batch = records_in(made.accept([sse(result(n)) for n in "abc"], 1.0).records)
    window.committed(window.seal(batch))
    made.opened(resumed=False)
    made.accept([sse(result("a")), sse(result("b"))], 2.0)
    assert made.holding
    later = [Record(str(n), "t", b"", 1.0, "message", b"12345678", None, 0) for n in range(3)]
    for record in later:
        window.remember(record.key, record.digest)
    window.committed(window.seal(later))
    assert not window.tail_of("0#", 3)
    made.opened(resumed=False)
    taken = made.accept([sse(result("new"))], 3.0)
    assert [record.data for record in records_in(taken.records)] == [sse(result(n)).raw for n in ("a", "b", "new")]


@pytest.mark.parametrize(("over", "held"), [(0, True), (1, False)])
def test_no_more_is_held_than_its_limit(over: int, held: bool) -> None:
    """To the byte: what makes it too much is published with the rest."""
    made = make(window=Window(2048))
    made.opened(resumed=False)
    size = HOLD_BYTES // 2
    empty = len(sse({"type": "t", "x": ""}).raw)
    large = [sse({"type": "t", "x": letter * (size - empty)}) for letter in "abcdefgh"]
    large[1] = sse({"type": "t", "x": "b" * (size - empty + over)})
    made.accept(large, 1.0)
    made.opened(resumed=False)
    taken = made.accept(large[:2], 2.0)
    assert (made.holding, len(taken.records)) == (held, 0 if held else 2)


def test_an_id_that_holds_a_key_is_as_good_as_none() -> None:
    """It does not become the cursor, and the event is counted behind the id before it."""
    made = make(START, None, "sk-very-secret-key")
    made.opened(resumed=False)
    made.accept([sse(result(0), "1")], 1.0)
    [record] = records_in(made.accept([sse(result(1), "id-sk-very-secret-key")], 1.0).records)
    assert (record.key, record.cursor, record.ordinal) == (f"1#1-{h8(result(1))}", "1", 1)
    assert made.cursor == "1"


def test_ids_that_the_server_counts_in_circles_bring_no_key_twice(intake: Intake) -> None:
    """Behind an id that is used for another event positions begin anew, past those that are taken."""
    around = [sse(result("other"), "1"), sse(result("a"))]
    behind = [sse(result(2), "2"), sse(result("b")), sse(result("c"))]
    taken = intake.accept([sse(result(1), "1"), sse(result("a")), *behind, *around], 1.0)
    assert keys(taken)[-2:] == [f"1~{h8(result('other'))}", f"1#2-{h8(result('a'))}"]
    assert (intake.cursor, records_in(taken.records)[-1].ordinal) == ("1", 2)


def test_events_are_counted_by_their_type_and_broken_ones_without(intake: Intake) -> None:
    """Replays too: they were received."""
    events = [sse(result(1), "1"), sse(result(2), "2"), sse({"type": "t"}, "3"), sse(b"{", "4")]
    assert intake.accept([*events, events[0]], 1.0).types == {"inference.result": 3, "t": 1, "": 1}


def test_the_cursor_that_a_server_repeats_is_known_though_commits_have_pushed_it_out_of_the_window() -> None:
    """The first event of a connection, while what was received before it was still on its way to Redis."""
    window = Window(1)
    made = make(window=window)
    made.opened(resumed=False)
    batch = records_in(made.accept([sse(result(1), "1"), sse(result("a"))], 1.0).records)
    made.opened(resumed=True)
    for record in batch:
        window.committed(window.seal([record]))
    assert window.get("1") is None
    taken = made.accept([sse(result(1), "1"), sse(result("a")), sse(result("b"))], 2.0)
    assert (keys(taken), taken.duplicates) == ([f"1#2-{h8(result('b'))}"], 2)
