"""Asking Redis until it answers: what passes is waited out, what a person must mend is told. Pure.

One of these stands for one member of one group in one stream.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

import redis.exceptions

from bridge.backoff import Backoff
from bridge.consumer.core.calls import Call, Pause, Program, Word, script
from bridge.consumer.core.faults import GroupMissingError, Meaning, meaning, told
from bridge.consumer.core.limits import Limits

__all__ = ["Asking"]

log = logging.getLogger("bridge.consumer")

_FIRST_WAIT_SECONDS = 0.05


class Asking:
    """``where`` is for errors: the address without its secrets. ``random`` gives numbers in [0, 1)."""

    def __init__(self, stream: str, where: str, limits: Limits, random: Callable[[], float]) -> None:
        self.stream = stream
        self.limits = limits
        self.random = random
        self.stop_at: float | None = None  # monotonic: from here on nothing is waited for any more
        self.faults = 0
        self._where = where

    def ask(self, *words: Word, patient: bool = True) -> Program[Any]:
        """A command's reply. Raises GroupMissingError, ConsumerError; where not ``patient``, also what passes.

        Every command that is sent this way may be sent again though it was carried out before.
        """
        backoff = Backoff(initial_seconds=_FIRST_WAIT_SECONDS, max_seconds=self.limits.backoff_max_seconds)
        while True:
            try:
                return (yield Call(words))
            except Exception as error:
                match meaning(error):
                    case Meaning.NO_GROUP:
                        raise GroupMissingError(str(error)) from error
                    case Meaning.NO_SCRIPT:
                        raise
                    case Meaning.FATAL:
                        raise told(error, self.stream, self._where) from error
                    case Meaning.PASSES:
                        self.faults += 1
                        if not patient or self._out_of_time():
                            raise
                        if backoff.attempt == 0:
                            log.warning("redis.away stream=%s error=%s: %s", self.stream, type(error).__name__, error)
            yield Pause(backoff.delay(self.random), through_stop=True)
            backoff = backoff.next()

    def run(self, name: str, *arguments: Word, keys: tuple[str, ...] = (), patient: bool = True) -> Program[Any]:
        """A script's reply; ``keys`` are those behind the stream. Raises as `ask` does."""
        found, given = script(name), (self.stream, *keys)
        try:
            return (yield from self.ask("EVALSHA", found.sha, len(given), *given, *arguments, patient=patient))
        except redis.exceptions.NoScriptError:
            pass
        return (yield from self.ask("EVAL", found.source, len(given), *given, *arguments, patient=patient))

    def _out_of_time(self) -> bool:
        return self.stop_at is not None and time.monotonic() >= self.stop_at
