"""Shows a scene with rich: redrawn in place on a terminal, as plain lines elsewhere, and as an SVG."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TextIO

from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.live import Live
from rich.measure import Measurement
from rich.table import Table
from rich.terminal_theme import MONOKAI
from rich.text import Text

from bridge.lab.demo.scene import Newest, Scene
from bridge.lab.demo.story import Happening, Tone

__all__ = ["BARS", "Display", "LiveDisplay", "PlainDisplay", "display_for", "draw", "picture", "table"]

BARS = " ▁▂▃▄▅▆▇█"
_BAR_CELLS = 40  # of a row of bars, where the screen is wide enough for it
_LEAST_WIDTH_WITH_BARS = 78  # a narrower screen has room for the numbers alone
_LEAST_STORY = 4  # lines of the story that are shown beside the tables
_PLAIN_WIDTH = 200  # without a terminal; no table is wider
_PROGRESS_SECONDS = 5.0  # between two lines of figures in plain output

# rich's own form fetches a font from another host.
_SVG = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" xml:space="preserve">
<style>
.{unique_id}-matrix {{ font: {char_height}px ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }}
.{unique_id}-title {{ font: bold 18px sans-serif; }}
{styles}
</style>
<defs>{lines}</defs>
{chrome}
<g class="{unique_id}-matrix" transform="translate({terminal_x}, {terminal_y})">{matrix}</g>
</svg>
"""


def draw(scene: Scene, width: int, height: int | None = None) -> Group:
    """The screen. With a ``height`` in lines only as much is shown as fits, of the story its end.

    Each row is one line, however narrow the screen is, so the lines can be counted.
    """
    tables = [_sessions(scene, width), _newest(scene), _workers(scene), *_readers(scene)]
    if height is not None and _lines(tables) + _LEAST_STORY > height:
        tables.pop(1)  # of a small screen the newest entries can be spared most easily
    if height is not None and _lines(tables) + _LEAST_STORY > height:
        return Group(*map(_story_line, scene.happenings[-height:]))
    told = 0 if height is None else max(0, len(scene.happenings) - (height - _lines(tables)))
    parts = [part for one in tables for part in (one, "")]
    return Group(*_title(scene), "", *parts, *map(_story_line, scene.happenings[told:]))


def table(*titles: str, right: Sequence[int] = (), wide: int | None = None) -> Table:
    """A table without rows. ``right``: the columns of numbers. ``wide``: the one that gives way on a small screen."""
    empty = Table(box=None, padding=(0, 0, 0, 2), header_style=Tone.DIM, show_header=any(titles))
    for at, title in enumerate(titles):
        style = Tone.PLAIN if at else Tone.BOLD
        empty.add_column(title, justify="right" if at in right else "left", style=style, no_wrap=at != wide)
    return empty


def picture(*parts: RenderableType, width: int, title: str) -> str:
    """An SVG document that needs nothing from anywhere."""
    console = _console(io.StringIO(), terminal=True, width=width, record=True)
    console.print(Group(*parts, ""))  # a blank line below, since rich defines no clipping for the last one
    return console.export_svg(title=title, theme=MONOKAI, code_format=_SVG, font_aspect_ratio=0.6, unique_id="demo")


class PlainDisplay:
    """Each line of the story once, and the figures now and then."""

    def __init__(self, output: TextIO) -> None:
        self._console = _console(output, terminal=False, width=_PLAIN_WIDTH)
        self._told = 0
        self._next_progress = _PROGRESS_SECONDS

    def show(self, scene: Scene) -> None:
        """Bring the display up to date."""
        self.write(*map(_story_line, scene.happenings[self._told :]))
        self._told = len(scene.happenings)
        if scene.elapsed >= self._next_progress:
            self._next_progress = scene.elapsed + _PROGRESS_SECONDS
            sent, stored = (sum(one.sent for one in scene.sessions), sum(one.stored for one in scene.sessions))
            self.write(f"{scene.elapsed:6.1f} s  … {sent:,} events sent, {stored:,} in Redis")

    def show_last(self, scene: Scene) -> None:
        """The whole of the last scene."""
        self.show(scene)

    def close(self) -> None:
        """Leave the terminal as it was."""

    def write(self, *parts: RenderableType) -> None:
        """Text below the scene, after `close`. No line of it is broken: some are commands to be copied."""
        for part in parts:
            self._console.print(part, soft_wrap=True)


class LiveDisplay:
    """The same on a terminal: the scene is redrawn in place, and the last one stays."""

    def __init__(self, output: TextIO) -> None:
        self._console = _console(output, terminal=True)
        self._live = Live(console=self._console, auto_refresh=False)

    def show(self, scene: Scene) -> None:
        self._live.start()
        self._live.update(draw(scene, *self._console.size), refresh=True)

    def show_last(self, scene: Scene) -> None:
        self._live.update(draw(scene, self._console.width))

    def close(self) -> None:
        self._live.stop()

    def write(self, *parts: RenderableType) -> None:
        for part in parts:
            self._console.print(part, soft_wrap=True)


Display = LiveDisplay | PlainDisplay


def display_for(output: TextIO, environment: Mapping[str, str] = os.environ) -> Display:
    """Live on a terminal; plain lines elsewhere, for TERM=dumb and with NO_COLOR."""
    live = output.isatty() and environment.get("TERM", "dumb") != "dumb" and not environment.get("NO_COLOR")
    return LiveDisplay(output) if live else PlainDisplay(output)


def _console(output: TextIO, *, terminal: bool, width: int | None = None, record: bool = False) -> Console:
    """Text means itself here: what a lens says is no markup, and no emoji by its name."""
    return _Console(
        file=output,
        force_terminal=terminal,
        width=width,
        record=record,
        no_color=False,
        highlight=False,
        markup=False,
        emoji=False,
    )


class _Console(Console):
    def on_broken_pipe(self) -> None:
        raise  # rich would exit here; what becomes of `lens-bridge demo | head` is for the command line to say


@dataclass(frozen=True, slots=True)
class _Bars:
    """What landed from the beginning on: an outage is a gap, and the catching up after it a peak."""

    landings: Sequence[tuple[float, int]]
    span_seconds: float

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(1, min(_BAR_CELLS, options.max_width))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        heights = [0] * options.max_width
        for at, count in self.landings:
            heights[min(len(heights) - 1, int(at / self.span_seconds * len(heights)))] += count
        peak = max(heights) or 1
        yield Text("".join(BARS[-(-height * (len(BARS) - 1) // peak)] for height in heights), Tone.GOOD)


def _sessions(scene: Scene, width: int) -> Table:
    titles = ["SESSION", "SENT", "IN REDIS", "PER S", "DROPS", "READ BY", "LANDING IN REDIS"]
    shown = len(titles) if width >= _LEAST_WIDTH_WITH_BARS else len(titles) - 1
    drawn = table(*titles[:shown], right=(1, 2, 3, 4), wide=6)
    for one in scene.sessions:
        owner = one.owner or Text("nobody", Tone.BAD)
        stored = Text(f"{one.stored:,}", Tone.PLAIN if one.sent - one.stored <= one.rate else Tone.WARN)
        bars = _Bars(one.landings, scene.span_seconds)
        cells = (one.name, f"{one.sent:,}", stored, f"{one.rate:.0f}", f"{one.drops}", owner, bars)
        drawn.add_row(*cells[:shown])
    return drawn


def _newest(scene: Scene) -> Table:
    drawn = table("NEWEST ENTRY", "seq", "id", "type", "data", right=(1, 2), wide=4)
    for one in scene.sessions:
        newest = one.newest or Newest(seq="-", id="-", type="-", said="-")
        drawn.add_row(one.name, newest.seq, newest.id, newest.type, _one_line((newest.said, Tone.DIM)))
    return drawn


def _workers(scene: Scene) -> Table:
    drawn = table(*[""] * 5, wide=4)
    for one in scene.workers:
        state = Text(f"{'●' if one.up else '○'} {one.state}", Tone.GOOD if one.up else Tone.BAD)
        reads = f"reads {', '.join(one.sessions)}" if one.up and one.sessions else ""
        drawn.add_row(one.name, state, f"pid {one.pid or '-'}", one.admin_url or "", _one_line((reads, Tone.PLAIN)))
    return drawn


def _readers(scene: Scene) -> list[Table]:
    if not scene.readers:
        return []
    drawn = table(*[""] * 4, right=(3,))
    for one in scene.readers:
        state = Text(f"{'●' if one.up else '○'} {one.state}", Tone.GOOD if one.up else Tone.BAD)
        drawn.add_row(one.name, state, f"pid {one.pid or '-'}", f"worked on {one.worked:,} events")
    return [drawn]


def _title(scene: Scene) -> tuple[Text, Text]:
    where = f"    {scene.elapsed:.0f} s, seed {scene.seed}"
    way = "  lens API (simulated, drops connections)  →  two workers  →  Redis Streams  →  a service of two"
    return _one_line(("  lens-bridge demo", Tone.BOLD), (where, Tone.DIM)), _one_line((way, Tone.DIM))


def _story_line(happening: Happening) -> Text:
    return _one_line((f"{max(0.0, happening.at):6.1f} s  ", Tone.DIM), (happening.text, happening.tone))


def _one_line(*parts: tuple[str, Tone]) -> Text:
    return Text.assemble(*parts, no_wrap=True, overflow="ellipsis")


def _lines(tables: Sequence[Table]) -> int:
    """How high the screen is above the story: two lines of title, and a blank one below each part."""
    return 3 + sum(one.row_count + one.show_header + 1 for one in tables)
