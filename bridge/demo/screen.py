"""Draws a scene as lines of styled text. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from bridge.demo.scene import Newest, Scene, SessionView
from bridge.demo.story import Happening
from bridge.demo.text import Line, Span, Tone, columns, cut

__all__ = ["BARS", "draw", "story_line"]

BARS = " ▁▂▃▄▅▆▇█"
_HEAD = ("SESSION", "SENT", "IN REDIS", "PER S", "DROPS", "READ BY")
_NUMBERS = frozenset((1, 2, 3, 4))
_BAR_CELLS = 40  # of a sparkline, where the screen is wide enough for it
_LEAST_STORY = 4  # lines of the story that are shown on any screen
_BLANK: Line = ()


def draw(scene: Scene, width: int, height: int | None = None) -> list[Line]:
    """The screen. With a ``height`` only as much is shown as fits, of the story its end."""
    parts = [_title(scene), _sessions(scene, width), _newest(scene), list(_workers(scene))]
    if height is not None and sum(len(part) + 1 for part in parts) + _LEAST_STORY > height:
        parts.pop(2)  # of a small screen the newest entries can be spared most easily
    top = [line for part in parts for line in (*part, _BLANK)]
    room = len(scene.happenings) if height is None else max(_LEAST_STORY, height - len(top))
    story = [story_line(one) for one in scene.happenings[-room:]]
    lines = [cut(line, width) for line in (*top, *story)]
    return lines if height is None else lines[-height:]  # a line more would scroll the screen with each redraw


def story_line(happening: Happening) -> Line:
    """One line of the story, with its time in front."""
    return Span(f"{max(0.0, happening.at):6.1f} s  ", Tone.DIM), Span(happening.text, happening.tone)


def _title(scene: Scene) -> list[Line]:
    where = f"    {scene.elapsed:.0f} s, seed {scene.seed}"
    return [
        (Span("  lens-bridge demo", Tone.BOLD), Span(where, Tone.DIM)),
        (Span("  lens API (simulated, drops connections)  →  two workers  →  Redis Streams", Tone.DIM),),
    ]


def _sessions(scene: Scene, width: int) -> list[Line]:
    rows = [[Span(title, Tone.DIM) for title in _HEAD]]
    rows += [_session(one) for one in scene.sessions]
    lines = columns(rows, _NUMBERS)
    used = sum(len(span.text) for span in lines[0]) + 2
    cells = min(_BAR_CELLS, width - used)
    if cells < len("LANDING IN REDIS"):
        return lines
    bars = [Span(_bars(one, scene, cells), Tone.GOOD) for one in scene.sessions]
    last = [Span("LANDING IN REDIS", Tone.DIM), *bars]
    return [(*line, Span("  "), bar) for line, bar in zip(lines, last, strict=True)]


def _session(view: SessionView) -> list[Span]:
    owner = Span(view.owner) if view.owner else Span("nobody", Tone.BAD)
    behind = Tone.PLAIN if view.sent - view.stored <= view.rate else Tone.WARN
    counts = [Span(f"{view.sent:,}"), Span(f"{view.stored:,}", behind), Span(f"{view.rate:.0f}"), Span(f"{view.drops}")]
    return [Span(view.name, Tone.BOLD), *counts, owner]


def _bars(view: SessionView, scene: Scene, cells: int) -> str:
    """What landed from the beginning on: an outage is a gap, and the catching up after it a peak."""
    heights = [0] * cells
    for at, count in view.landings:
        heights[min(cells - 1, int(at / scene.span_seconds * cells))] += count
    peak = max(heights) or 1
    return "".join(BARS[-(-height * (len(BARS) - 1) // peak)] for height in heights)


def _newest(scene: Scene) -> list[Line]:
    rows = [[Span(title, Tone.DIM) for title in ("NEWEST ENTRY", "seq", "id", "type", "data")]]
    for view in scene.sessions:
        newest = view.newest or Newest(seq="-", id="-", type="-", said="-")
        cells = [Span(newest.seq), Span(newest.id), Span(newest.type), Span(newest.said, Tone.DIM)]
        rows.append([Span(view.name, Tone.BOLD), *cells])
    return columns(rows, frozenset((1, 2)))


def _workers(scene: Scene) -> Iterable[Line]:
    rows = []
    for one in scene.workers:
        state = Span(f"{'●' if one.up else '○'} {one.state}", Tone.GOOD if one.up else Tone.BAD)
        reads = f"reads {', '.join(one.sessions)}" if one.up and one.sessions else ""
        process = [Span(f"pid {one.pid or '-'}"), Span(one.admin_url or "")]
        rows.append([Span(one.name, Tone.BOLD), state, *process, Span(reads)])
    return columns(rows)
