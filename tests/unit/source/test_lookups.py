"""Who asks after a session is answered with few questions, and never with an answer that is not about it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from bridge.model.outcomes import Active, Lookup, Over, Unanswered
from bridge.source.lookups import Answer, Lookups

RUNNING = Active(status="RUNNING")


@dataclass
class Endpoint:
    """Lists these sessions. While ``gate`` is not set it keeps who asks waiting."""

    sessions: dict[str, Lookup] = field(default_factory=dict)
    broken: bool = False
    short: bool = False  # its list of all sessions is empty
    asked: list[str | None] = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    at_once: int = 0
    most_at_once: int = 0

    async def ask(self, session_id: str | None) -> Answer:
        """One question."""
        self.asked.append(session_id)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await self.gate.wait()
            await asyncio.sleep(0)  # an answer takes its time, so that others ask meanwhile
        finally:
            self.at_once -= 1
        if self.broken:
            return Unanswered(detail="broken")
        if session_id is None:
            return {} if self.short else dict(self.sessions)
        return {session_id: self.sessions[session_id]} if session_id in self.sessions else {}


def many(count: int) -> list[str]:
    """Ids."""
    return [f"lsn-{number}" for number in range(count)]


async def together(lookups: Lookups, endpoint: Endpoint, sessions: list[str]) -> list[Lookup]:
    """What each hears where all ask at the same time."""
    tasks = [asyncio.create_task(lookups.of(session)) for session in sessions]
    for _ in range(3):
        await asyncio.sleep(0)
    endpoint.gate.set()
    async with asyncio.timeout(20):
        return await asyncio.gather(*tasks)


async def test_who_asks_alone_asks_after_its_own_session_each_time() -> None:
    """And hears how it stands now."""
    endpoint = Endpoint({"lsn-1": RUNNING})
    endpoint.gate.set()
    lookups = Lookups(endpoint.ask)
    assert await lookups.of("lsn-1") == RUNNING
    endpoint.sessions["lsn-1"] = Over(status="FAILED")
    assert await lookups.of("lsn-1") == Over(status="FAILED")
    del endpoint.sessions["lsn-1"]
    assert await lookups.of("lsn-1") == Over(status="unknown")
    assert endpoint.asked == ["lsn-1"] * 3


async def test_a_thousand_that_ask_together_are_two_questions() -> None:
    """The first one's own, and one for all the others."""
    sessions = many(1000)
    endpoint = Endpoint(dict.fromkeys(sessions, RUNNING))
    lookups = Lookups(endpoint.ask)
    assert await together(lookups, endpoint, sessions) == [RUNNING] * 1000
    assert endpoint.asked == ["lsn-0", None]
    assert await lookups.of("lsn-7") == RUNNING  # soon after: the same answer
    assert endpoint.asked == ["lsn-0", None]


async def test_who_is_not_in_the_list_is_asked_after_by_its_id_before_it_is_given_up() -> None:
    """A list may be shorter than the truth; and not all of them at once."""
    sessions = many(50)
    endpoint = Endpoint(dict.fromkeys(sessions[:-1], RUNNING), short=True)
    found = await together(Lookups(endpoint.ask), endpoint, sessions)
    assert found == [*[RUNNING] * 49, Over(status="unknown")]
    assert sorted(map(str, endpoint.asked)) == sorted(["None", *sessions])
    assert endpoint.most_at_once <= 6


async def test_nobody_answers_them_all_in_few_questions() -> None:
    """An outage is not made worse; and nobody is given up over it."""
    endpoint = Endpoint(broken=True)
    found = await together(Lookups(endpoint.ask), endpoint, many(500))
    assert found == [Unanswered(detail="broken")] * 500
    assert len(endpoint.asked) < 10


async def test_an_answer_does_not_serve_for_ever() -> None:
    """Only those who ask at about the same time."""
    endpoint = Endpoint(dict.fromkeys(many(3), RUNNING))
    endpoint.gate.set()
    lookups = Lookups(endpoint.ask, shared_seconds=-1.0)
    for session in many(3):
        await lookups.of(session)
    assert endpoint.asked == many(3)


async def test_who_stops_waiting_leaves_the_question_to_the_others() -> None:
    """A session that is stopped must not take the answer along."""
    endpoint = Endpoint(dict.fromkeys(many(3), RUNNING))
    lookups = Lookups(endpoint.ask)
    first, second, third = [asyncio.create_task(lookups.of(session)) for session in many(3)]
    for _ in range(3):
        await asyncio.sleep(0)
    second.cancel()
    await asyncio.wait({second})
    endpoint.gate.set()
    assert [await first, await third] == [RUNNING] * 2
    assert endpoint.asked == ["lsn-0", None]


async def test_closing_ends_a_question_under_way() -> None:
    """No task is left behind."""
    endpoint = Endpoint()
    lookups = Lookups(endpoint.ask)
    tasks = [asyncio.create_task(lookups.of(session)) for session in many(2)]
    for _ in range(3):
        await asyncio.sleep(0)
    assert endpoint.at_once == 2
    await lookups.aclose()
    assert endpoint.at_once == 1
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
