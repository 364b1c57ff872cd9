"""Where the demo is shown: redrawn in place on a terminal, else as plain lines."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TextIO

from bridge.demo.scene import Scene
from bridge.demo.screen import draw, story_line
from bridge.demo.text import Line, plain, styled

__all__ = ["Display", "LiveDisplay", "PlainDisplay", "display_for"]

PROGRESS_SECONDS = 5.0  # between two lines of figures in plain output
_HIDE, _SHOW = "\x1b[?25l\x1b[?7l", "\x1b[?25h\x1b[?7h"  # the cursor, and the wrapping of lines that are too long


class Display(Protocol):
    """Takes the scene a few times a second."""

    def show(self, scene: Scene) -> None:
        """Bring the display up to date."""

    def show_last(self, scene: Scene) -> None:
        """The whole of the last scene."""

    def close(self) -> None:
        """Leave the terminal as it was."""

    def write(self, lines: Sequence[Line]) -> None:
        """Lines below the scene, after `close`."""


def display_for(output: TextIO, environment: Mapping[str, str] = os.environ) -> Display:
    """Live on a terminal; plain lines elsewhere, for TERM=dumb and with NO_COLOR."""
    if output.isatty() and environment.get("TERM", "dumb") != "dumb" and not environment.get("NO_COLOR"):
        return LiveDisplay(output)
    return PlainDisplay(output)


class LiveDisplay:
    """Redraws with ANSI escape sequences. The last scene stays on the screen."""

    def __init__(self, output: TextIO, size: Callable[[], tuple[int, int]] = shutil.get_terminal_size) -> None:
        self._output = output
        self._size = size
        self._drawn = 0  # lines on the screen that are ours

    def show(self, scene: Scene) -> None:
        width, height = self._size()
        self._draw(draw(scene, width, height - 1))

    def show_last(self, scene: Scene) -> None:
        self._draw(draw(scene, self._size()[0]))

    def close(self) -> None:
        self._put(_SHOW)

    def write(self, lines: Sequence[Line]) -> None:
        self._put("".join(f"{styled(line)}\n" for line in lines))

    def _draw(self, lines: Sequence[Line]) -> None:
        back = f"\x1b[{self._drawn}F" if self._drawn else ""
        self._put(_HIDE + back + "".join(f"{styled(line)}\x1b[K\n" for line in lines) + "\x1b[J")
        self._drawn = len(lines)

    def _put(self, text: str) -> None:
        self._output.write(text)
        self._output.flush()


class PlainDisplay:
    """Each line of the story once, and the figures now and then."""

    def __init__(self, output: TextIO) -> None:
        self._output = output
        self._told = 0
        self._next_progress = PROGRESS_SECONDS

    def show(self, scene: Scene) -> None:
        self.write([story_line(one) for one in scene.happenings[self._told :]])
        self._told = len(scene.happenings)
        if scene.elapsed >= self._next_progress:
            self._next_progress = scene.elapsed + PROGRESS_SECONDS
            sent, stored = (sum(one.sent for one in scene.sessions), sum(one.stored for one in scene.sessions))
            print(f"{scene.elapsed:6.1f} s  … {sent:,} events sent, {stored:,} in Redis", file=self._output, flush=True)

    def show_last(self, scene: Scene) -> None:
        self.show(scene)

    def close(self) -> None:
        pass

    def write(self, lines: Sequence[Line]) -> None:
        for line in lines:
            print(plain(line), file=self._output, flush=True)
