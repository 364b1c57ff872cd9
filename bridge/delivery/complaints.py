"""What a server says where it refuses: in an error body, or in a frame of type `error` on an open stream. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from bridge.delivery.envelopes import CONTROL_TYPES, type_of
from bridge.model.records import ServerSentEvent

__all__ = ["CLOSE_SECONDS", "ERROR_TYPE", "Complaint", "ErrorFrames", "error_text"]

ERROR_TYPE = "error"

CLOSE_SECONDS = 2.0
"""How soon after an error frame the close must follow for the two to be a refusal. What stands for longer is a stream
whose lens had something to report."""

_MAX_FRAMES = 8
_MAX_FRAME_BYTES = 16 * 1024  # a refusal is short
_MAX_WORDS = 200


def error_text(body: bytes) -> str:
    """What an error says, in one line: all shapes that the API is known to use, else its beginning."""
    try:
        message = _message(json.loads(body))
    except (ValueError, RecursionError):  # the JSON reader may go deeper than we can
        message = ""
    return _one_line(message or body.decode(errors="replace"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Complaint:
    """How a connection that brought nothing but error frames ended.

    ``words``: what the last of them says, empty where it was no refusal. ``repeated``: the connection before said the
    very same. ``late`` are frames that were kept back and are events after all; ``dropped`` is how many were not.
    """

    words: str = ""
    repeated: bool = False
    late: tuple[ServerSentEvent, ...] = ()
    dropped: int = 0


@dataclass(slots=True)
class ErrorFrames:
    """Tells an error event from a refusal in the shape of one, over all connections of a session.

    A refusal is published when it is new: its type is a lens type. Where the next connection brings the same bytes
    without an id, and nothing else, they are kept back until it closes, which makes them the same refusal, or until
    anything shows that they are not. So nothing is lost that was not published before from an equal connection.
    Times are of a monotonic clock, in seconds.
    """

    watching: bool = True
    """Nothing but error frames has come on this connection: pass events through `sift`."""
    _before: list[bytes] = field(default_factory=list)  # of the last connection that brought error frames alone
    _now: list[ServerSentEvent] = field(default_factory=list)
    _held: list[ServerSentEvent] = field(default_factory=list)
    _last_at: float = 0.0

    def opened(self) -> None:
        """A connection stands."""
        self.watching = True
        self._now.clear()

    def sift(self, events: Sequence[ServerSentEvent], now: float) -> Sequence[ServerSentEvent]:
        """What to take in now of the events of a chunk, in their order."""
        taken = self.release() if self._held and now - self._last_at >= CLOSE_SECONDS else []
        for event in events:
            if not self.watching:
                taken.append(event)
                continue
            kind = None if event.oversize_bytes else type_of(event.raw)
            if kind in CONTROL_TYPES:
                taken.append(event)
            elif kind == ERROR_TYPE and len(event.raw) <= _MAX_FRAME_BYTES and len(self._now) < _MAX_FRAMES:
                self._now.append(event)
                self._last_at = now
                if self._is_repeated(event):
                    self._held.append(event)
                else:
                    taken += [*self.release(), event]
            else:
                self.watching = False
                self._before = []
                taken += [*self.release(), event]
        return taken

    def release(self) -> list[ServerSentEvent]:
        """What was kept back, to be taken in: it can't be told any more what it was."""
        held, self._held = self._held, []
        return held

    def closed(self, now: float) -> Complaint | None:
        """The connection has ended by itself; None where it brought more than error frames, or nothing."""
        if not self.watching or not self._now:
            return None
        held, frames = tuple(self.release()), [event.raw for event in self._now]
        repeated, self._before = frames == self._before, frames
        if now - self._last_at >= CLOSE_SECONDS:
            return Complaint(late=held)
        if not repeated:
            return Complaint(words=error_text(frames[-1]), late=held)
        return Complaint(words=error_text(frames[-1]), repeated=True, dropped=len(held))

    def _is_repeated(self, event: ServerSentEvent) -> bool:
        at = len(self._now)
        same = not event.id and self._before[at - 1 : at] == [event.raw]
        return same and len(self._held) == at - 1  # with all before it, or it would come out of order


def _message(parsed: Any) -> str:
    match parsed:
        case {"errors": [first, *_]}:
            return _message(first) or str(first)
        case {"detail": str(text)} | {"message": str(text)}:
            suggestion = parsed.get("suggestion")
            return f"{text} ({suggestion})" if isinstance(suggestion, str) and suggestion else text
        case {"error": inner}:
            return _message(inner)
        case str(text):
            return text
    return ""


def _one_line(text: str) -> str:
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= _MAX_WORDS else line[:_MAX_WORDS] + "…"
