"""`config/README.md`: what it says of `data` is so, and what it shows works."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from bridge.delivery.envelopes import NotAnEnvelope
from bridge.delivery.filters import Selection
from bridge.model.records import ServerSentEvent
from tests.support.worker import ROOT

GUIDE = (ROOT / "config" / "README.md").read_text()

SAMPLES = {
    "`NaN`, `Infinity`": b'{"type":"t","x":[NaN,Infinity]}',
    "bytes that are no UTF-8": b'{"type":"t","x":"\xff"}',
    "a byte order mark in front": b'\xef\xbb\xbf{"type":"t"}',
    'half of a surrogate pair, `"\\ud800"`': b'{"type":"t","x":"\\ud800"}',
    "`1e400`": b'{"type":"t","x":1e400}',
    "integers above 2^53": b'{"type":"t","x":' + b"9" * 5000 + b"}",
    "two members of one name": b'{"type":"t","x":1,"x":2}',
    '`"\\u0000"`': b'{"type":"t","x":"\\u0000"}',
    "no JSON: empty, cut off, a raw control character in a string": b'{"type":"t","x":"\0"}',
    "JSON that is no object with a `type` that is text": b'[{"type":"t"}]',
    "nested deeper than Python itself reads (1,000 on 3.11)": b'{"type":"t","x":'
    + b"[" * 100_000
    + b"]" * 100_000
    + b"}",
}


def _rows() -> dict[str, list[str]]:
    table = GUIDE[GUIDE.index("| in `data` |") :].split("\n\n", 1)[0].splitlines()[2:]
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in table]
    return {row[0]: row[1:] for row in cells}


def test_each_row_of_the_table_has_its_sample() -> None:
    """And no sample is of a row that went."""
    assert _rows().keys() == SAMPLES.keys()


@pytest.mark.parametrize(("row", "raw"), SAMPLES.items(), ids=lambda value: repr(value)[:40])
def test_what_the_table_says_becomes_of_data_is_so(row: str, raw: bytes) -> None:
    """As it is, and with `events.strict_json`."""

    def becomes(selection: Selection) -> str:
        found = selection.kind(ServerSentEvent("message", raw, "1", "1"))
        return "dead letter" if isinstance(found, NotAnEnvelope) else "published"

    assert _rows()[row][:2] == [becomes(Selection()), becomes(Selection(strict_json=True))]


def test_the_snippet_checks_an_entry(tmp_path: Path) -> None:
    """Run as it stands, from where the file is; and with the entry spoiled."""
    (snippet,) = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
    for code, fails in ((snippet, False), (snippet.replace('"seq": "1"', '"seq": "one"'), True)):
        file = tmp_path / "snippet.py"
        file.write_text(code)
        done = subprocess.run([sys.executable, file], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode != 0) is fails, done.stderr
