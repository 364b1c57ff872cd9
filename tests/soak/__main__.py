"""The command line of the soak: faults for so many minutes, then the verdict.

Where the verdict is no, all that can be known of the night is kept in the directory that was printed first.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import random
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

from redis.exceptions import RedisError

from bridge.lab.simulator import SimulatedSession
from bridge.verify.report import render_text
from tests.soak.evidence import keep
from tests.soak.faults import FAULTS
from tests.soak.finds import settle_finds
from tests.soak.follower import Follower, Seen
from tests.soak.night import WITHOUT_IDS, Night, opened
from tests.soak.orders import settle_orders
from tests.soak.reloads import settle_reloads
from tests.soak.timeline import Happened, Timeline
from tests.support.contract import breaches
from tests.support.worker import until
from tests.support.worker_rig import keys_of

SETTLE_SECONDS = 120
TELL_SECONDS = 10.0
PAUSE_SECONDS = 3.0
TOLD = ("config.reloaded", "config.refused", "session.retired", "discovery.unanswered", "redis.rolled_back")


async def soak(seconds: float, seed: int, directory: Path, pause_seconds: float = PAUSE_SECONDS) -> bool:
    """Whether every stream was kept and every session flows. ``pause_seconds``: the longest between two faults."""
    timeline = Timeline.begun()
    async with opened(directory, seed) as night:
        follower = Follower(night.rig.client, night.sessions)
        following = asyncio.create_task(follower.run())
        await _trouble(night, follower, seconds, timeline, pause_seconds)
        kept = await _judge(night)
        await asyncio.sleep(1)
        while not following.done():  # Python 3.11 may lose a cancellation in asyncio.wait_for, as redis-py uses it
            following.cancel()
            await asyncio.wait({following}, timeout=1)
        _tell(night, follower, timeline)
        kept = kept and not any(seen.violations for seen in follower.seen.values())
        if not kept:
            await keep(night, timeline, directory)
        return kept


async def _trouble(night: Night, follower: Follower, seconds: float, timeline: Timeline, pause_seconds: float) -> None:
    end, tell = time.monotonic() + seconds, time.monotonic()
    begun = time.monotonic()
    while (now := time.monotonic()) < end:
        if now >= tell:
            events = sum(len(session.record) for session in night.sessions.values())
            read = sum(len(seen.number_of) for seen in follower.seen.values())
            print(f"{now - begun:5.0f} s  {events} sent, {read} read, {len(timeline.faults)} faults", flush=True)
            tell = now + TELL_SECONDS
        fault = night.random.choice(FAULTS)
        print(f"{now - begun:8.2f}  {fault.__name__}", file=sys.stderr, flush=True)
        began, whom = time.time(), "redis did not answer"
        with suppress(RedisError, OSError):
            whom = await fault(night)
        timeline.faults.append(Happened(began, time.time(), fault.__name__, whom))
        await asyncio.sleep(night.random.uniform(min(0.2, pause_seconds), pause_seconds))


async def _judge(night: Night) -> bool:
    """Stop the faults, see every session flow, and ask verify."""
    night.rig.server.resume()
    await settle_finds(night)
    for session in night.sessions.values():
        session.pause()
    await night.rig.client.config_set("maxmemory", 0)
    await night.rig.client.config_set("maxmemory-policy", "noeviction")
    await night.rig.client.config_set("min-replicas-to-write", 0)
    await settle_reloads(night)
    await settle_orders(night)
    flowing = all([await _flows(night, session) for session in night.living])
    report = await night.rig.verify(*night.with_ids, settle=SETTLE_SECONDS)
    print(render_text(report))
    lenient = await _nothing_lost(night)
    promised = await _as_promised(night)
    told_nothing = _nothing_told(night)
    return told_nothing and flowing and lenient and promised and report.ok and not report.pending


async def _flows(night: Night, session: SimulatedSession) -> bool:
    before = await night.rig.seq(session)
    session.generate(1)

    async def beyond() -> bool:
        return await night.rig.seq(session) > before

    try:
        await until(beyond, f"{session.session_id} flows", timeout=SETTLE_SECONDS)
    except AssertionError as error:
        print(error)
        return False
    return True


async def _nothing_lost(night: Night) -> bool:
    """The session without ids: at least once."""
    session = night.sessions[WITHOUT_IDS]
    entries = await night.rig.raw_entries(keys_of(session).events)
    stands = Counter(hashlib.sha256(fields[b"data"]).digest() for _, fields in entries)
    sent = [entry.sha256 for entry in session.record]
    lost = [data for data in sent if not stands[data]]
    twice = sum(stands[data] - 1 for data in set(sent) if stands[data] > 1)
    print(f"{WITHOUT_IDS}, without ids: {len(sent)} sent, {len(lost)} lost, {twice} published again")
    return not lost


async def _as_promised(night: Night) -> bool:
    """Each entry, marker and dead letter against the schemas that consumers are given."""
    count, broken = await breaches(night.rig.client)
    print(f"contract: {count} entries and dead letters, {len(broken)} breaches", *broken[:10], sep="\n     ")
    return not broken


def _nothing_told(night: Night) -> bool:
    """No log shows a key or a password that was ever given."""
    told = [secret for secret in night.secrets.given if any(secret in log for log in _logs(night))]
    print(f"secrets: {len(night.secrets.given)} given, {len(told)} of them in a log")
    return not told


def _logs(night: Night) -> list[str]:
    return [worker.log.read_text(errors="replace") for worker in night.workers]


def _tell(night: Night, follower: Follower, timeline: Timeline) -> None:
    counts = Counter(one.fault for one in timeline.faults)
    print("faults:", ", ".join(f"{name} {count}" for name, count in sorted(counts.items())))
    ended = sum(night.sessions[name].destroyed for name in night.found)
    print(f"found: {len(night.found)} sessions appeared, {ended} of them ended")
    said = Counter({event: sum(log.count(f'"event": "{event}"') for log in _logs(night)) for event in TOLD})
    print("workers said:", ", ".join(f"{event} {count}" for event, count in said.items()))
    print("session  sent  read again  markers  longest silence  numbering")
    for name, seen in follower.seen.items():
        print(f"{name:7}  {len(night.sessions[name].record):5}  {seen.again:5}  {_line(seen)}")
        for violation in seen.violations[:5]:
            print(f"         {violation}")


def _line(seen: Seen) -> str:
    markers = ", ".join(f"{kind} {count}" for kind, count in seen.markers.items()) or "-"
    return f"{markers}  {seen.longest_silence_seconds:.1f} s  {len(seen.violations)} violations"


def main() -> int:
    """Exit code 3 where the guarantee did not hold."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    parser.add_argument("--pause", type=float, default=PAUSE_SECONDS, help="longest pause between two faults, seconds")
    options = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="lens-bridge-soak-"))
    print(f"seed {options.seed}, logs in {directory}", flush=True)
    kept = asyncio.run(soak(options.minutes * 60, options.seed, directory, options.pause))
    print("kept" if kept else "NOT KEPT")
    return 0 if kept else 3


if __name__ == "__main__":
    sys.exit(main())
