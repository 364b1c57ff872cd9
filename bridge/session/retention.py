"""What a commit tells of trimming: how much went unread, or that it could not be known what is unread."""

from __future__ import annotations

import structlog

from bridge.model.outcomes import Committed
from bridge.telemetry.figures import SessionFigures

__all__ = ["RetentionNotes"]

log = structlog.get_logger()


class RetentionNotes:
    """Of one session under one lease: told once, while the metric has all of it."""

    def __init__(self, figures: SessionFigures) -> None:
        self._figures = figures
        self._told = False

    def take(self, landed: Committed) -> None:
        """Note what it has to tell, if anything."""
        if not (landed.unread_trimmed or landed.not_trimmed):
            return
        self._figures.unread_trimmed += landed.unread_trimmed
        if landed.not_trimmed:
            self._figures.fail(
                "stream.keep_unread: nothing is trimmed, since Redis does not tell what is unread - its user needs "
                f"xrange, xpending, xinfo|groups and xtrim: {landed.not_trimmed}"
            )
        told, self._told = self._told, True
        if told:
            return
        if landed.unread_trimmed:
            log.warning("stream.unread_trimmed", entries=landed.unread_trimmed, length=landed.length)
        else:
            log.warning("stream.not_trimmed", error=landed.not_trimmed)
