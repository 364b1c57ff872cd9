"""Reads the configuration again when it is asked to, or when a file that it comes from has changed."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import structlog

from bridge.errors import ConfigurationError
from bridge.masking import Secrets
from bridge.settings.loading import Configuration, Places, hide_secrets
from bridge.settings.reference import SETTINGS
from bridge.telemetry.status import WorkerStatus
from bridge.worker.reload.changes import LIVE, Change, weigh
from bridge.worker.reload.files import Contents, Look, contents, look

__all__ = ["Reloader"]

log = structlog.get_logger()

_LOOK_EVERY_SECONDS = 1.0
_RETRY_SECONDS = 10.0  # after a bad one: what it lacks may be a file that nothing in force names
_CONFIGURATION = "configuration"  # as `WorkerStatus.config_faults` calls it
_HINT = "what was in force stays in force; mend it, and it is read again by itself"


class Reloader:
    """Runs until cancelled; ``asked`` makes it read at once, whenever it is set.

    ``apply`` is called with each change that is good, in the event loop, where it must not wait. A bad one changes
    nothing, and is told in the words of the start. Watched are the files of ``places`` and those that settings name.
    """

    def __init__(
        self,
        configuration: Configuration,
        places: Places,
        apply: Callable[[Change], None],
        status: WorkerStatus,
        secrets: Secrets,
        *,
        asked: asyncio.Event,
    ) -> None:
        self.in_force = configuration
        self._asked = asked
        self._places = places
        self._apply = apply
        self._status = status
        self._secrets = secrets
        self._files = places.files | _named_files(configuration)
        self._first = contents(self._files)  # of those that are read at the start alone
        self._known: Contents = self._first
        self._seen: Look = look(self._files)
        self._retry_at = math.inf  # monotonic seconds

    async def run(self) -> None:
        """Look at the files every second. One that is being written is left alone until it rests."""
        settled = self._seen
        while True:
            asked = await self._was_asked()
            now = look(self._files)  # before they are read: what changes meanwhile is seen the next time
            retry = time.monotonic() >= self._retry_at
            if asked or retry or (now == self._seen and now != settled):
                try:
                    await self._reload(asked, retry)
                except Exception:  # a fault of ours must not end the watch unseen
                    log.exception("config.reload_crashed")
                    self._status.config_read(_CONFIGURATION, "internal error; see the log")
                settled = now
            self._seen = now

    async def _was_asked(self) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(_LOOK_EVERY_SECONDS):
                await self._asked.wait()
        asked = self._asked.is_set()
        self._asked.clear()
        return asked

    async def _reload(self, asked: bool, retry: bool) -> None:
        # In a thread: ten thousand sessions take a second to read, in which leases have to be renewed.
        found = await asyncio.to_thread(contents, self._files)
        files = sorted(name for name in self._files if found.get(name) != self._known.get(name))
        if not (files or asked or retry):
            return  # written anew as it was, or a link that leads to the same
        self._known, self._retry_at = found, math.inf
        try:
            read = await asyncio.to_thread(self._places.read_again)
            hide_secrets(read.settings, self._secrets)
            change = await asyncio.to_thread(weigh, self.in_force, read)
        except ConfigurationError as error:
            self._refuse(str(error), told=retry)
            return
        self._tell_warnings(read)
        self.in_force = change.in_force
        self._apply(change)
        self._tell(change, files)
        self._status.config_read(_CONFIGURATION)
        self._watch(read)

    def _refuse(self, problems: str, *, told: bool) -> None:
        if not (told and self._status.config_faults.get(_CONFIGURATION) == problems):
            for problem in problems.splitlines():
                log.error("config.refused", detail=problem, hint=_HINT)
        self._status.config_read(_CONFIGURATION, problems)
        self._retry_at = time.monotonic() + _RETRY_SECONDS

    def _tell(self, change: Change, files: list[str]) -> None:
        stale = {name for name in SETTINGS.keys() - LIVE if self._known.get(name) != self._first.get(name)}
        self._status.config_held = tuple(sorted({*change.held, *stale}))
        log.info("config.reloaded", changed=", ".join(change.taken) or "nothing", files=", ".join(files) or "none")
        if self._status.config_held:
            log.warning("config.needs_restart", settings=", ".join(self._status.config_held))

    def _tell_warnings(self, read: Configuration) -> None:
        for warning in read.warnings:
            if warning not in self.in_force.warnings:
                log.warning("config.warned", detail=warning)

    def _watch(self, read: Configuration) -> None:
        """Also the files that are named from now on."""
        files = self._places.files | _named_files(read)
        added = {name: file for name, file in files.items() if self._files.get(name) != file}
        self._files = files
        if added:
            found = contents(added)
            self._known = {**self._known, **found}


def _named_files(configuration: Configuration) -> dict[str, Path]:
    """The files that settings name, by the setting's path."""
    found = {}
    for path in SETTINGS:
        section, _, name = path.partition(".")
        value = getattr(getattr(configuration.settings, section), name) if name else None
        if isinstance(value, Path):
            found[path] = value
    return found
