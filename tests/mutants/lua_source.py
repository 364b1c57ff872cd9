"""The single changes that can be made to a Lua script, told by its tokens: they are too plain to need a parser."""

from __future__ import annotations

import re
from pathlib import Path

from tests.mutants.change import Change

__all__ = ["lua_changes"]

_TOKEN = re.compile(
    rb"""(?P<comment>--[^\n]*)|(?P<string>'[^'\n]*'|"[^"\n]*")|(?P<number>(?<![\w.])\d+(?![\w.]))"""
    rb"""|(?P<word>[A-Za-z_]\w*)|(?P<sign>==|~=|<=|>=|\.\.|[<>+/*-])"""
)
_SIGNS = {
    b"==": (b"~=",),
    b"~=": (b"==",),
    b"<": (b"<=", b">="),
    b"<=": (b"<", b">"),
    b">": (b">=", b"<="),
    b">=": (b">", b"<"),
    b"+": (b"-",),
    b"-": (b"+",),
    b"*": (b"/",),
    b"/": (b"*",),
}
_WORDS = {b"and": b"or", b"or": b"and", b"true": b"false", b"false": b"true", b"not": b""}
_STATEMENT = re.compile(rb"(?m)^[ \t]*(?:redis\.p?call\(|[A-Za-z_][\w.]*(?:\[[^\n=]*\])? = |if [^\n]* end\b)")


def lua_changes(path: Path, source: bytes) -> list[Change]:
    """Every single change of a script, in the order of the text."""
    found = [*_tokens(path, source), *_statements(path, source)]
    return sorted(found, key=lambda change: (change.start, change.end, change.new))


def _tokens(path: Path, source: bytes) -> list[Change]:
    found = []
    for match in _TOKEN.finditer(source):
        token = match[0]
        for new in _others(match.lastgroup, token):
            words = f"{token.decode()} became {new.decode() or 'nothing'}, in: {_line_at(source, match.start())}"
            found.append(_change(path, source, match.start(), match.end(), new, words))
    return found


def _others(kind: str | None, token: bytes) -> tuple[bytes, ...]:
    match kind:
        case "sign":
            return _SIGNS.get(token, ())
        case "word":
            return (_WORDS[token],) if token in _WORDS else ()
        case "number":
            value = int(token)
            return (b"%d" % (value + 1), b"%d" % (value - 1)) if value else (b"1",)
        case "string":
            return (b"'x'",) if token in (b"''", b'""') else (b"''",)
        case _:
            return ()


def _statements(path: Path, source: bytes) -> list[Change]:
    """A call, an assignment or a one-line `if` left out; as many lines as its brackets are open."""
    found = []
    for match in _STATEMENT.finditer(source):
        start = end = match.start() + len(match[0]) - len(match[0].lstrip())
        while True:
            end = source.find(b"\n", end + 1)
            end = len(source) if end < 0 else end
            text = source[start:end]
            if text.count(b"(") <= text.count(b")") or end == len(source):
                break
        found.append(_change(path, source, start, end, b"", f"left out: {_line_at(source, start)}"))
    return found


def _change(path: Path, source: bytes, start: int, end: int, new: bytes, words: str) -> Change:
    line = source.count(b"\n", 0, start) + 1
    return Change(path=path, start=start, end=end, new=new, line=line, words=words)


def _line_at(source: bytes, at: int) -> str:
    return source[source.rfind(b"\n", 0, at) + 1 :].split(b"\n", 1)[0].strip().decode()
