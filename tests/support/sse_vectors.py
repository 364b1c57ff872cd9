"""What an event stream means, case by case, from "Interpreting an event stream" in the WHATWG HTML Living Standard.

Bodies are written with LF. A body that holds no CR means the same with CR or CRLF for each LF.
"""

from __future__ import annotations

from typing import NamedTuple


class Seen(NamedTuple):
    """An event as a reader of the standard would see it."""

    data: str
    event: str = "message"
    id: str | None = None
    last: str = ""


class Vector(NamedTuple):
    """One case. ``resumed`` is the last event id that the decoder starts with."""

    name: str
    body: bytes
    events: tuple[Seen, ...] = ()
    last_event_id: str = ""
    retry_ms: int | None = None
    pending: bool = False
    resumed: str = ""


def _one(data: str, event: str = "message") -> tuple[Seen, ...]:
    return (Seen(data, event),)


def _with_id(event_id: str, data: str = "x") -> tuple[Seen, ...]:
    return (Seen(data, id=event_id, last=event_id),)


AS_IN_THE_STANDARD = (  # what the standard shows by example, with words of our own
    Vector("three lines become one event", b"data: ACME\ndata: -3\ndata: 41\n\n", _one("ACME\n-3\n41")),
    Vector(
        "comment; id; id reset; text kept with its second space",
        b": hello\n\ndata: one\nid: 1\n\ndata:two\nid\n\ndata:  three\n",
        (Seen("one", id="1", last="1"), Seen("two", id="")),
        pending=True,
    ),
    Vector(
        "the same with the last blank line",
        b": hello\n\ndata: one\nid: 1\n\ndata:two\nid\n\ndata:  three\n\n",
        (Seen("one", id="1", last="1"), Seen("two", id=""), Seen(" three")),
    ),
    Vector(
        "empty data twice, then an unfinished event",
        b"data\n\ndata\ndata\n\ndata:",
        (Seen(""), Seen("\n")),
        pending=True,
    ),
    Vector("the space after the colon is no part of the data", b"data:same\n\ndata: same\n\n", _one("same") * 2),
    Vector(
        "named events",
        b"event: joined\ndata: 81\n\nevent: left\ndata: 82\n\n",
        (Seen("81", "joined"), Seen("82", "left")),
    ),
)

DATA = (
    Vector("nothing", b""),
    Vector("one data line", b"data: x\n\n", _one("x")),
    Vector("no space", b"data:x\n\n", _one("x")),
    Vector("one space goes, the second stays", b"data:  x\n\n", _one(" x")),
    Vector("a space before the colon is part of the name", b"data : x\n\n"),
    Vector("a space before the name is part of it", b" data: x\n\n"),
    Vector("a tab is not a space", b"data:\tx\n\n", _one("\tx")),
    Vector("trailing spaces stay", b"data: x \n\n", _one("x ")),
    Vector("only a space", b"data: \n\n", _one("")),
    Vector("two spaces", b"data:  \n\n", _one(" ")),
    Vector("bare with a colon", b"data:\n\n", _one("")),
    Vector("bare without one", b"data\n\n", _one("")),
    Vector("two bare lines are one line end", b"data\ndata:\n\n", _one("\n")),
    Vector("an empty line in the middle of the data", b"data: a\ndata\ndata: b\n\n", _one("a\n\nb")),
    Vector("an empty first line", b"data\ndata: a\n\n", _one("\na")),
    Vector("an empty last line", b"data: a\ndata:\n\n", _one("a\n")),
    Vector("colons in the data", b"data: a:b: c\n\n", _one("a:b: c")),
    Vector("data that looks like a field", b"data: id: 1\n\n", _one("id: 1")),
    Vector("data that looks like a comment", b"data: : x\n\n", _one(": x")),
    Vector("a NUL in the data", b"data: a\0b\n\n", _one("a\0b")),
    Vector("data lines around another field", b"data: a\nevent: e\ndata: b\n\n", _one("a\nb", "e")),
    Vector("data lines around a comment", b"data: a\n: no\ndata: b\n\n", _one("a\nb")),
    Vector("two events", b"data: a\n\ndata: b\n\n", (Seen("a"), Seen("b"))),
    Vector("many blank lines", b"\n\n\ndata: a\n\n\n\n\ndata: b\n\n\n", (Seen("a"), Seen("b"))),
    Vector("only blank lines", b"\n\n\n\n"),
    Vector("a blank line of one space ends nothing", b"data: a\n \n", (), pending=True),
)

NAMES = (
    Vector("names are case sensitive", b"Data: x\nDATA: y\n\n"),
    Vector("an upper case id is unknown", b"ID: 1\ndata: x\n\n", _one("x")),
    Vector("unknown fields are ignored", b"foo: bar\ndata: x\nbaz\n\n", _one("x")),
    Vector("a longer name is another name", b"datas: y\ndatax\ndata: x\n\n", _one("x")),
    Vector("a shorter name is another name", b"dat: y\ndat\ndata: x\n\n", _one("x")),
    Vector("a whole line without a colon is a name", b"data x\n\n"),
    Vector("a NUL in a name", b"da\0ta: y\ndata: x\n\n", _one("x")),
    Vector("JSON without a field name", b'{"type": "a"}\n\n'),
    Vector("HTML", b"<html>\n<body>data: x</body>\n\n</html>\n\n"),
)

COMMENTS = (
    Vector("a comment alone", b": hi\n\n"),
    Vector("an empty comment", b":\n\n"),
    Vector("a comment that looks like data", b":data: x\n\n"),
    Vector("comments in a block", b":a\ndata: x\n:b\n\n", _one("x")),
    Vector("a comment between events keeps the id", b"id: 1\ndata: x\n\n: ping\n\ndata: y\n\n",
           (Seen("x", id="1", last="1"), Seen("y", last="1")), "1"),
    Vector("comments without blank lines", b": a\n: b\n: c\ndata: x\n\n", _one("x")),
    Vector("a comment is no pending event", b"data: x\n\n: ping\n: pin", _one("x")),
)  # fmt: skip

EVENT_NAMES = (
    Vector("a name", b"event: e\ndata: x\n\n", _one("x", "e")),
    Vector("a name after the data", b"data: x\nevent: e\n\n", _one("x", "e")),
    Vector("the name of the default", b"event: message\ndata: x\n\n", _one("x")),
    Vector("no space in the name line", b"event:message\ndata:x\n\n", _one("x")),
    Vector("a second space belongs to the name", b"event:  message\ndata: x\n\n", _one("x", " message")),
    Vector("the last name wins", b"event: a\nevent: b\ndata: x\n\n", _one("x", "b")),
    Vector("the default name wins when it is last", b"event: a\nevent: message\ndata: x\n\n", _one("x")),
    Vector("another name after the default", b"event: message\nevent: a\ndata: x\n\n", _one("x", "a")),
    Vector("an empty name is the default", b"event: a\nevent:\ndata: x\n\n", _one("x")),
    Vector("a bare name is the default", b"event\ndata: x\n\n", _one("x")),
    Vector("a name holds for one event", b"event: e\ndata: x\n\ndata: y\n\n", (Seen("x", "e"), Seen("y"))),
    Vector("a name without data is forgotten", b"event: e\n\ndata: x\n\n", _one("x")),
    Vector("a name may hold a NUL", b"event: a\0b\ndata: x\n\n", _one("x", "a\0b")),
)

IDS = (
    Vector("an id", b"id: 1\ndata: x\n\n", _with_id("1"), "1"),
    Vector("an id after the data", b"data: x\nid: 1\n\n", _with_id("1"), "1"),
    Vector("no space in the id line", b"id:1\ndata:x\n\n", _with_id("1"), "1"),
    Vector("a second space belongs to the id", b"id:  1\ndata: x\n\n", _with_id(" 1"), " 1"),
    Vector("a trailing space belongs to the id", b"id: 1 \ndata: x\n\n", _with_id("1 "), "1 "),
    Vector("an id of two spaces is one space", b"id:  \ndata: x\n\n", _with_id(" "), " "),
    Vector("an id is any text", "id: ключ:1/é\ndata: x\n\n".encode(), _with_id("ключ:1/é"), "ключ:1/é"),
    Vector("an id may hold a tab", b"id: a\tb\ndata: x\n\n", _with_id("a\tb"), "a\tb"),
    Vector("the last id of a block wins", b"id: 1\nid: 2\ndata: x\n\n", _with_id("2"), "2"),
    Vector("an id lasts", b"id: 1\ndata: x\n\ndata: y\n\n", (Seen("x", id="1", last="1"), Seen("y", last="1")), "1"),
    Vector("an id alone moves the place", b"id: 1\n\n", (), "1"),
    Vector("an id alone counts for what follows", b"id: 1\n\ndata: x\n\n", (Seen("x", last="1"),), "1"),
    Vector("an empty id resets", b"id: 1\ndata: x\n\nid:\ndata: y\n\n", (*_with_id("1"), Seen("y", id=""))),
    Vector("an empty id after a space", b"id: 1\ndata: x\n\nid: \ndata: y\n\n", (*_with_id("1"), Seen("y", id=""))),
    Vector("a bare id resets", b"id: 1\ndata: x\n\nid\ndata: y\n\n", (*_with_id("1"), Seen("y", id=""))),
    Vector("an empty id alone resets", b"id: 1\n\nid\n\n"),
    Vector("an empty id takes back an earlier one", b"id: 1\nid\ndata: x\n\n", _with_id("")),
    Vector("an id with a NUL is ignored", b"id: a\0\ndata: x\n\n", _one("x")),
    Vector("an id with a NUL leaves the last one", b"id: 1\n\nid: \x002\ndata: x\n\n", (Seen("x", last="1"),), "1"),
    Vector("an id with a NUL leaves the block's own", b"id: 1\nid: 2\0\ndata: x\n\n", _with_id("1"), "1"),
    Vector("an unfinished block does not move the place", b"id: 1\n\nid: 2\ndata: x\n", (), "1", pending=True),
    Vector("a decoder resumes", b"data: x\n\n", (Seen("x", last="7"),), "7", resumed="7"),
    Vector("an empty id makes it forget", b"id\ndata: x\n\n", _with_id(""), "", resumed="7"),
    Vector("a comment does not", b": hi\n\n", (), "7", resumed="7"),
)

RETRY = (
    Vector("a reconnection time", b"retry: 3000\n\n", retry_ms=3000),
    Vector("it does not wait for the blank line", b"retry: 3000\n", retry_ms=3000),
    Vector("but for the end of its line", b"retry: 3000", pending=True),
    Vector("without a space", b"retry:3000\n\n", retry_ms=3000),
    Vector("zero", b"retry: 0\n\n", retry_ms=0),
    Vector("leading zeros", b"retry: 0003000\n\n", retry_ms=3000),
    Vector("only zeros", b"retry: 0000000000000000\n\n", retry_ms=0),
    Vector("the last one wins", b"retry: 1\nretry: 2\n\n", retry_ms=2),
    Vector("with an event", b"retry: 5\ndata: x\n\n", _one("x"), retry_ms=5),
    Vector("empty", b"retry: 1\nretry:\nretry\n\n", retry_ms=1),
    Vector("a sign", b"retry: +1\nretry: -1\n\n"),
    Vector("a fraction", b"retry: 1.5\n\n"),
    Vector("a second space", b"retry:  1\n\n"),
    Vector("a trailing space", b"retry: 1 \n\n"),
    Vector("hexadecimal", b"retry: 0x10\n\n"),
    Vector("letters after digits", b"retry: 10ms\n\n"),
    Vector("digits of other scripts", "retry: ١٢\nretry: \uff11\n\n".encode()),
    Vector("an underscore", b"retry: 1_000\n\n"),
    Vector("more than a day", b"retry: 86400001\n\n", retry_ms=86_400_000),
    Vector("far more than a day", b"retry: " + b"9" * 60 + b"\n\n", retry_ms=86_400_000),
)

ENCODING = (
    Vector("a byte order mark", b"\xef\xbb\xbfdata: x\n\n", _one("x")),
    Vector("a second one is text", b"\xef\xbb\xbf\xef\xbb\xbfdata: x\n\n"),
    Vector("one after the start is text", b"data: x\n\n\xef\xbb\xbfdata: y\n\n", _one("x")),
    Vector("one after a blank line is text", b"\n\xef\xbb\xbfdata: y\n\n"),
    Vector("one in the data stays", b"data: \xef\xbb\xbfx\n\n", _one("\ufeffx")),
    Vector("half of one is text", b"\xef\xbbdata: x\n\ndata: y\n\n", _one("y")),
    Vector("only a byte order mark", b"\xef\xbb\xbf"),
    Vector("UTF-8", "data: zażółć €𝄞\n\n".encode(), _one("zażółć €𝄞")),
    Vector("UTF-8 in a name", "event: é\ndata: x\n\n".encode(), _one("x", "é")),
    Vector("a wrong byte", b"data: a\xffb\n\n", _one("a\ufffdb")),
    Vector("a sequence cut off by a line end", b"data: \xe2\x82\n\n", _one("\ufffd")),
    Vector("a sequence cut off by a colon", b"\xe2\x82: y\ndata: x\n\n", _one("x")),
    Vector("an encoded surrogate", b"data: \xed\xa0\x80\n\n", _one("\ufffd\ufffd\ufffd")),
    Vector("an overlong encoding", b"data: \xc0\x8a\n\n", _one("\ufffd\ufffd")),
    Vector("an id that is not UTF-8", b"id: \xff\ndata: x\n\n", _with_id("\ufffd"), "\ufffd"),
    Vector("U-3028 and U-3029 end no line", "data: a\u2028b\u2029c\n\n".encode(), _one("a\u2028b\u2029c")),
    Vector("U+0085 ends no line", "data: a\u0085b\n\n".encode(), _one("a\u0085b")),
    Vector("VT, FF and FS end no line", b"data: a\x0bb\x0cc\x1cd\n\n", _one("a\x0bb\x0cc\x1cd")),
)

LINE_ENDS = (
    Vector("CRLF", b"data: x\r\n\r\n", _one("x")),
    Vector("CR", b"data: x\r\r", _one("x")),
    Vector("LF CR", b"data: x\n\r", _one("x")),
    Vector("CR LF LF", b"data: x\r\n\n", _one("x")),
    Vector("LF CR LF", b"data: x\n\r\n", _one("x")),
    Vector("CR CR LF", b"data: x\r\r\n", _one("x")),
    Vector("one CRLF is one line end", b"data: x\r\n", pending=True),
    Vector("all three in one block", b"id: 1\rdata: x\ndata: y\r\n\r\n", (Seen("x\ny", id="1", last="1"),), "1"),
    Vector("CRLF after a bare CR event", b"data: x\r\r\r\ndata: y\r\r", (Seen("x"), Seen("y"))),
    Vector("a LF after CRLF is a blank line", b"data: x\r\n\ndata: y\n\n", (Seen("x"), Seen("y"))),
    Vector("a CR in the data splits it", b"data: a\rdata: b\n\n", _one("a\nb")),
    Vector("a CR in the data starts a new field", b"data: a\rb\n\n", _one("a")),
)

UNFINISHED = (
    Vector("no line end", b"data: x", pending=True),
    Vector("no blank line", b"data: x\n", pending=True),
    Vector("after a whole event", b"data: x\n\ndata: y\n", _one("x"), pending=True),
    Vector("an id only", b"id: 1", pending=True),
    Vector("a name only", b"event: e\n", pending=True),
    Vector("half a name", b"dat", pending=True),
)

VECTORS = AS_IN_THE_STANDARD + DATA + NAMES + COMMENTS + EVENT_NAMES + IDS + RETRY + ENCODING + LINE_ENDS + UNFINISHED
