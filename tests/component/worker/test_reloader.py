"""The configuration read again: what is taken up, what is told, what stays; with real files."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from structlog.testing import capture_logs

from bridge.masking import Secrets
from bridge.settings.loading import Places
from bridge.telemetry.status import WorkerStatus
from bridge.worker.reload import reloader as module
from bridge.worker.reload.changes import Change
from bridge.worker.reload.reloader import Reloader
from tests.support.configuration import AUTHORITY
from tests.support.mounted_volume import MountedVolume
from tests.support.worker import until


class Rig:
    """A reloader at work on a file, and what it told."""

    def __init__(self, file: Path, environment: dict[str, str] | None = None) -> None:
        self.changes: list[Change] = []
        self.status = WorkerStatus(worker_id="w", version="1")
        self.secrets = Secrets()
        environment = {"ATAI_API_KEY": "sk-of-nobody", "BRIDGE_SESSIONS": "lsn-a", **(environment or {})}
        places = Places(config_file=file, environment=environment)
        self.asked = asyncio.Event()
        self.reloader = Reloader(
            places.read(), places, self.changes.append, self.status, self.secrets, asked=self.asked
        )
        self._captured = capture_logs()

    async def __aenter__(self) -> Self:
        self.lines = self._captured.__enter__()
        self._task = asyncio.create_task(self.reloader.run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._captured.__exit__(None, None, None)
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task

    def said(self, event: str) -> list[Any]:
        return [line for line in self.lines if line["event"] == event]

    def told(self, event: str, times: int = 1) -> Callable[[], bool]:
        return lambda: len(self.said(event)) >= times


async def test_a_swapped_link_is_taken_up_without_a_word_from_anybody(tmp_path: Path) -> None:
    """The ConfigMap as Kubernetes mounts it."""
    volume = MountedVolume(tmp_path / "volume", {"bridge.yaml": "log: {level: info}"})
    async with Rig(volume / "bridge.yaml") as rig:
        volume.swap({"bridge.yaml": "log: {level: debug}"})
        await until(rig.told("config.reloaded"), "it is taken up")
    (change,) = rig.changes
    assert change.in_force.settings.log.level == "debug"
    assert rig.said("config.reloaded") == [
        {"event": "config.reloaded", "log_level": "info", "changed": "log.level", "files": "configuration"}
    ]
    assert not rig.said("config.needs_restart")


async def test_a_bad_file_is_refused_in_the_words_of_the_start_and_a_good_one_ends_it(write: Any) -> None:
    """All its mistakes, once; what was in force stays in force."""
    file = write("log: {level: info}")
    async with Rig(file) as rig:
        read_at = rig.status.config_read_at
        write("log: {level: loud}\nlogg: {}")
        await until(rig.told("config.refused", 2), "both mistakes are told")
        assert {line["detail"].split(":")[0] for line in rig.said("config.refused")} == {
            "log.level (BRIDGE_LOG__LEVEL)",
            "logg",
        }
        assert (rig.status.config_in_force, rig.status.config_read_at, rig.changes) == (False, read_at, [])
        assert rig.reloader.in_force.settings.log.level == "info"
        write("log: {level: debug}")
        await until(rig.told("config.reloaded"), "the good one is taken up")
        assert rig.status.config_in_force
        assert rig.status.config_read_at > read_at
        assert len(rig.said("config.refused")) == 2


async def test_what_takes_a_restart_is_named_in_one_line_each_time(write: Any) -> None:
    """And in the status, until it is taken back."""
    file = write("log: {level: info}")
    async with Rig(file) as rig:
        write("redis: {url: redis://other}\nlease: {ttl_seconds: 60}")
        await until(rig.told("config.needs_restart"), "it is told")
        rig.asked.set()
        await until(rig.told("config.needs_restart", 2), "and again when somebody asks")
        assert {line["settings"] for line in rig.said("config.needs_restart")} == {"lease.ttl_seconds, redis.url"}
        assert rig.status.config_held == ("lease.ttl_seconds", "redis.url")
        write("log: {level: info}")
        await until(lambda: rig.status.config_held == (), "it was taken back")


async def test_who_asks_gets_an_answer_though_nothing_has_changed(write: Any) -> None:
    """And a file that was written anew as it was is not worth one."""
    file = write("log: {level: info}")
    async with Rig(file) as rig:
        write("log: {level: info}")
        rig.asked.set()
        await until(rig.told("config.reloaded"), "it answers")
        assert rig.said("config.reloaded")[0]["changed"] == "nothing"


async def test_a_secret_that_is_rotated_is_taken_up_and_hidden(write: Any, tmp_path: Path) -> None:
    """From the secrets directory and from files that settings name, mounted as a Secret is."""
    volume = MountedVolume(tmp_path / "secrets", {"bridge_redis__password": "word-number-one", "ca.crt": AUTHORITY})
    file = write(f"redis: {{url: rediss://h, ca_file: {volume / 'ca.crt'}}}")
    async with Rig(file, {"BRIDGE_SECRETS_DIR": str(volume.directory)}) as rig:
        volume.swap({"bridge_redis__password": "word-number-two", "ca.crt": AUTHORITY})
        await until(rig.told("config.reloaded"), "it is taken up")
        password = rig.changes[-1].in_force.settings.redis.password
        assert password
        assert password.get_secret_value() == "word-number-two"
        assert rig.secrets.contains(b"word-number-two")
        assert rig.said("config.reloaded")[0]["files"] == "secrets directory"
        volume.swap({"bridge_redis__password": "word-number-two", "ca.crt": "no certificate"})
        await until(rig.told("config.refused"), "an authority that is none is told before a connection needs it")
        assert "ca.crt" in rig.said("config.refused")[0]["detail"]


async def test_a_file_that_is_read_at_the_start_alone_is_named_when_it_changes(write: Any, tmp_path: Path) -> None:
    """`source.ca_file`, as its description says."""
    authority = tmp_path / "ca.crt"
    authority.write_text(AUTHORITY)
    file = write(f"source: {{ca_file: {authority}}}")
    async with Rig(file) as rig:
        authority.write_text(AUTHORITY * 2)
        await until(rig.told("config.needs_restart"), "it is told")
        assert rig.status.config_held == ("source.ca_file",)
        authority.write_text(AUTHORITY)
        await until(lambda: rig.status.config_held == (), "it is what it was at the start")


async def test_what_a_bad_file_lacked_may_come_later(write: Any, tmp_path: Path, monkeypatch: Any) -> None:
    """Nothing in force names it, so nobody looks at it; it is tried again all the same, without a word."""
    monkeypatch.setattr(module, "_RETRY_SECONDS", 0.05)
    file = write("log: {level: info}")
    async with Rig(file) as rig:
        write(f"redis: {{url: rediss://h, ca_file: {tmp_path / 'ca.crt'}}}")
        await until(rig.told("config.refused"), "it is told")
        (tmp_path / "ca.crt").write_text(AUTHORITY)
        await until(rig.told("config.reloaded"), "it came")
        assert len(rig.said("config.refused")) == 1
