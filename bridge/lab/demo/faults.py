"""What the demo does to its workers, one thing after the other, each at its share of the time."""

from __future__ import annotations

import random
from collections.abc import Sequence

from bridge.lab.demo.story import Story
from bridge.lab.demo.workers import DemoReader, DemoWorker

__all__ = ["disturb"]

KILLS_AT = (0.12, 0.70)  # shares of the whole time
READER_KILL_AT = 0.27
PAUSE_AT = 0.40
READER_AWAY_SECONDS = 1.5  # longer than what makes the other member take it for dead
LINGER_SECONDS = 0.5  # the zombie sleeps on while its successor is at work


async def disturb(
    workers: Sequence[DemoWorker],
    readers: Sequence[DemoReader],
    story: Story,
    seconds: float,
    chance: random.Random,
) -> None:
    """Kill a worker, then a reader, pause a worker past its lease, kill one again. ``chance`` picks the victims.

    Raises DemoError when the others do not take over.
    """
    await story.reach(KILLS_AT[0] * seconds)
    await _kill(await _victim(workers, story, chance), story)
    await story.reach(READER_KILL_AT * seconds)
    await _kill_reader(chance.choice(readers), story)
    await story.reach(PAUSE_AT * seconds)
    await _pause(await _victim(workers, story, chance), story)
    await story.reach(KILLS_AT[1] * seconds)
    await _kill(await _victim(workers, story, chance), story)
    await _victim(workers, story, chance)  # until all have their share again


async def _victim(workers: Sequence[DemoWorker], story: Story, chance: random.Random) -> DemoWorker:
    """Any worker, once each of them reads something."""
    await story.until(lambda: all(story.owned_by(one.name) for one in workers), "every worker has a session")
    return chance.choice(workers)


async def _kill(worker: DemoWorker, story: Story) -> None:
    story.killed(worker.name)
    await worker.kill()
    await story.until(lambda: not story.owned_by(worker.name), f"the sessions of {worker.name} are taken over")
    story.restarted(worker.name)
    await worker.start()


async def _kill_reader(reader: DemoReader, story: Story) -> None:
    """What it had in hand goes to the other member when it has given no sign of life for a second."""
    story.reader_killed(reader.name)
    await reader.kill()
    await story.reach(story.elapsed + READER_AWAY_SECONDS)
    story.tell(f"{reader.name} is started again")
    await reader.start()


async def _pause(worker: DemoWorker, story: Story) -> None:
    """Everything that the server sends meanwhile waits in the sockets of a process that believes it owns them."""
    fenced = story.fenced
    story.paused(worker.name)
    worker.pause()
    await story.until(lambda: not story.owned_by(worker.name), f"the sessions of {worker.name} are taken over")
    await story.reach(story.elapsed + LINGER_SECONDS)
    story.resumed(worker.name)
    worker.resume()
    await story.until(lambda: story.fenced > fenced, f"{worker.name} learns that it owns nothing any more")
