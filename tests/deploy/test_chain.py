"""The whole chain: a worker under load, a fault, Prometheus, Alertmanager, and the page that reaches somebody."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from bridge.lab.simulator import Poison, Profile, Refusal, SimulatedSession, UnknownCursorRule
from tests.support.deploy.processes import free_port
from tests.support.deploy.prometheus import Alertmanager, Prometheus
from tests.support.deploy.rules import load_rules, shortened
from tests.support.deploy.webhook import Webhook
from tests.support.worker import Worker, until
from tests.support.worker_rig import Rig

NAMES = ("gate", "dock", "yard")
PAGE_SECONDS = 40.0
QUIET_SECONDS = 5.0


class Watch:
    """What the test watches with, and what is watched. ``timings`` are for the report.

    ``detail`` is what the worker's `metrics.detail` says.
    """

    def __init__(
        self, rig: Rig, worker: Worker, lenses: dict[str, SimulatedSession], webhook: Webhook, detail: str
    ) -> None:
        self.detail = detail
        self.rig = rig
        self.worker = worker
        self.lenses = lenses
        self.webhook = webhook
        self.timings: dict[str, float] = {}

    async def paged(self, alert: str, since: float, **labels: str) -> None:
        """Until the alert has reached the webhook; it has these labels, and a runbook."""

        def arrived() -> bool:
            return bool(self.webhook.of(alert))

        await until(arrived, f"{alert} reaches the webhook", timeout=PAGE_SECONDS)
        page = self.webhook.of(alert)[0]
        assert labels.items() <= page["labels"].items(), page
        assert page["annotations"]["runbook"] == f"helm/RUNBOOK.md#{alert.lower()}"
        self.timings[alert] = page["arrived"] - since

    async def resolved(self, alert: str) -> None:
        """Until the webhook has been told that it is over."""
        await until(lambda: bool(self.webhook.of(alert, "resolved")), f"{alert} is over", timeout=PAGE_SECONDS)


@pytest_asyncio.fixture(params=["full", "reduced"])
async def watch(own_rig: Rig, tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Watch]:
    """A worker that streams three lenses, watched at a scrape per second."""
    simulator = own_rig.simulator
    simulator.change(heartbeat_interval_seconds=0.5)
    lenses = {name: simulator.create_session(f"lsn-{name}", profile=Profile.SIZED, rate=50) for name in NAMES}
    port = free_port()
    listed = [f"{name}={lens.session_id}" for name, lens in lenses.items()]
    worker = own_rig.worker(*listed, admin__port=port, source__slow_retry_seconds=0.5, metrics__detail=request.param)
    async with Webhook() as webhook:
        await (await worker.start()).wait_ready()
        async with (
            Alertmanager(tmp_path / "alertmanager", webhook.url) as alertmanager,
            Prometheus(
                tmp_path / "prometheus", [f"127.0.0.1:{port}"], shortened(load_rules()), alertmanager.address
            ) as prometheus,
        ):

            async def published() -> bool:
                return (await prometheus.value("min(increase(lens_bridge_events_published_total[5s]))") or 0) > 0

            async def calm() -> bool:
                return not await prometheus.firing()

            await until(published, "all lenses flow", timeout=PAGE_SECONDS)
            await until(calm, "no alert is left from before the first scrape", timeout=PAGE_SECONDS)
            webhook.alerts.clear()
            await asyncio.sleep(QUIET_SECONDS)
            yield Watch(own_rig, worker, lenses, webhook, request.param)


@pytest.mark.timeout(240)
async def test_each_fault_pages_with_its_own_alert(watch: Watch) -> None:
    """One fault after another on one worker: each is told by name, with its runbook, and for the right session: what
    is counted for all of them where the worker tells less, and what a session does always for itself."""
    each = watch.detail == "full"
    assert not [one for one in watch.webhook.alerts if one["status"] == "firing"], "nothing fires while all is well"
    simulator = watch.rig.simulator

    began = time.monotonic()
    watch.lenses["gate"].poison(Poison.INVALID_JSON)
    dock = watch.lenses["dock"]
    dock.change(unknown_cursor=UnknownCursorRule.REFUSE)
    dock.forget()
    dock.drop()
    watch.lenses["yard"].refusals.add(Refusal(status=401, requests=1000))
    watch.lenses["yard"].drop()
    await watch.paged("LensBridgeDeadLetters", began, stream="gate" if each else "*", reason="invalid_json")
    await watch.paged("LensBridgeCursorLost", began, stream="dock" if each else "*", severity="warning")
    await watch.paged("LensBridgeUnauthorized", began, stream="yard", severity="critical")
    assert {page["labels"]["stream"] for page in watch.webhook.of("LensBridgeUnauthorized")} == {"yard"}
    simulator.clear_faults()
    await watch.resolved("LensBridgeUnauthorized")

    began = time.monotonic()
    await watch.rig.server.kill()
    await watch.paged("LensBridgeRedisUnreachable", began, severity="critical")
    began = time.monotonic()
    await watch.rig.server.start()  # empty: it keeps nothing over a kill
    await watch.paged("LensBridgeRollback", began, severity="critical")
    await watch.paged("LensBridgeGap", began, reason="state_lost")
    await watch.resolved("LensBridgeRedisUnreachable")

    began = time.monotonic()
    await watch.worker.kill()
    await watch.paged("LensBridgeAbsent", began, severity="critical")
    print("from fault to page:", ", ".join(f"{name} {seconds:.1f} s" for name, seconds in watch.timings.items()))
