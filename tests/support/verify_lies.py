"""Every kind of stream that the bridge can write, and every way in which one can lie that Redis alone can tell.

The names of the lies are those of the table in `bridge.verify`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from bridge.verify.report import FaultKind
from tests.support.verify_clouds import CLOUD_LIES, HONEST_CLOUDS
from tests.support.verify_streams import Stream, Writer, body, hash8

__all__ = ["HONEST", "LIES"]


def plain(count: int = 5) -> Writer:
    """Events with ids."""
    writer = Writer()
    for number in range(1, count + 1):
        writer.event(f"e{number}")
    return writer


def mixed() -> Writer:
    """Something of everything."""
    writer = Writer()
    writer.without_id().event("e1").without_id().without_id().event("e2").gap().event("e3").lost(3).event("e4")
    return writer.letter("e5").without_id().letter(None).event("e6").reused("e3").without_id().event("e7")


SURROGATE = b'{"type": "half \\ud83d"}'
BIG = b'{"type": "big", "n": ' + b"7" * 5000 + b"}"

HONEST: dict[str, Stream] = {
    "events with ids": plain().stream,
    "something of everything": mixed().stream,
    "something of everything, trimmed": mixed().stream.trimmed(4),
    "trimmed up to a marker": mixed().stream.trimmed(5),
    "trimmed to nothing": mixed().stream.trimmed(99),
    "trimmed to its last event without an id": plain().without_id().without_id().stream.trimmed(6),
    "no ids at all": Writer().without_id().without_id().without_id().stream,
    "no ids at all, trimmed": Writer().without_id().without_id().without_id().stream.trimmed(2),
    "an event name": Writer().event("e1", event="custom").stream,
    "a stable name": Writer().event("e1", name="camera-1").stream,
    "a field of a later release": plain().event("e6", colour="red").letter("e7", colour="red").stream,
    "a dead letter that strict JSON refused": plain().letter("e6", b'{"type": "x", "n": NaN}')
    .letter("e7", b'{"type": "a\xff"}').letter("e8", b'\xef\xbb\xbf{"type": "x"}').stream,
    "an empty type": Writer().event("e1", b'{"type": ""}', "").stream,
    "numbers that only Python reads as JSON": Writer().event("e1", b'{"type": "x", "n": [NaN, -Infinity]}', "x").stream,
    "an integer of 5,000 digits": Writer().event("e1", BIG, "big").stream,
    "half of a surrogate pair": Writer().event("e1", SURROGATE, "half �").stream,
    "bytes that are not UTF-8": Writer().event("e1", b'{"type": "a\xff"}', "a�").stream,
    "a byte order mark": Writer().event("e1", b'\xef\xbb\xbf{"type": "x"}', "x").stream,
    "a type that begins as a marker's": Writer().event("e1", type="bridge.gap").event("e2").stream,
    "ids that begin as a marker's": plain(1).event("bridge-7").without_id().event("bridge-gap-1").stream,
    "an event that would pass for a marker": Writer().event("bridge-7", type="bridge.gap").without_id().stream,
    "a server's ids of the form of our keys": Writer()
    .event("8#1-1f0c33aa").event("8#2-1f0c33ab").event("9~0123abcd").without_id().event("9#x").stream,
    "a server that reads from a bridge": Writer()
    .event("e1").event(f"e1#1-{hash8(body('a'))}", body("a")).event(f"e1~{hash8(body('b'))}", body("b")).stream,
    "an id that ends as a reuse does at the end": Writer().event("8").event("8~0123abcd").stream,
    "an id that is ours in form at the end": Writer().event("8").event("8#1-1f0c33aa").stream,
    "an id that came again with other bytes": plain().reused("e2").reused("e2").without_id().event("e9").stream,
    "the last id again with other bytes": plain().without_id().reused("e5").without_id().stream,
    "a server whose id is 0": Writer().without_id().event("0").without_id().stream,
    "a gap": plain().gap().event("e6").stream,
    "a gap at the end": plain().gap().stream,
    "two gaps in a row": plain().gap().gap().event("e6").stream,
    "an emptied Redis": plain().gap("state_lost").event("e6").stream.trimmed(5),
    "an emptied Redis before the first event": Writer().gap("state_lost").event("e1").stream,
    "the end of a session": plain().ended().stream,
    "the end of a session that has dead letters only": Writer().letter("e1").ended().stream,
    "numbers lost": plain().lost(3).event("e6").stream,
    "numbers lost, nothing after": plain().lost(3).stream,
    "numbers lost twice, with a gap between": plain().lost(3).gap().lost(2).event("e6").stream,
    "numbers lost, trimmed up to the marker": plain().lost(3).event("e6").stream.trimmed(5),
    "an earlier release's markers": Writer(numbered_markers=True)
    .event("e1").gap().event("e2").gap().gap().event("e3").ended().stream,
    "an earlier release's marker at the beginning": Writer(numbered_markers=True).gap("state_lost").event("e1").stream,
    "dead letters": plain().letter("e6").stream,
    "dead letters without an id": plain().letter(None).letter(None).stream,
    "a dead letter without an id after one with": plain().letter("e6").letter(None).stream,
    "before the first event": Writer().commit().stream,
    "dead letters only": Writer().letter("e1").letter(None).stream,
    "a dead letter that came again with other bytes": plain().letter(f"e1~{hash8(b'{')}", b"{").event("e6").stream,
    "a dead letter that is cut": plain().letter("e6", b"{", "oversize", truncated=1).stream,
    "a dead letter that Redis refused": plain().letter("e6", body(6), "rejected").stream,
    "dead letters deeper than a reader goes": plain().letter("e6", b"[" * 3000).stream,
}  # fmt: skip


def earlier_and_later() -> Stream:
    """A session that an earlier release began and a later one went on with."""
    writer = Writer(numbered_markers=True).event("e1").gap().event("e2")
    writer.numbered_markers = False
    return writer.gap().event("e3").stream


def purged() -> Stream:
    """The cursor has moved past a dead letter that was purged."""
    stream = plain().letter("e6").stream
    stream.removed_until = int(stream.letters.pop()[0].split("-")[0])
    return stream


def repeated_without_id() -> Stream:
    """A replay of an older id's events that was not recognised: at least once, and the cursor is elsewhere."""
    return plain().replayed("e1", 1, body(7)).event("e6").replayed("e1", 1, body(7)).event("e7").stream


def published() -> Writer:
    """Of three dead letters one was published later, behind what came meanwhile."""
    writer = plain().letter("e6", body(6), "rejected").letter("e7", body(7), "rejected").letter(None).event("e8")
    return writer.publish_letter(1)


HONEST |= {
    "a dead letter that was published later": published().stream,
    "the same at the end of the place": plain().letter("e6", body(6), "rejected").publish_letter().stream,
    "the same before every event": Writer().letter("e1", body(1), "rejected").publish_letter().event("e2").stream,
    "the same without an id": plain()
    .letter(None, body(6), "rejected")
    .without_id()
    .publish_letter()
    .without_id()
    .stream,
    "the same behind the end of the session": plain().letter("e6", body(6), "rejected").ended().publish_letter().stream,
    "two of them against their order": published().event("e9").publish_letter(0).event("e10").stream,
    "events that are filtered out": plain().filtered("e6").filtered(None).stream,
    "the same between others": plain().filtered("e6").without_id().filtered("e7").event("e8").filtered(None).stream,
    "nothing but those": Writer().filtered(None).filtered("e1").filtered(None).stream,
    "an earlier release, then a later one": earlier_and_later(),
    "a dead letter that was purged": purged(),
    "an event without an id at least once": repeated_without_id(),
}


def rewound() -> Writer:
    """Back to where some had been skipped, and those after all."""
    writer = plain().rewound("e9", live=True).event("e10").without_id().rewound("e5")
    return writer.event("e6").event("e7").without_id().event("e8").event("e11")


def rewound_again() -> Writer:
    """Further back than the window: all of it once more, a dead letter and a reuse too."""
    writer = plain().letter("e6").reused("e2").rewound("e3", again=True)
    return writer.event("e4").event("e5").letter("e6").event("e7")


HONEST |= {
    "a place moved ahead": plain().rewound("e9", live=True).event("e10").stream,
    "a place moved ahead, nothing after": plain().rewound("e9", live=True).stream,
    "a place moved back, nothing after": plain().rewound("e2").stream,
    "a place moved back, and a part of it passed": plain().rewound("e2").stream,
    "a place moved to the start, nothing after": plain().rewound(None).stream,
    "a place moved back over events without an id": plain().without_id().without_id().rewound("e2").stream,
    "a place moved, and the state found again": plain().rewound("e2").stream,
    "what was skipped comes after all": rewound().stream,
    "what was skipped comes after all, trimmed": rewound().stream.trimmed(7),
    "events again, as declared": rewound_again().stream,
    "events again, as declared, twice": rewound_again().rewound(None, again=True).event("e1").event("e7").stream,
}
HONEST["a place moved back, and a part of it passed"].state = plain(4).stream.state | {"seq": 5}  # type: ignore[operator]
HONEST["a place moved back, some new, the rest passed, the end"] = (
    Writer().event("e1").event("e3").rewound("e1").event("e2").ended().stream
)
HONEST["a place moved back, some new, the rest passed, the end"].state |= {"cursor": "e3"}  # type: ignore[operator]
HONEST["a place moved, and the state found again"].state = plain().stream.state

Lie = tuple[FaultKind, Stream]
LIES: dict[str, Lie] = {}


def lie(name: str, kind: FaultKind, honest: Stream | Writer, tamper: Callable[[Stream], Any]) -> None:
    """Note a lie: what is done to an honest stream."""
    stream = (honest.stream if isinstance(honest, Writer) else honest).copy()
    tamper(stream)
    LIES[name] = (kind, stream)


def put(at: int, **fields: Any) -> Callable[[Stream], None]:
    """Set fields of an entry."""
    return lambda stream: stream.entries[at][1].update(fields)


def both(*tampers: Callable[[Stream], Any]) -> Callable[[Stream], None]:
    """One after the other."""

    def tamper(stream: Stream) -> None:
        for one in tampers:
            one(stream)

    return tamper


def renumber(begin: int, by: int = 1) -> Callable[[Stream], None]:
    """Move the numbers from an entry on."""
    return lambda stream: stream.renumber(begin, by)


def drop(at: int, field: str) -> Callable[[Stream], Any]:
    """Take a field away."""
    return lambda stream: stream.entries[at][1].pop(field)


def state(**fields: Any) -> Callable[[Stream], Any]:
    """Set fields of the state."""
    return lambda stream: stream.state is not None and stream.state.update(fields)


def again(at: int, of: int, **fields: Any) -> Callable[[Stream], None]:
    """Put a copy of an entry in, with the number that is due, and move those behind it."""

    def tamper(stream: Stream) -> None:
        seq = stream.entries[at - 1][1]["seq"] + 1
        stream.renumber(at)
        stream.insert(at, stream.entries[of][1] | {"seq": seq} | fields)

    return tamper


def marker(
    at: int, seq: int, id: str = "bridge-gap-1", type: str = "bridge.gap", **told: Any
) -> Callable[[Stream], None]:
    """Put a marker in that has a number as told."""
    data = {"reason": "no_cursor", "last_id": None, "outage_seconds": 1, **told}
    fields = {"id": id, "session_id": "lsn-1", "seq": seq, "type": type, "data": json.dumps(data).encode()}
    return lambda stream: stream.insert(at, fields | {"received_at": "1741843200.123"})


def swap(at: int) -> Callable[[Stream], None]:
    """Swap an entry with the next one, in place."""

    def tamper(stream: Stream) -> None:
        (one, first), (other, second) = stream.entries[at : at + 2]
        stream.entries[at : at + 2] = [(one, second), (other, first)]

    return tamper


def letter(**fields: Any) -> Callable[[Stream], None]:
    """Set fields of the last dead letter; None takes one away."""

    def tamper(stream: Stream) -> None:
        merged = stream.letters[-1][1] | fields
        stream.letters[-1] = (stream.letters[-1][0], {k: v for k, v in merged.items() if v is not None})

    return tamper


def behind_a_purged_letter(stream: Stream) -> None:
    """The cursor is far behind, and a dead letter was removed."""
    state(cursor="e2")(stream)
    stream.removed_until = int(stream.letters.pop()[0].split("-")[0])


def behind_an_old_letter_that_was_purged(stream: Stream) -> None:
    """The removed dead letter is older than the last event, so it explains nothing."""
    state(cursor="zz")(stream)
    stream.removed_until = int(stream.letters.pop()[0].split("-")[0])


# Once
lie("an entry again as it is", FaultKind.DUPLICATE, plain(), lambda s: s.insert(3, dict(s.entries[1][1])))
lie("an event again with the next number", FaultKind.DUPLICATE, plain(), again(3, 1))
lie("an event again with other bytes", FaultKind.DUPLICATE, plain(), again(3, 1, data=body("other")))
lie("an event again as ID~hash8", FaultKind.DUPLICATE, plain(), again(4, 1, id=f"e2~{hash8(body(1))}"))
lie("a reuse again", FaultKind.DUPLICATE, plain().reused("e1").event("e6"), again(6, 5))
lie("a reuse again under a longer key", FaultKind.DUPLICATE, plain().reused("e1", body("x")).event("e6"),
    again(6, 5, id=f"e1~{hash8(body('x'))}~{hash8(body('x'))}"))  # fmt: skip
lie("an event without an id again", FaultKind.OUT_OF_ORDER, Writer().event("e1").without_id().without_id(), again(3, 1))
lie("an event without an id again as it is", FaultKind.OUT_OF_ORDER, Writer().without_id().without_id().event("e1"),
    lambda s: s.insert(2, dict(s.entries[0][1])))  # fmt: skip
lie("an event after an older id again as it is", FaultKind.OUT_OF_ORDER, plain().replayed("e1", 1, body(7)),
    lambda s: s.insert(6, dict(s.entries[5][1])))  # fmt: skip
lie("an event without an id again with other bytes", FaultKind.DUPLICATE,
    Writer().event("e1").without_id().without_id(), again(3, 1, data=body("other")))  # fmt: skip
lie("a marker again", FaultKind.DUPLICATE, plain().gap().event("e6"), lambda s: s.insert(6, dict(s.entries[5][1])))
lie("an id changed to another's", FaultKind.DUPLICATE, plain(), put(3, id="e2"))

# All
lie("an event taken out", FaultKind.HOLE, plain(), lambda s: s.entries.pop(2))
lie("many events taken out", FaultKind.HOLE, plain(9), lambda s: s.entries.__delitem__(slice(2, 6)))
lie("the last event taken out", FaultKind.STATE_MISMATCH, plain(), lambda s: s.entries.pop())
lie("an event taken out after a gap", FaultKind.HOLE, plain().gap().event("e6").event("e7"), lambda s: s.entries.pop(6))
lie("an event taken out before a gap", FaultKind.MARKER, plain().gap().event("e6"), lambda s: s.entries.pop(4))
lie("the marker of lost numbers taken out", FaultKind.HOLE, plain().lost(2).event("e6"), lambda s: s.entries.pop(5))
lie("the marker of lost numbers taken out at the end", FaultKind.STATE_MISMATCH, plain().lost(2),
    lambda s: s.entries.pop())  # fmt: skip
for name, first, last in (("too early", 5, 8), ("too late", 7, 8), ("too few", 6, 7), ("too many", 6, 9)):
    told = {"reason": "numbers_lost", "last_id": "e5", "outage_seconds": 1, "from_seq": first, "to_seq": last}
    lie(f"lost numbers, {name}", FaultKind.MARKER, plain().lost(3).event("e6"), put(5, data=json.dumps(told).encode()))
lie("lost numbers that are there", FaultKind.MARKER, plain(),
    marker(3, 3, reason="numbers_lost", from_seq=4, to_seq=5))  # fmt: skip
lie("lost numbers from the end to the beginning", FaultKind.MALFORMED, plain(),
    marker(5, 5, reason="numbers_lost", from_seq=7, to_seq=6))  # fmt: skip
lie("lost numbers without numbers", FaultKind.MALFORMED, plain(), marker(3, 3, reason="numbers_lost"))
lie("lost numbers under another reason", FaultKind.MALFORMED, plain(), marker(5, 5, from_seq=6, to_seq=6))
lie("an event of another session", FaultKind.HOLE, plain(), put(2, session_id="lsn-2"))

# In order
lie("two entries swapped", FaultKind.OUT_OF_ORDER, plain(), swap(1))
lie("two numbers swapped", FaultKind.OUT_OF_ORDER, plain(), both(put(1, seq=3), put(2, seq=2)))
lie("a number repeated", FaultKind.OUT_OF_ORDER, plain(), put(2, seq=2))
lie("the first number repeated", FaultKind.OUT_OF_ORDER, plain(), put(0, seq=2))
lie("numbers that begin anew", FaultKind.OUT_OF_ORDER, plain(),
    lambda s: [put(at, seq=at - 2)(s) for at in range(3, 5)])  # fmt: skip
lie("numbers moved", FaultKind.HOLE, plain(), renumber(2, 7))
lie("a number zero", FaultKind.MALFORMED, plain(), put(0, seq=0))
lie("ordinals swapped", FaultKind.OUT_OF_ORDER, Writer().event("e1").without_id().without_id().event("e2"),
    both(swap(1), put(1, seq=2), put(2, seq=3)))  # fmt: skip

# Markers
lie("a marker ahead of the event after it", FaultKind.MARKER, plain().gap().event("e6"), put(5, seq=6))
lie("a marker far ahead", FaultKind.MARKER, plain().gap().event("e6"), put(5, seq=60))
lie("a marker behind", FaultKind.MARKER, plain().gap().event("e6"), put(5, seq=4))
lie("a marker ahead at the end", FaultKind.MARKER, plain().gap(), put(5, seq=6))
lie("a marker with a number of its own after one without", FaultKind.MARKER, plain().gap().event("e6").event("e7"),
    both(renumber(7), marker(7, 7, last_id="e6")))  # fmt: skip
lie("a marker before the first event", FaultKind.MARKER, plain(), marker(0, 0))
lie("a marker of no kind", FaultKind.MALFORMED, plain(), marker(3, 3, id="bridge-x-1", type="bridge.x"))
lie("a marker with another's id", FaultKind.MALFORMED, plain(), marker(3, 3, id="bridge-session.ended-1"))
lie("a marker without a reason", FaultKind.MALFORMED, plain(), marker(3, 3, reason=""))
lie("a marker without an outage", FaultKind.MALFORMED, plain(), marker(3, 3, outage_seconds="NaN"))
lie("a marker with an outage beyond all numbers", FaultKind.MALFORMED, plain(), marker(3, 3, outage_seconds=10**400))
lie("a marker that is not JSON", FaultKind.MALFORMED, plain().gap(), put(5, data=b"{"))
lie("a marker with an event name", FaultKind.MALFORMED, plain().gap(), put(5, event="custom"))

# Bytes
lie("an event without an id changed", FaultKind.CHANGED, Writer().without_id().without_id().event("e1"),
    put(1, data=body("forged")))  # fmt: skip
lie("the last event without an id changed", FaultKind.CHANGED, plain().without_id(), put(5, data=body("forged")))
lie("a reuse changed", FaultKind.CHANGED, plain().reused("e2").event("e6"), put(5, data=body("forged")))
lie("a suffix that is no hash", FaultKind.CHANGED, plain(), put(3, id="e2~0123abcd"))
lie("a type that is not that of the data", FaultKind.MALFORMED, plain(), put(2, type="forged"))
lie("data that is no lens event", FaultKind.MALFORMED, plain(), put(2, data=b"[]"))
lie("data that is not JSON", FaultKind.MALFORMED, plain(), put(2, data=b"{"))
lie("a control frame", FaultKind.MALFORMED, plain(),
    put(2, type="sse.stream.heartbeat", data=body(1, "sse.stream.heartbeat")))  # fmt: skip

# Fields
for name in ("id", "session_id", "seq", "type", "data", "received_at"):
    lie(f"without {name}", FaultKind.MALFORMED, plain(), drop(2, name))
lie("a field twice", FaultKind.MALFORMED, plain(), lambda s: s.extra.update({2: [b"data", body(7)]}))
lie("an empty id", FaultKind.MALFORMED, plain(), put(2, id=""))
lie("an event name that is the usual one", FaultKind.MALFORMED, plain(), put(2, event="message"))
for name, seq in (("text", "x"), ("signed", "+3"), ("with zeros", "03"), ("endless", "9" * 5000), ("wide", "\uff13")):
    lie(f"a number {name}", FaultKind.MALFORMED, plain(), put(2, seq=seq))
for time in ("nan", "inf", "-1.000", "soon", "1741843200", "1e9"):
    lie(f"received_at {time}", FaultKind.MALFORMED, plain(), put(2, received_at=time))

# The place
lie("no state", FaultKind.STATE_MISMATCH, plain(), lambda s: setattr(s, "state", None))
lie("the state's seq ahead", FaultKind.STATE_MISMATCH, plain(), state(seq=6))
lie("the state's seq behind", FaultKind.STATE_MISMATCH, plain(), state(seq=4))
lie("the state's seq before the lost numbers", FaultKind.STATE_MISMATCH, plain().lost(3), state(seq=5))
lie("the cursor behind", FaultKind.STATE_MISMATCH, plain(), state(cursor="e2"))
lie("the cursor ahead", FaultKind.STATE_MISMATCH, plain(), state(cursor="e9"))
lie("no cursor", FaultKind.STATE_MISMATCH, plain(), state(cursor=""))
lie("a cursor before the first event", FaultKind.STATE_MISMATCH, Writer().letter("e1"), state(cursor="e9"))
lie("the ordinal ahead", FaultKind.STATE_MISMATCH, plain(), state(ordinal=1))
lie("the ordinal behind", FaultKind.STATE_MISMATCH, plain().without_id().without_id(), state(ordinal=1))
lie("the cursor behind, a dead letter older", FaultKind.STATE_MISMATCH, plain().letter("e6").event("e7"),
    state(cursor="e6"))  # fmt: skip
lie("the cursor before the last dead letter", FaultKind.STATE_MISMATCH, plain().letter("e6"), state(cursor="e5"))
lie("the cursor behind, a dead letter removed", FaultKind.STATE_MISMATCH, plain().letter("e6"), behind_a_purged_letter)
lie("the cursor ahead, an older dead letter removed", FaultKind.STATE_MISMATCH, plain().letter("e6").event("e7"),
    behind_an_old_letter_that_was_purged)  # fmt: skip

lie("the cursor back, events filtered out", FaultKind.STATE_MISMATCH, plain().filtered("e6"), state(cursor="e2"))
lie("the seq ahead, events filtered out", FaultKind.STATE_MISMATCH, plain().filtered("e6"), state(seq=6))

# Dead letters
lie("a letter beside its publication", FaultKind.DEAD_LETTER, published(),
    lambda s: s.letters.append(("1741843299000-0", {**s.letters[0][1], "id": "e7"})))  # fmt: skip
lie("a publication twice", FaultKind.DUPLICATE, published(),
    both(lambda s: s.insert(7, {**s.entries[6][1], "seq": 8}), state(seq=8)))  # fmt: skip
lie("a publication with its old number", FaultKind.OUT_OF_ORDER, published(), both(put(6, seq=3), state(seq=6)))
lie("a publication of a later letter", FaultKind.MALFORMED, published(), put(6, dead_letter="1999999999999-0"))
lie("a publication of nothing", FaultKind.MALFORMED, published(), put(6, dead_letter=""))
lie("a marker that was a dead letter", FaultKind.MALFORMED, plain().gap(), put(5, dead_letter="1-0"))
lie("a publication that moves the place", FaultKind.STATE_MISMATCH, published(), state(cursor="e7"))
buried = plain().letter("e6").event("e7")
for name in ("id", "data", "reason"):
    lie(f"a dead letter without {name}", FaultKind.DEAD_LETTER, buried, letter(**{name: None}))
lie("a dead letter with an empty reason", FaultKind.DEAD_LETTER, buried, letter(reason=""))
lie("a dead letter with an unknown reason", FaultKind.DEAD_LETTER, buried, letter(reason="x"))
lie("a dead letter with nonsense for a time", FaultKind.DEAD_LETTER, buried,
    letter(received_at="nan"))  # fmt: skip
lie("a dead letter neither cut nor whole", FaultKind.DEAD_LETTER, buried, letter(truncated=2))
lie("a dead letter that is a lens event", FaultKind.DEAD_LETTER, buried, letter(data=body(6)))
lie("a dead letter twice", FaultKind.DEAD_LETTER, buried,
    lambda s: s.letters.append(("1741843200099-0", dict(s.letters[0][1]))))  # fmt: skip
lie("a dead letter beside its event", FaultKind.DEAD_LETTER, buried, letter(id="e3"))

# Places moved by hand
lie("an event again that nobody declared", FaultKind.DUPLICATE, rewound(), put(11, id="e4"))
lie("an event again before the marker", FaultKind.DUPLICATE, rewound_again(), put(1, id="e1"))
lie("an event twice behind the marker", FaultKind.DUPLICATE, rewound_again(), put(8, id="e4"))
lie("a place moved to nowhere", FaultKind.MALFORMED, plain().rewound("e2"), marker(5, 5, reason="rewound"))
lie("the cursor elsewhere than it was moved to", FaultKind.STATE_MISMATCH, plain().rewound("e2"), state(cursor="e9"))
lie("the cursor elsewhere than at the start", FaultKind.STATE_MISMATCH, plain().rewound(None), state(cursor="e9"))
lie("a number left out where the place was moved", FaultKind.HOLE, rewound(), lambda s: s.renumber(6))
lie("the cursor behind a place that was moved and has gone on", FaultKind.STATE_MISMATCH, rewound(), state(cursor="e6"))

HONEST |= HONEST_CLOUDS
LIES |= {name: (FaultKind.MALFORMED, stream) for name, stream in CLOUD_LIES.items()}
