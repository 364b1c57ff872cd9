"""Structured logs on standard error: one JSON object per line, or columns for a terminal.

Everything goes through one chain, the libraries' own records too (from WARNING on), and the finished line is masked:
whatever a value or an exception holds, a secret does not get out.
"""

from __future__ import annotations

import logging
import sys
from typing import Any, Literal, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from bridge.secrets import Secrets

__all__ = ["configure"]

_OWN = "bridge"


def configure(
    level: Literal["debug", "info", "warning", "error"],
    format: Literal["auto", "json", "console"],
    secrets: Secrets,
    output: TextIO | None = None,
) -> None:
    """Send all logs of this process to ``output`` (standard error). Secrets added later are masked too."""
    output = output or sys.stderr
    terminal = output.isatty()
    console = format == "console" or (format == "auto" and terminal)
    stamp = structlog.processors.TimeStamper(fmt="iso", utc=True)
    handler = logging.StreamHandler(output)
    handler.setFormatter(
        _MaskingFormatter(
            secrets,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_render(console, terminal)],
            foreign_pre_chain=[structlog.stdlib.add_log_level, structlog.stdlib.add_logger_name, stamp],
        )
    )
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.getLogger(_OWN).setLevel(level.upper())
    logging.captureWarnings(True)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            stamp,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=_own_logger,
        cache_logger_on_first_use=False,  # loggers are made at import, before the level is known
    )


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
