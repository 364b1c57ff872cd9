"""What the reader of a session tells while its source refuses it."""

from __future__ import annotations

import asyncio
from typing import Any

from structlog.testing import capture_logs

from bridge.delivery.intake import Intake
from bridge.delivery.window import Window
from bridge.masking import Secrets
from bridge.model.place import START, Session
from bridge.session.buffer import Buffer
from bridge.session.reader import Reader
from bridge.settings import SourceSettings
from bridge.source.client import LensClient
from bridge.telemetry.figures import SessionFigures
from tests.support.fakes import FakeApi, answer, fake_api, stream_head, until

SESSION = Session(name="line-1", session_id="lsn-1")
STREAM = stream_head() + b": open\n\n"


async def told(api: FakeApi, refusals: int) -> list[tuple[Any, Any]]:
    """Level and outcome of each refusal in the log, once there are so many."""
    settings = SourceSettings.model_validate(
        {
            "base_url": api.base_url,
            "api_key": "a-key",
            "backoff_initial_seconds": 0.001,
            "backoff_max_seconds": 0.002,
            "connects_per_second": 5000,
        }
    )
    async with LensClient(settings, Secrets()) as source:
        reader = Reader(
            session=SESSION,
            source=source,
            intake=Intake(place=START, window=Window(10), secrets=Secrets()),
            buffer=Buffer(max_events=10, max_bytes=1000),
            figures=SessionFigures(SESSION, "lens:{line-1}:events"),
            settings=settings,
        )
        with capture_logs() as lines:
            task = asyncio.create_task(reader.run())
            await until(lambda: sum(line["event"] == "source.refused" for line in lines) >= refusals)
            task.cancel()
            await asyncio.wait({task})
    return [(line["log_level"], line["outcome"]) for line in lines if line["event"] == "source.refused"]


async def test_a_source_that_stays_away_is_told_once() -> None:
    """Its later refusals are for who debugs: a night of them would fill the log."""
    async with fake_api(answer(503)) as api:
        first, *others = await told(api, refusals=6)
    assert first == ("warning", "server_error")
    assert set(others) == {("debug", "server_error")}


async def test_another_refusal_than_before_is_told_anew() -> None:
    """What a person has to mend is an error."""
    async with fake_api(answer(503), answer(503), answer(401)) as api:
        assert await told(api, refusals=3) == [
            ("warning", "server_error"),
            ("debug", "server_error"),
            ("error", "unauthorized"),
        ]


async def test_a_refusal_after_a_connection_is_told_anew() -> None:
    """It is another outage."""
    async with fake_api(answer(503), STREAM, answer(503)) as api:
        first, second, *_ = await told(api, refusals=3)
    assert first == second == ("warning", "server_error")
