"""The composition root: builds the worker from its settings and runs it. The only importer of both source and sink."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack

import structlog

from bridge import __version__
from bridge.admin import AdminServer
from bridge.backlog import Backlog
from bridge.configuration import secret_values
from bridge.errors import BridgeError
from bridge.events import Claim, GapReason, Session
from bridge.keys import session_keys
from bridge.lease import Leases
from bridge.link import RedisLink
from bridge.metrics import Metrics
from bridge.pump import Pump
from bridge.secrets import Secrets
from bridge.settings import Settings
from bridge.signals import stop_on_signals
from bridge.sink import RedisSink
from bridge.source import LensSource
from bridge.status import SessionStatus, WorkerStatus
from bridge.supervisor import Supervisor
from bridge.tenure import Tenure

__all__ = ["known_secrets", "serve"]

log = structlog.get_logger()

_OVER_POLL_SECONDS = 0.2


def known_secrets(settings: Settings) -> Secrets:
    """A register of what must not be shown, begun with what the settings hold."""
    secrets = Secrets()
    for value in secret_values(settings):
        secrets.add(value)
    return secrets


async def serve(settings: Settings, secrets: Secrets, *, until_ended: bool = False) -> None:
    """Run a worker until a signal stops it, or until all its sessions have ended.

    Raises ConfigurationError for what only a person can mend. A fault that can pass never ends it. With
    ``until_ended`` raises BridgeError where a session was never there: a batch job must not pass for a mistyped id.
    """
    status = WorkerStatus(worker_id=settings.worker.id, version=__version__)
    metrics = Metrics(one.name for one in settings.sessions)
    metrics.config_reloaded(time.time())
    metrics.follow(status)
    stop = asyncio.Event()
    async with AsyncExitStack() as stack:
        stack.enter_context(stop_on_signals(stop))
        link = RedisLink(settings.redis, secrets, on_change=lambda error: _note_redis(status, error))
        stack.push_async_callback(link.aclose)
        source = await stack.enter_async_context(LensSource(settings.source, secrets, on_key_read=metrics.config_read))
        leases = Leases(link, settings.worker.id, settings.lease.ttl_seconds)
        tenures = [
            _tenure(Session(name=one.name, session_id=one.session_id), settings, metrics, leases, link, source)
            for one in settings.sessions
        ]
        status.sessions.update((tenure.session.name, tenure.status) for tenure in tenures)
        await stack.enter_async_context(AdminServer(settings.admin, status, metrics, secrets))
        await stack.enter_async_context(Backlog(link, status.sessions.values()))
        supervisor = Supervisor(
            tenures=tenures, leases=leases, settings=settings.lease, status=status, on_lost=settings.redis.on_lost
        )
        log.info("worker.started", worker=leases.owner, version=__version__, sessions=len(tenures))
        if until_ended:
            watcher = asyncio.create_task(_stop_when_over(status, stop), name="until ended")
            stack.callback(watcher.cancel)
        await supervisor.run(stop)
    log.info("worker.stopped", worker=leases.owner)
    if until_ended and (unread := status.never_seen()):
        names = ", ".join(f"{one.session.name} ({one.session.session_id})" for one in unread)
        raise BridgeError(f"nothing was read of {names}: the API does not know such a session - check sessions")


def _tenure(
    session: Session,
    settings: Settings,
    metrics: Metrics,
    leases: Leases,
    link: RedisLink,
    source: LensSource,
) -> Tenure:
    keys = session_keys(settings.stream.key, session)
    status = SessionStatus(session=session, stream_key=keys.events, metrics=metrics.session(session.name))
    status.metrics.stream_max_length(settings.stream.max_length or 0)
    sink = RedisSink(link, keys, session.session_id, settings.stream)

    def make_pump(claim: Claim, gap: GapReason | None) -> Pump:
        return Pump(
            session=session,
            claim=claim,
            source=source,
            sink=sink,
            status=status,
            settings=settings,
            secrets=source.echoes,
            gap=gap,
        )

    return Tenure(
        session=session,
        keys=keys,
        leases=leases,
        status=status,
        make_pump=make_pump,
        on_lost=settings.redis.on_lost,
        recheck_seconds=settings.source.slow_retry_seconds,
        window_events=settings.dedupe.window_events,
    )


def _note_redis(status: WorkerStatus, error: str | None) -> None:
    status.redis_reachable = error is None
    status.redis_error = error


async def _stop_when_over(status: WorkerStatus, stop: asyncio.Event) -> None:
    while not status.all_over():  # noqa: ASYNC110  a state that many places set
        await asyncio.sleep(_OVER_POLL_SECONDS)
    log.info("worker.stopping", reason="all sessions have ended")
    stop.set()
