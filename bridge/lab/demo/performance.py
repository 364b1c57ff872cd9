"""`lens-bridge demo`: the whole bridge on this machine, with real processes that are killed while events flow.

A real Redis, a simulated lens API that drops connections, two real workers, and a service of two that reads. Nothing is
needed beforehand, nothing leaves this machine, nothing is left behind.
"""

from __future__ import annotations

import asyncio
import json
import random
import shlex
import shutil
import signal
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from redis.asyncio import Redis

from bridge.lab.demo.faults import disturb
from bridge.lab.demo.invitation import GROUP, invitation
from bridge.lab.demo.lenses import LENSES, TEMPLATE, open_lenses, play
from bridge.lab.demo.report import Judgement, judge, judgement_json, judgement_text
from bridge.lab.demo.scene import Scene
from bridge.lab.demo.screen import Display, display_for, draw, picture
from bridge.lab.demo.story import DemoError, Story
from bridge.lab.demo.watch import Watch
from bridge.lab.demo.workers import DemoReader, DemoWorker, guard, running
from bridge.lab.redis_server import RedisServer
from bridge.lab.service import prepare
from bridge.lab.simulator import SimulatedSession, Simulator
from bridge.masking import Secrets
from bridge.model.keys import session_keys
from bridge.telemetry import log

__all__ = ["DemoOptions", "run_demo"]

API_KEY = "simulated-key"
SETTLE_SECONDS = 30.0
LATE_SECONDS = 1.0  # events go on after the last fault, to be seen flowing
PICTURE_COLUMNS = 110
KEPT_PACE = 0.1  # of the rates while the demo is left running: that may be for hours
KEPT_SECONDS = 600  # of the streams, for the same reason


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoOptions:
    """``seconds``: about how long events flow. ``seed`` decides where connections are cut and who is killed."""

    seconds: float = 30.0
    seed: int | None = None
    keep: bool = False
    as_json: bool = False
    picture: Path | None = None


def run_demo(options: DemoOptions) -> bool:
    """Run it; True where everything was delivered exactly once.

    Raises BridgeError where it cannot run, KeyboardInterrupt when it is stopped by SIGINT or SIGTERM.
    """
    log.configure("error", "auto", Secrets())
    try:
        return asyncio.run(_demo(options))
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stage:
    """All that takes part."""

    seed: int
    server: RedisServer
    client: Redis
    simulator: Simulator
    simulated: dict[str, SimulatedSession]
    workers: Sequence[DemoWorker]
    readers: Sequence[DemoReader]
    database: Path
    story: Story
    watch: Watch


@asynccontextmanager
async def _staged(options: DemoOptions) -> AsyncIterator[_Stage]:
    seed = random.SystemRandom().randrange(1_000_000) if options.seed is None else options.seed
    story = Story(time.monotonic)
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(RedisServer())
        process_group = stack.enter_context(guard(server))
        # With a time-out redis-py sends through asyncio.wait_for, in which Python 3.11 may lose a cancellation.
        client = await stack.enter_async_context(Redis.from_url(server.url, socket_timeout=None))
        simulator = await stack.enter_async_context(Simulator(api_key=API_KEY, control_port=0))
        settings = _settings(options, server, simulator)
        workers = [DemoWorker(f"worker-{number}", settings, story, process_group) for number in (1, 2)]
        simulated = open_lenses(simulator, seed)
        watch = Watch(client, simulated, workers, story, seed=seed, seconds=options.seconds)
        database = server.directory / "service.db"
        prepare(database)
        streams = [session_keys(TEMPLATE, lens.session).events for lens in LENSES]
        arguments = [server.url, str(database), *streams]
        readers = [DemoReader(f"reader-{number}", arguments, story, process_group) for number in (1, 2)]
        watch.readers(readers, database)
        await stack.enter_async_context(running([*workers, *readers]))
        yield _Stage(
            seed=seed,
            server=server,
            client=client,
            simulator=simulator,
            simulated=simulated,
            workers=workers,
            readers=readers,
            database=database,
            story=story,
            watch=watch,
        )


def _settings(options: DemoOptions, server: RedisServer, simulator: Simulator) -> dict[str, object]:
    """Of a worker: everything is quicker than by default, since half a minute is all there is."""
    settings: dict[str, object] = {
        "source.base_url": simulator.base_url,
        "source.api_key": API_KEY,
        "source.backoff_initial_seconds": 0.1,
        "source.backoff_max_seconds": 1.0,
        "source.backoff_reset_seconds": 0.5,
        "redis.url": server.url,
        "sessions": ",".join(f"{lens.name}={lens.session.session_id}" for lens in LENSES),
        "lease.ttl_seconds": min(2.0, max(1.0, options.seconds / 15)),
        "lease.poll_seconds": 0.2,
        "admin.host": "127.0.0.1",
        "admin.port": 0,
        "log.format": "json",
    }
    return settings | {"stream.max_age_seconds": KEPT_SECONDS} if options.keep else settings


async def _demo(options: DemoOptions) -> bool:
    display = display_for(sys.stderr if options.as_json else sys.stdout)
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    async with _staged(options) as stage:
        async with stage.watch.showing(display):
            judgement = await _perform(stage, options)
        display.write("", judgement_text(judgement))
        if options.picture:
            _draw_picture(options.picture, await stage.watch.scene(), judgement)
        if options.as_json:
            print(json.dumps(_as_json(judgement, stage), indent=2), flush=True)
        if options.keep:
            await _stay(stage, display)
    return judgement.exact


async def _perform(stage: _Stage, options: DemoOptions) -> Judgement:
    """The play itself: events flow, workers fall, the dust settles, and everything is compared."""
    story = stage.story
    story.tell("a Redis, a simulated lens API, two workers and a service of two readers start on this machine")
    await story.until(lambda: all(story.owned_by(one.name) for one in stage.workers), "both workers have a session")
    story.begin()
    story.tell("events begin to flow")
    play(stage.simulated)
    await disturb(stage.workers, stage.readers, story, options.seconds, random.Random(stage.seed))
    await story.reach(max(options.seconds, story.elapsed + LATE_SECONDS))
    for session in stage.simulated.values():
        session.pause()
    story.tell("no more events are sent; the last ones may land")
    await _settled(stage)
    story.tell("comparing what stands in Redis and what the service did with what the lens API has sent, one by one")
    sessions = [lens.session for lens in LENSES]
    return await judge(
        stage.client,
        stage.simulator,
        sessions,
        template=TEMPLATE,
        takeovers=story.takeovers,
        database=stage.database,
    )


async def _settled(stage: _Stage) -> None:
    """Wait until all has landed. Where that takes too long it is for the verdict to say what is missing."""
    deadline = stage.story.elapsed + SETTLE_SECONDS
    while stage.story.elapsed < deadline and not await stage.watch.caught_up():
        await stage.story.reach(stage.story.elapsed + 0.1)


def _as_json(judgement: Judgement, stage: _Stage) -> dict[str, object]:
    story = stage.story
    return {
        **judgement_json(judgement),
        "seed": stage.seed,
        "seconds": round(story.elapsed, 1),
        "kills": story.kills,
        "pauses": story.pauses,
        "reader_kills": story.reader_kills,
        "takeovers": story.takeovers.total(),
        "handovers": story.handovers,
        "fenced": story.fenced,
        "story": [{"at": round(one.at, 1), "text": one.text} for one in story.happenings],
    }


def _draw_picture(file: Path, scene: Scene, judgement: Judgement) -> None:
    shown = (draw(scene, PICTURE_COLUMNS), "", judgement_text(judgement))
    try:
        file.write_text(picture(*shown, width=PICTURE_COLUMNS, title="lens-bridge demo"), encoding="utf-8")
    except OSError as error:
        raise DemoError(f"--record {file}: cannot be written: {error.strerror}") from error


async def _stay(stage: _Stage, display: Display) -> None:
    """Go on until Ctrl-C, with a consumer group on each stream for those who want to read."""
    for lens in LENSES:
        await stage.client.xgroup_create(session_keys(TEMPLATE, lens.session).events, GROUP, id="0")
    play(stage.simulated, pace=KEPT_PACE)
    first = LENSES[0].session
    display.write(
        invitation(
            redis_url=stage.server.url,
            base_url=stage.simulator.base_url,
            control_url=stage.simulator.control_url,
            admin_urls=[one.admin_url or "" for one in stage.workers],
            stream_key=session_keys(TEMPLATE, first).events,
            session=f"{first.name}={first.session_id}",
            python=shlex.quote(sys.executable),
            bridge="lens-bridge" if shutil.which("lens-bridge") else f"{shlex.quote(sys.executable)} -m bridge",
        )
    )
    await stage.story.end()
