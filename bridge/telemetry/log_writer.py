"""Lines to a descriptor, from a thread: whoever logs never waits for whoever reads.

Where nobody empties the pipe of a container's standard error (a log driver that is stuck), a write does not return. In
the event loop that would be the end of commits, probes and signals. A full disk or a closed pipe fails at each write.
"""

from __future__ import annotations

import os
import select
import threading
from collections import deque
from collections.abc import Callable

__all__ = ["MAX_BYTES", "LogWriter"]

MAX_BYTES = 4 * 1024 * 1024
"""What may wait: minutes of a busy worker, and little beside the memory that its events take."""

_AT_ONCE_BYTES = 64 * 1024  # the usual size of a pipe
_POLL_MILLISECONDS = 1000


class LogWriter:
    """What does not fit is dropped and counted; ``tell_dropped`` is called with the number when lines flow again.

    The thread starts with the first line and ends with the process.
    """

    def __init__(self, descriptor: int, tell_dropped: Callable[[int], None], max_bytes: int = MAX_BYTES) -> None:
        self.dropped = 0
        self._descriptor = descriptor
        self._tell_dropped = tell_dropped
        self._max_bytes = max_bytes
        self._lines: deque[bytes] = deque()
        self._waiting_bytes = 0  # with those of the write under way
        self._told = 0
        self._telling = False
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def write(self, line: str) -> None:
        """Queue a line (without its end). Never waits, never raises for a fault of the output."""
        encoded = line.encode("utf-8", "backslashreplace") + b"\n"
        with self._changed:
            if self._waiting_bytes + len(encoded) > self._max_bytes:
                self.dropped += 1
                return
            self._lines.append(encoded)
            self._waiting_bytes += len(encoded)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="log", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def flush(self, timeout_seconds: float) -> bool:
        """Wait until all is written or dropped, but no longer than this. Tells whether it is."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._waiting_bytes and not self._telling, timeout_seconds)

    def _run(self) -> None:
        while True:
            lines = self._next()
            written = self._write(b"".join(lines))
            with self._changed:
                self._waiting_bytes -= sum(map(len, lines))
                if not written:
                    self.dropped += len(lines)
                untold = self.dropped - self._told if written and not self._lines else 0
                self._told += untold
                self._telling = bool(untold)
                self._changed.notify_all()
            if untold:
                self._tell_dropped(untold)
                with self._changed:
                    self._telling = False
                    self._changed.notify_all()

    def _next(self) -> list[bytes]:
        with self._changed:
            self._changed.wait_for(lambda: self._lines)
            lines = [self._lines.popleft()]
            size = len(lines[0])
            while self._lines and (size := size + len(self._lines[0])) <= _AT_ONCE_BYTES:
                lines.append(self._lines.popleft())
            return lines

    def _write(self, data: bytes) -> bool:
        while data:
            try:
                data = data[os.write(self._descriptor, data) :]
            except BlockingIOError:  # another program with the same terminal or pipe may have made it so
                poll = select.poll()
                poll.register(self._descriptor, select.POLLOUT)
                poll.poll(_POLL_MILLISECONDS)
            except OSError:
                return False
        return True
