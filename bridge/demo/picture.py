"""The demo's screen as an SVG: text that can be selected, in a window of fixed colours that fits any page. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from bridge.demo.screen import BARS
from bridge.demo.text import Line, Tone

__all__ = ["picture"]

CELL_WIDTH, LINE_HEIGHT, MARGIN, FONT_SIZE = 8.4, 19, 18, 14
BASELINE = 14  # of a line, from its top

_COLOURS = {
    Tone.PLAIN: "#d6dde6",
    Tone.DIM: "#8593a3",
    Tone.BOLD: "#ffffff",
    Tone.GOOD: "#5fd38d",
    Tone.BAD: "#ff7b72",
    Tone.WARN: "#e3b341",
    Tone.ACCENT: "#6cb6ff",
}


def picture(lines: Sequence[Line], title: str) -> str:
    """An SVG document. ``title`` is what a screen reader says."""
    columns = max((sum(len(span.text) for span in line) for line in lines), default=0)
    width, height = round(columns * CELL_WIDTH + 2 * MARGIN), len(lines) * LINE_HEIGHT + 2 * MARGIN
    parts = [part for row, line in enumerate(lines) for part in _line(line, MARGIN + row * LINE_HEIGHT)]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" xml:space="preserve"',
            f'  font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, monospace" font-size="{FONT_SIZE}">',
            f"<title>{escape(title)}</title>",
            f'<rect width="{width}" height="{height}" rx="10" fill="#161b22"/>',
            *parts,
            "</svg>\n",
        ]
    )


def _line(line: Line, top: int) -> Iterator[str]:
    column = 0
    for text, tone in line:
        bars = text.strip(BARS) == "" and text.strip() != ""
        yield from _bars(text, tone, column, top) if bars else _words(text, tone, column, top)
        column += len(text)


def _words(text: str, tone: Tone, column: int, top: int) -> Iterator[str]:
    words = text.strip()
    if words:
        x = _x(column + len(text) - len(text.lstrip()))
        weight = ' font-weight="bold"' if tone is Tone.BOLD else ""
        # The length is given, since the reader's font may be wider than ours and columns would drift apart.
        place = f'x="{x:g}" y="{top + BASELINE}" textLength="{len(words) * CELL_WIDTH:.1f}"'
        yield f'<text {place} fill="{_COLOURS[tone]}"{weight}>{escape(words)}</text>'


def _bars(text: str, tone: Tone, column: int, top: int) -> Iterator[str]:
    """Bars are drawn: few fonts have them all at the same height."""
    for at, character in enumerate(text, column):
        height = BARS.index(character) / (len(BARS) - 1) * (LINE_HEIGHT - 5)
        if height:
            y = top + LINE_HEIGHT - 3 - height
            place = f'x="{_x(at):g}" y="{y:.1f}" width="{CELL_WIDTH - 1:.1f}" height="{height:.1f}"'
            yield f'<rect {place} fill="{_COLOURS[tone]}"/>'


def _x(column: int) -> float:
    return round(MARGIN + column * CELL_WIDTH, 1)
