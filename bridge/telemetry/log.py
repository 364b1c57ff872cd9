"""Structured logs on standard error: one JSON object per line, or columns for a terminal.

Everything goes through one chain, the libraries' own records too (from WARNING on), and the finished line is masked:
whatever a value or an exception holds, a secret does not get out. Logging never waits and never ends the process.
"""

from __future__ import annotations

import atexit
import logging
import os
import sys
from typing import Any, Literal, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from bridge.masking import Secrets
from bridge.telemetry.log_writer import LogWriter

__all__ = ["configure", "flush", "lines_dropped", "set_level"]

log = structlog.get_logger()

_OWN = "bridge"
_FLUSH_SECONDS = 1.0  # at exit: more than a reader needs, and no delay that a stop would notice
_writer: LogWriter | None = None  # logging is global, and so is this


Level = Literal["debug", "info", "warning", "error"]


def configure(
    level: Level,
    format: Literal["auto", "json", "console"],
    secrets: Secrets,
    output: TextIO | None = None,
) -> None:
    """Send all logs of this process to ``output`` (standard error). Secrets added later are masked too.

    Standard streams that were closed when the process started are opened to nowhere: their numbers would else be
    given to the next socket, and whoever writes to standard error would write to that.
    """
    _open_standard_streams()
    output = output or sys.stderr
    terminal = output.isatty()
    console = format == "console" or (format == "auto" and terminal)
    stamp = structlog.processors.TimeStamper(fmt="iso", utc=True)
    handler = _handler(output)
    handler.setFormatter(
        _MaskingFormatter(
            secrets,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_render(console, terminal)],
            foreign_pre_chain=[structlog.stdlib.add_log_level, structlog.stdlib.add_logger_name, stamp],
        )
    )
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.captureWarnings(True)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            stamp,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=_own_logger,
        cache_logger_on_first_use=False,  # loggers are made at import, before the level is known; it may change, too
    )
    set_level(level)


def set_level(level: Level) -> None:
    """Log from this level on, everywhere and at once."""
    logging.getLogger(_OWN).setLevel(level.upper())
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(level))


def lines_dropped() -> int:
    """Log lines that could not be written since the process started, since nobody reads them or a disk is full."""
    return _writer.dropped if _writer else 0


def flush(timeout_seconds: float = _FLUSH_SECONDS) -> None:
    """Wait until all lines are written, but no longer than this."""
    if _writer:
        _writer.flush(timeout_seconds)


atexit.register(flush)


def _handler(output: TextIO) -> logging.Handler:
    global _writer
    flush()  # what an earlier configuration still has to say comes first
    try:
        _writer = LogWriter(output.fileno(), _tell_dropped)
    except OSError:  # it has no descriptor: memory, which never makes anybody wait
        return logging.StreamHandler(output)
    return _WritingHandler(_writer)


def _tell_dropped(lines: int) -> None:
    # An error, so that every level shows it: from here on it is known that the log has a hole.
    log.error("log.dropped", lines=lines, hint="nobody read standard error, or it could not be written")


class _WritingHandler(logging.Handler):
    def __init__(self, writer: LogWriter) -> None:
        super().__init__()
        self._writer = writer

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record)
        except Exception as error:
            # A value whose repr raises must not end whoever logs it. Its own words may hold a secret.
            line = f"a log line from {record.name} could not be made: {type(error).__name__}"
        self._writer.write(line)


def _open_standard_streams() -> None:
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number: this one
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115  for as long as the process lives
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115


class _MaskingFormatter(structlog.stdlib.ProcessorFormatter):
    def __init__(self, secrets: Secrets, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._secrets = secrets

    def format(self, record: logging.LogRecord) -> str:
        return self._secrets.mask(super().format(record))


def _render(console: bool, colors: bool) -> list[Processor]:
    if console:
        plain = structlog.dev.plain_traceback  # a pretty one would show the variables of each frame
        return [structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=plain)]
    return [structlog.processors.format_exc_info, _event_first, structlog.processors.JSONRenderer()]


def _event_first(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    first = {name: event.pop(name) for name in ("timestamp", "level", "event") if name in event}
    return {**first, **event}


def _own_logger(*_: Any) -> logging.Logger:
    return logging.getLogger(_OWN)
