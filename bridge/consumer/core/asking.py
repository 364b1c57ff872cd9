"""Asking Redis until it answers: what passes is waited out, what a person must mend is told. Pure.

One of these stands for one member of one group in one stream.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from enum import Enum, auto
from typing import Any

import redis.exceptions

from bridge.backoff import Backoff
from bridge.consumer.core.calls import Call, Pause, Program, Word, script
from bridge.consumer.core.faults import GroupMissingError, Meaning, meaning, told
from bridge.consumer.core.limits import Limits

__all__ = ["Asking", "Patience"]

log = logging.getLogger("bridge.consumer")

_FIRST_WAIT_SECONDS = 0.05


class Patience(Enum):
    """For how long Redis may be away before the caller is told."""

    NONE = auto()
    TO_THE_STOP = auto()  # nothing would come of it after a stop
    TO_THE_END = auto()  # after a stop for `Limits.stop_seconds` more: it is about what was done already


class Asking:
    """``where`` is for errors: the address without its secrets. ``random`` gives numbers in [0, 1)."""

    def __init__(self, stream: str, where: str, limits: Limits, random: Callable[[], float]) -> None:
        self.stream = stream
        self.limits = limits
        self.random = random
        self.stop_at: float | None = None  # monotonic: from here on nothing is waited for any more
        self.faults = 0
        self.where = where

    @property
    def stopping(self) -> bool:
        """Nothing more is to be fetched."""
        return self.stop_at is not None

    def stop(self) -> None:
        """Safe in a signal handler."""
        self.stop_at = time.monotonic() + self.limits.stop_seconds

    def ask(self, *words: Word, patience: Patience = Patience.TO_THE_END) -> Program[Any]:
        """A command's reply. Raises GroupMissingError, ConsumerError, and what passes where patience ends.

        Every command that is sent this way may be sent again though it was carried out before.
        """
        backoff = Backoff(initial_seconds=_FIRST_WAIT_SECONDS, max_seconds=self.limits.backoff_max_seconds)
        away_at = 0.0
        while True:
            try:
                reply = yield Call(words)
                if backoff.attempt:
                    log.warning("redis.back stream=%s after=%.1fs", self.stream, time.monotonic() - away_at)
                return reply
            except Exception as error:
                match meaning(error):
                    case Meaning.NO_GROUP:
                        raise GroupMissingError(str(error)) from error
                    case Meaning.NO_SCRIPT:
                        raise
                    case Meaning.FATAL:
                        raise told(error, self.stream, self.where) from error
                    case Meaning.PASSES:
                        self.faults += 1
                        if self._is_over(patience):
                            raise
                        if backoff.attempt == 0:
                            away_at = time.monotonic()
                            log.warning("redis.away stream=%s error=%s: %s", self.stream, type(error).__name__, error)
            yield Pause(backoff.delay(self.random), through_stop=patience is Patience.TO_THE_END)
            backoff = backoff.next()

    def run(
        self, name: str, *arguments: Word, keys: tuple[str, ...] = (), patience: Patience = Patience.TO_THE_END
    ) -> Program[Any]:
        """A script's reply; ``keys`` are those behind the stream. Raises as `ask` does."""
        found, given = script(name), (self.stream, *keys)
        try:
            return (yield from self.ask("EVALSHA", found.sha, len(given), *given, *arguments, patience=patience))
        except redis.exceptions.NoScriptError:
            pass
        return (yield from self.ask("EVAL", found.source, len(given), *given, *arguments, patience=patience))

    def _is_over(self, patience: Patience) -> bool:
        match patience:
            case Patience.NONE:
                return True
            case Patience.TO_THE_STOP:
                return self.stopping
            case Patience.TO_THE_END:
                return self.stop_at is not None and time.monotonic() >= self.stop_at
