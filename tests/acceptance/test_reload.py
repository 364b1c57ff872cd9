"""A configuration that changes under a running worker: by a swapped link, SIGHUP, a rotated secret, by mistake."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import yaml

from bridge.lab.simulator import Endpoint, Profile, Refusal, SimulatedSession
from tests.support.mounted_volume import MountedVolume
from tests.support.steering import steer
from tests.support.worker import DEADLINE_SECONDS, Condition, Worker, until
from tests.support.worker_rig import Rig, keys_of

MOUNTED = "bridge.yaml"


def text_of(sessions: Sequence[SimulatedSession], **settings: object) -> dict[str, str]:
    """A ConfigMap with these sessions."""
    return {MOUNTED: yaml.safe_dump({"sessions": [one.session_id for one in sessions], **settings})}


def configured(rig: Rig, file: Path, **settings: object) -> Worker:
    """A worker whose sessions stand in a file."""
    return rig.worker(arguments=("--config", str(file)), sessions=None, **settings)


async def test_sessions_come_and_go_with_a_swapped_config_map_and_no_other_one_is_touched(rig: Rig) -> None:
    """Two workers share ten; four go, four come, under load. The six that stay keep the connections that they had."""
    sessions = [rig.simulator.create_session(f"lsn-map-{n}") for n in range(14)]
    for session in sessions:
        session.play(Profile.SIZED, rate=50)
    volume = MountedVolume(rig.directory / "volume", text_of(sessions[:10]))
    workers = [await configured(rig, volume / MOUNTED).start() for _ in range(2)]
    await until(_all_read(sessions[:10]), "ten are read")
    await until(_shared_evenly(workers, 10), "five each")
    staying, going, coming = sessions[4:10], sessions[:4], sessions[10:]
    before = {one.session_id: len(one.connections) for one in staying}
    volume.swap(text_of([*staying, *coming]))
    await until(_all_read(coming), "those that are new are read")
    await until(lambda: not any(one.readers for one in going), "those that have gone are not")
    for worker in workers:
        (told,) = worker.said("config.reloaded")
        assert (told["changed"], told["files"]) == ("sessions", "configuration")
        assert {line["session"] for line in worker.said("session.removed")} == {one.session_id for one in going}
        assert not worker.said("config.needs_restart")
    await until(_shared_evenly(workers, 10), "five each")
    moved = {line["session"] for worker in workers for line in worker.said("lease.handed_over")}
    for one in staying:
        if one.session_id not in moved:  # one that changed hands to even the shares out connects anew
            assert len(one.connections) == before[one.session_id], one.session_id
    for session in sessions:
        session.pause()
    await rig.assert_kept(*staying, *coming)
    for one in going:  # what was read of them was committed, and their leases were given back
        assert await rig.owner(one) is None
    volume.swap(text_of(sessions))
    await until(_all_read(going), "those that had gone are read again")
    await rig.assert_kept(*sessions)


async def test_one_worker_alone_keeps_every_other_connection_through_twenty_reloads(rig: Rig) -> None:
    """Each brings one session and takes one away; the connections of the others are counted at the server."""
    staying = [rig.simulator.create_session(f"lsn-staying-{n}") for n in range(5)]
    passing = [rig.simulator.create_session(f"lsn-passing-{n}") for n in range(20)]
    for session in staying:
        session.play(Profile.SIZED, rate=50)
    file = rig.directory / MOUNTED
    file.write_text(text_of(staying)[MOUNTED])
    worker = await configured(rig, file).start()
    await until(_all_read(staying), "all are read")
    for one in passing:
        file.write_text(text_of([*staying, one])[MOUNTED])
        worker.reload()
        await one.wait_connected(timeout=DEADLINE_SECONDS)
    for session in staying:
        session.pause()
    await rig.assert_kept(*staying)
    assert [len(one.connections) for one in staying] == [1] * 5
    assert [len(one.connections) for one in passing] == [1] * 20
    assert await worker.metric("lease_held") == 6
    assert await worker.metric("fenced_total") == 0


async def test_a_bad_file_is_refused_in_the_words_of_the_start_and_the_old_configuration_stays(rig: Rig) -> None:
    """Metric, status and log tell it, until it was mended."""
    session, other = (rig.simulator.create_session(f"lsn-{name}") for name in ("kept", "later"))
    volume = MountedVolume(rig.directory / "volume", text_of([session]))
    worker = await configured(rig, volume / MOUNTED).start()
    await session.wait_connected(timeout=DEADLINE_SECONDS)
    read_at = await worker.metric("config_last_reload_success_timestamp_seconds")
    bad = text_of([session, other], log={"level": "loud"}, lease={"ttl": 5})
    volume.swap(bad)
    await until(lambda: len(worker.said("config.refused")) == 2, "it is refused")
    assert await worker.metric("config_last_reload_successful") == 0
    assert await worker.metric("config_last_reload_success_timestamp_seconds") == read_at
    told = [line["detail"] for line in worker.said("config.refused")]
    errors = json.loads((await worker.get("/status"))[1])["config"]["errors"]
    assert errors == ["\n".join(told)]
    assert told == await _words_at_a_start(rig, bad)
    session.generate(20)
    await rig.assert_kept(session)
    assert not other.connections
    volume.swap(text_of([session, other]))
    await other.wait_connected(timeout=DEADLINE_SECONDS)
    await until(worker.counts("config_last_reload_successful", 1), "the alert ends")
    assert await worker.metric("config_last_reload_success_timestamp_seconds") > read_at
    assert len(session.connections) == 1


async def test_a_file_that_is_emptied_takes_no_session_away(rig: Rig) -> None:
    """A disk that was full, or somebody who is still writing."""
    session = rig.simulator.create_session("lsn-emptied")
    file = rig.directory / MOUNTED
    file.write_text(text_of([session])[MOUNTED])
    worker = await configured(rig, file).start()
    await session.wait_connected(timeout=DEADLINE_SECONDS)
    file.write_text("")
    await until(_said(worker, "config.refused"), "it is refused")
    told = f"{file}: is empty; to read no session any more write `sessions: []`"
    assert worker.said("config.refused")[0]["detail"] == told
    file.unlink()
    await until(lambda: len(worker.said("config.refused")) == 2, "as is none at all")
    assert "cannot be read: No such file" in worker.said("config.refused")[1]["detail"]
    assert len(session.readers) == 1
    file.write_text("sessions: []\n")
    await until(lambda: not session.readers, "an empty list is one")


async def test_sighup_takes_up_what_can_change_and_names_what_takes_a_restart(rig: Rig) -> None:
    """The level of the log and the detail of the metrics follow; the address of Redis does not, and nothing breaks."""
    session = rig.simulator.create_session("lsn-live")
    file = rig.directory / MOUNTED
    file.write_text(text_of([session])[MOUNTED])
    worker = await configured(rig, file).start()
    await session.wait_connected(timeout=DEADLINE_SECONDS)
    assert "heartbeats_total{stream=" in (await worker.get("/metrics"))[1]
    new = {
        "log": {"level": "warning"},
        "metrics": {"detail": "reduced"},
        "stream": {"markers": False},
        "dedupe": {"window_events": 9},
    }
    file.write_text(text_of([session], **new)[MOUNTED])
    worker.reload()
    await until(_said(worker, "config.needs_restart"), "it tells what takes a restart")
    assert worker.said("config.needs_restart")[0]["settings"] == "dedupe.window_events, stream.markers"
    assert await worker.metric("config_settings_awaiting_restart") == 2
    assert 'heartbeats_total{stream="*"}' in (await worker.get("/metrics"))[1]
    assert not worker.said("config.reloaded"), "the log tells warnings alone by now"
    session.generate(5)
    await rig.assert_kept(session)
    assert len(session.connections) == 1
    worker.terminate()
    assert await worker.exit_code() == 0
    assert not worker.said("worker.stopped")


async def test_what_is_published_follows_the_file_and_no_connection_ends(rig: Rig) -> None:
    """`events.strict_json` and the filters, for the session that is being read; the dead letter tells what and where,
    and may be published after all."""
    session = rig.simulator.create_session("lsn-strict")
    file = rig.directory / MOUNTED
    file.write_text(text_of([session])[MOUNTED])
    worker = await configured(rig, file).start()
    nan = b'{"type": "t", "n": %d, "x": NaN}'
    session.emit(nan % 1)
    await rig.reaches(session, 1)
    file.write_text(text_of([session], events={"strict_json": True, "exclude": "noise"})[MOUNTED])
    worker.reload()
    await until(_said(worker, "config.reloaded"), "it is taken up")
    assert worker.said("config.reloaded")[0]["changed"] == "events.exclude, events.strict_json"
    ids = [session.emit(nan % 2), session.emit({"type": "noise"}), session.emit({"type": "t", "n": 3})]
    await rig.reaches(session, 2)
    assert [one["data"] for one in await rig.entries(session)] == [(nan % 1).decode(), '{"type": "t", "n": 3}']
    ((entry, letter),) = await rig.raw_entries(keys_of(session).dead_letter)
    assert (letter[b"id"].decode(), letter[b"reason"], letter[b"data"]) == (ids[0], b"invalid_json", nan % 2)
    assert letter[b"detail"] == b"NaN at byte 27 is no JSON (RFC 8259)"
    assert (await rig.verify(session, recorded=False)).ok
    told = await steer(rig, "dead-letters", "replay", entry.decode(), "--sessions", session.session_id, code=0)
    assert "1 published" in told.output
    assert (await rig.entries(session))[-1]["data"] == (nan % 2).decode()
    assert (await rig.verify(session, recorded=False)).ok
    assert len(session.connections) == 1


async def test_a_key_that_is_rotated_in_the_secrets_directory_serves_the_next_connection(rig: Rig) -> None:
    """Mounted as a Secret is; the old key is refused from then on, and no log tells either of them."""
    keys = ["the-first-of-two-keys", "the-second-of-two-keys"]
    rig.simulator.api_keys[:] = keys[:1]
    session = rig.simulator.create_session("lsn-rotated")
    volume = MountedVolume(rig.directory / "secrets", {"atai_api_key": keys[0]})
    worker = rig.worker(session, source__api_key=None, log__level="debug")
    worker.give({"BRIDGE_SECRETS_DIR": str(volume.directory)})
    await worker.start()
    await session.wait_connected(timeout=DEADLINE_SECONDS)
    volume.swap({"atai_api_key": keys[1]})
    await until(_said(worker, "config.reloaded"), "it is taken up")
    assert worker.said("config.reloaded")[0]["changed"] == "source.api_key"
    rig.simulator.api_keys[:] = keys[1:]
    session.drop()
    await until(lambda: len(session.connections) == 2 and bool(session.readers), "connected with the other one")
    session.generate(5)
    await rig.assert_kept(session)
    assert await worker.metric("source_connects_total", outcome="unauthorized") == 0
    assert not any(key in worker.log.read_text() for key in keys)


async def test_a_password_of_redis_that_is_rotated_serves_the_next_connection(own_rig: Rig) -> None:
    """From the secrets directory; Redis has hung up by then, and the source has not."""
    words = ["first-word-of-two", "second-word-of-two"]
    session = own_rig.simulator.create_session("lsn-password", profile=Profile.SIZED, rate=50)
    await own_rig.client.config_set("requirepass", words[0])
    volume = MountedVolume(own_rig.directory / "secrets", {"bridge_redis__password": words[0]})
    worker = own_rig.worker(session)
    worker.give({"BRIDGE_SECRETS_DIR": str(volume.directory)})
    await worker.start()
    await own_rig.reaches(session, 10)
    volume.swap({"bridge_redis__password": words[1]})
    await until(_said(worker, "config.reloaded"), "it is taken up")
    assert worker.said("config.reloaded")[0]["changed"] == "redis.password"
    await own_rig.client.config_set("requirepass", words[1])
    await own_rig.client.client_kill_filter(_type="normal", skipme=True)
    await own_rig.reaches(session, await own_rig.seq(session) + 20)
    await own_rig.client.config_set("requirepass", "")
    session.pause()
    await own_rig.assert_kept(session)
    assert len(session.connections) == 1
    assert not any(word in worker.log.read_text() for word in words)


async def test_a_key_file_that_a_rotation_left_empty_is_told_before_a_connection_needs_it(rig: Rig) -> None:
    """The alert has its time while the old connection still stands."""
    session = rig.simulator.create_session("lsn-key-file")
    volume = MountedVolume(rig.directory / "secrets", {"api-key": "simulated-key"})
    worker = await rig.worker(session, source__api_key=None, source__api_key_file=volume / "api-key").start()
    await session.wait_connected(timeout=DEADLINE_SECONDS)
    volume.swap({"api-key": "\n"})

    async def told() -> bool:
        return await worker.metric("config_last_reload_successful") == 0

    await until(told, "it is told")
    assert len(session.connections) == 1
    volume.swap({"api-key": "simulated-key"})
    await until(worker.counts("config_last_reload_successful", 1), "it is mended")


async def _words_at_a_start(rig: Rig, files: Mapping[str, str]) -> list[str]:
    file = rig.directory / "as-at-a-start.yaml"
    file.write_text(files[MOUNTED])
    worker = await configured(rig, file).start()
    assert await worker.exit_code() == 2
    return [line.removeprefix("lens-bridge: ") for line in worker.log.read_text().splitlines()]


def _all_read(sessions: Sequence[SimulatedSession]) -> Condition:
    return lambda: all(session.readers for session in sessions)


def _said(worker: Worker, event: str) -> Condition:
    return lambda: bool(worker.said(event))


def _shared_evenly(workers: Sequence[Worker], sessions: int) -> Condition:
    async def shared() -> bool:
        held = await asyncio.gather(*(worker.metric("lease_held") for worker in workers))
        return set(held) == {sessions / len(workers)}

    return shared


@pytest.mark.timeout(900)
async def test_random_reloads_and_finds_among_workers_that_die_lose_nothing_and_repeat_nothing(
    rig: Rig, fault_random: random.Random, fault_seed: int
) -> None:
    """Forty steps of sessions that are listed, left out, found and listed again, of bad files, rate limits, SIGHUP,
    SIGKILL and SIGSTOP; at the end all are wanted, and all that was sent stands in order."""
    print(f"fault seed {fault_seed}")
    stage = _Stage(rig, fault_random)
    for _ in range(3):
        await stage.list_one_more()
    await stage.start()
    for _ in range(40):
        step = fault_random.choice(stage.steps)
        print(f"step {step.__name__}")
        await step()
        await stage.go_on()
    await stage.calm()
    print(f"{len(stage.sessions)} sessions, {sum(len(one.record) for one in stage.sessions)} events")
    report = await rig.assert_kept(*stage.sessions)
    assert sum(one.events for one in report.sessions) == sum(len(one.record) for one in stage.sessions)


async def _begun(worker: Worker) -> None:
    """It has read its configuration, and hears SIGHUP."""
    await until(lambda: bool(worker.said("worker.started")), "it has started")


class _Stage:
    """Three workers on one ConfigMap, which find what is of the lens `lns-found` besides."""

    def __init__(self, rig: Rig, random: random.Random) -> None:
        self.rig = rig
        self.random = random
        self.sessions: list[SimulatedSession] = []
        self.listed: list[SimulatedSession] = []
        self.volume = MountedVolume(rig.directory / "volume", self._text())
        self.workers = [configured(rig, self.volume / MOUNTED) for _ in range(3)]
        self.steps = [
            self.list_one_more, self.list_one_more, self.find_one_more, self.leave_one_out, self.list_again,
            self.write_nonsense, self.limit_the_rate, self.hang_up, self.kill, self.freeze,
        ]  # fmt: skip

    async def start(self) -> None:
        await asyncio.gather(*(worker.start() for worker in self.workers))
        for worker in self.workers:  # also who reads nothing yet: one that begins with nonsense ends at once
            await _begun(worker)
        await until(_all_read(self.listed), "the first are read")

    async def list_one_more(self) -> None:
        self.listed.append(self._created("lns-listed"))
        self.volume.swap(self._text())

    async def find_one_more(self) -> None:
        self._created("lns-found")

    async def leave_one_out(self) -> None:
        if len(self.listed) > 1:
            self.listed.remove(self.random.choice(self.listed))
        self.volume.swap(self._text())

    async def list_again(self) -> None:
        self.listed = [one for one in self.sessions if one.lens_id == "lns-listed"]
        self.volume.swap(self._text())

    async def write_nonsense(self) -> None:
        """Until somebody refuses it. It may have come in the place of a list that nobody has read yet."""
        before = self._refusals()
        self.volume.swap({MOUNTED: self.random.choice(["", "sessions: [", "sessions: [a/b]", "log: {level: 5}"])})
        await until(lambda: self._refusals() > before, "it is refused")
        self.volume.swap(self._text())

    def _refusals(self) -> int:
        return sum(len(worker.said("config.refused")) for worker in self.workers)

    async def limit_the_rate(self) -> None:
        self.rig.simulator.refuse(Refusal(endpoint=Endpoint.METADATA, status=429, requests=4, retry_after=1))

    async def hang_up(self) -> None:
        self.random.choice(self.workers).reload()

    async def kill(self) -> None:
        worker = self.random.choice(self.workers)
        await worker.kill()
        self.volume.swap(self._text())  # with nonsense it would not start
        await worker.start()
        await _begun(worker)

    async def freeze(self) -> None:
        worker = self.random.choice(self.workers)
        worker.pause()
        await asyncio.sleep(self.random.uniform(0.5, 4))  # about the time to live of a lease
        worker.resume()

    async def go_on(self) -> None:
        """One of those that are wanted gets on."""
        session = self.random.choice(self.listed)
        await self.rig.reaches(session, await self.rig.seq(session) + 3)

    async def calm(self) -> None:
        self.rig.simulator.clear_faults()
        await self.list_again()
        await until(_all_read(self.sessions), "all are read", timeout=2 * DEADLINE_SECONDS)
        for session in self.sessions:
            session.pause()

    def _created(self, lens_id: str) -> SimulatedSession:
        made = self.rig.simulator.create_session(
            f"lsn-{len(self.sessions)}", lens_id=lens_id, profile=Profile.SIZED, rate=20
        )
        self.sessions.append(made)
        return made

    def _text(self) -> dict[str, str]:
        discovery = {"enabled": True, "interval_seconds": 1, "lens_ids": ["lns-found"]}
        return text_of(self.listed, discovery=discovery, retention={"ended_seconds": 1})
