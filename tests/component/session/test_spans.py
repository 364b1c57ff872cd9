"""One span for each commit: it ends once, and says that the commit stands only where it does."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from bridge.lab.redis_server import RedisServer
from bridge.model.outcomes import Fenced
from tests.support.committer_bench import Bench, Fate, Unreliable, read_on, run_of

LAST = 400


@dataclass
class Span:
    """What became of one."""

    traceparent: str
    said: list[tuple[str, int, int]] = field(default_factory=list)

    def landed(self, seq: int, messages: int) -> None:
        """It stands."""
        self.said.append(("landed", seq, messages))

    def failed(self, error: str) -> None:
        """It does not."""
        self.said.append((error, 0, 0))


class Spans:
    """Keeps all of them."""

    def __init__(self) -> None:
        self.made: list[Span] = []

    def begin(self, messages: int | None = None) -> Span:
        """With an id that tells how many there were before."""
        self.made.append(Span(f"00-{len(self.made) + 1:032x}-{messages or 0:016x}-01"))
        return self.made[-1]


@pytest.fixture
async def bench(redis_server: RedisServer, redis: Redis) -> AsyncIterator[Bench]:
    """A traced session, empty."""
    made = Bench(redis_server.url, redis)
    made.spans = Spans()
    yield made
    await made.aclose()


def spans_of(bench: Bench) -> list[Span]:
    """All that were made."""
    assert isinstance(bench.spans, Spans)
    return bench.spans.made


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    fates=st.lists(st.sampled_from([Fate.LANDS, Fate.LANDS, *Fate]), max_size=10),
    sizes=st.lists(st.sampled_from([1, 3, 64, 70, 130]), max_size=8),
)
def test_whatever_becomes_of_commits_each_span_ends_once_and_is_true(
    shared_redis_server: RedisServer, fates: list[Fate], sizes: list[int]
) -> None:
    """Lost replies, late packets, refusals, takeovers, rollbacks: no span is left open, and none claims too much."""

    async def play() -> None:
        client: Redis = Redis.from_url(shared_redis_server.url)
        bench = Bench(shared_redis_server.url, client)
        bench.spans = Spans()
        queue = deque(fates)
        try:
            while await read_on(bench, sizes, Unreliable(bench, queue), LAST) is not None:
                pass
            entries = await bench.entries(bench.keys.events)
            assert entries
            counted = Counter(entry["traceparent"] for entry in entries)
            last = {entry["traceparent"]: int(entry["seq"]) for entry in entries}
            spans = {span.traceparent: span.said for span in spans_of(bench)}
            assert counted.keys() <= spans.keys()
            for traceparent, said in spans.items():
                ((what, seq, messages),) = said  # once
                if what == "landed" and Fate.ROLLED_BACK not in fates:
                    assert (counted[traceparent], last[traceparent]) == (messages, seq)
                if what == "rejected":
                    assert not counted[traceparent]
                if counted[traceparent]:
                    assert what in {"landed", "fenced", "rolled_back"}, "it stands, and the last word came too late"
        finally:
            await bench.aclose()
            await client.aclose()

    asyncio.run(play())


async def test_a_commit_that_is_sent_again_as_the_same_bytes_has_one_span(bench: Bench) -> None:
    """Its reply was lost twice; the third time it is found to have landed, which is a success."""
    fates = deque([Fate.NEVER_ARRIVES, Fate.REPLY_LOST])
    assert await read_on(bench, [100], Unreliable(bench, fates), 100) is None
    (span,) = spans_of(bench)
    assert span.said == [("landed", 100, 100)]
    assert {entry["traceparent"] for entry in await bench.entries(bench.keys.events)} == {span.traceparent}


async def test_a_refused_batch_and_those_behind_it_end_their_spans_and_are_sent_under_new_ones(bench: Bench) -> None:
    """The second of three is refused: it is halved."""
    fates = deque([Fate.LANDS, Fate.REFUSED])
    assert await read_on(bench, [100, 100, 100], Unreliable(bench, fates), 300) is None
    said = [span.said[0][0] for span in spans_of(bench)]
    assert said[:3] == ["landed", "rejected", "rejected"]
    assert set(said[3:]) == {"landed"}
    standing = {entry["traceparent"] for entry in await bench.entries(bench.keys.events)}
    assert standing == {span.traceparent for span in spans_of(bench) if span.said[0][0] == "landed"}


async def test_commits_behind_one_that_was_fenced_say_so(bench: Bench) -> None:
    """None of them can land any more."""
    outcome = await read_on(bench, [100, 100, 100], Unreliable(bench, deque([Fate.LANDS, Fate.TAKEN_OVER])), 300)
    assert outcome == Fenced(commits=1)
    assert [span.said for span in spans_of(bench)] == [[("landed", 100, 100)], [("fenced", 0, 0)], [("fenced", 0, 0)]]


async def test_a_commit_that_nobody_waits_for_any_more_is_unknown(bench: Bench) -> None:
    """A stop has cut it short: the span says no more than is known."""
    sink = Unreliable(bench, deque([Fate.FULL] * 1000))
    committer, buffer, _ = bench.committer(await bench.lease(), sink)
    running = asyncio.ensure_future(committer.run())
    buffer.put([run_of(1, 5)])
    while not bench.figures.last_error:
        await asyncio.sleep(0)
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    assert [span.said for span in spans_of(bench)] == [[("unknown", 0, 0)]]


async def test_a_commit_that_publishes_nothing_has_no_span(bench: Bench) -> None:
    """A probe for what became of another one, a place that moves past what was filtered out."""
    committer, buffer, _ = bench.committer(await bench.lease(), Unreliable(bench, deque()))
    filtered = run_of(1, 3).records()
    buffer.put([record._replace(type="", data=b"", skip=0) for record in filtered])
    buffer.close()
    assert await committer.run() is None
    assert committer.place.cursor == "3"
    assert spans_of(bench) == []
