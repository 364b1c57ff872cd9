"""The composition root: builds the worker from its settings and runs it. The only importer of both source and sink."""

from __future__ import annotations

import asyncio
import logging
import random
from contextlib import AsyncExitStack, suppress
from functools import partial

import structlog

from bridge import __version__
from bridge.delivery.filters import Selection
from bridge.delivery.numbers import Numbers
from bridge.errors import BridgeError, SinkFault
from bridge.masking import Secrets
from bridge.model.keys import session_keys
from bridge.model.labels import GapReason
from bridge.model.outcomes import Unanswered
from bridge.model.place import Lease, Session
from bridge.session.context import SessionContext
from bridge.session.pump import Pump
from bridge.settings import OnLost, Settings
from bridge.settings.contradictions import checked_keys
from bridge.settings.loading import Configuration, Places, hide_secrets
from bridge.source.client import LensClient
from bridge.store.commits import RedisSink
from bridge.store.durability import Durability
from bridge.store.fleet.handovers import Handovers
from bridge.store.fleet.registry import Registry
from bridge.store.fleet.sessions import SessionBook
from bridge.store.leases import Leases
from bridge.store.link import RedisLink
from bridge.store.nodes.server import Weight, findings, in_words
from bridge.telemetry.admin import AdminServer
from bridge.telemetry.log import set_level
from bridge.telemetry.status import WorkerStatus
from bridge.telemetry.tracing.opening import tracing
from bridge.telemetry.tracing.spans import Tracer
from bridge.worker.backlog import Backlog
from bridge.worker.discovery.discovery import Discovery
from bridge.worker.discovery.memory import Memory
from bridge.worker.following import Following
from bridge.worker.holder import SessionHolder
from bridge.worker.holders import Holders
from bridge.worker.process import (
    collect_garbage_seldom,
    heed_signals,
    raise_descriptor_limit,
    tell_shortage_once,
)
from bridge.worker.reload.changes import Change
from bridge.worker.reload.reloader import Reloader
from bridge.worker.roster import Conflict, Origin, Roster
from bridge.worker.supervisor import Coordination, Supervisor

__all__ = ["known_secrets", "serve"]

log = structlog.get_logger()

_OVER_POLL_SECONDS = 0.2
_LOOK_AT_SERVERS_SECONDS = 2.0  # whether there is one that was not met yet: that alone asks it nothing


def known_secrets(settings: Settings) -> Secrets:
    """A register of what must not be shown, begun with what the settings hold."""
    secrets = Secrets()
    hide_secrets(settings, secrets)
    return secrets


async def serve(configuration: Configuration, places: Places, secrets: Secrets, *, until_ended: bool = False) -> None:
    """Run a worker until a signal stops it, or until all its sessions have ended.

    The configuration is read again from ``places`` at SIGHUP and when one of them has changed.

    Raises ConfigurationError for what only a person can mend. A fault that can pass never ends it. With
    ``until_ended`` raises BridgeError where a session was never there: a batch job must not pass for a mistyped id.
    """
    settings = configuration.settings
    status = WorkerStatus(worker_id=settings.worker.id, version=__version__)
    stop, reload = asyncio.Event(), asyncio.Event()
    raise_descriptor_limit(len(settings.sessions))
    collect_garbage_seldom()
    tell_shortage_once(asyncio.get_running_loop())
    async with AsyncExitStack() as stack:
        stack.enter_context(heed_signals(stop, reload))
        spans = tracing(settings.tracing, settings.worker.id, status.tracing, secrets)
        tracer = await stack.enter_async_context(spans)

        def note_redis(error: str | None) -> None:
            # A connection alone mends nothing: a hung Redis takes one too. The next round says what is so.
            status.redis_reachable, status.redis_error = error is None, error or status.redis_error
            if error is None:
                holders.doubt()

        link = RedisLink(settings.redis, secrets, on_change=note_redis)
        stack.push_async_callback(link.aclose)
        on_key_read = partial(status.config_read, "source.api_key_file")
        source = await stack.enter_async_context(LensClient(settings.source, secrets, on_key_read))
        leases = Leases(link, settings.worker.id, settings.lease.ttl_seconds)
        status.owner = leases.owner
        events = settings.events
        selection = Selection(events.include, events.exclude, strict_json=events.strict_json)
        store = link, Durability(settings.redis, lambda degraded: _note_durability(status, degraded))
        holders = Holders(
            lambda session: _holder(session, settings, status, leases, store, source, tracer, selection),
            lambda holder: status.forget(holder.figures),
        )
        roster = Roster(
            lambda session: checked_keys(settings.stream, session).state,
            on_change=holders.follow,
            on_conflict=_tell_conflict,
        )
        status.origins = lambda: {
            name: origin.value for name, origin in roster.origins.items() if origin is not Origin.CONFIGURED
        }
        status.refused = lambda: [_refusal(one) for one in roster.conflicts]
        roster.put(Origin.CONFIGURED, _configured(settings))
        admin = AdminServer(settings.admin, status, secrets, settings.metrics.detail)
        await stack.enter_async_context(admin)
        await stack.enter_async_context(Backlog(link, status.sessions.values()))
        stack.callback(asyncio.create_task(_introduce_servers(link), name="introduce the servers").cancel)

        discovery = Discovery(
            source,
            settings,
            partial(roster.put, Origin.DISCOVERED),
            lambda: {one.session.session_id for one in holders if one.held and not one.over},
            status.discovery,
            Memory(link),
        )

        def take_up(change: Change) -> None:
            changed = change.in_force.settings
            set_level(changed.log.level)
            admin.tell(changed.metrics.detail)
            source.use(changed.source)
            link.use(changed.redis)
            events = changed.events
            selection.use(events.include, events.exclude, strict_json=events.strict_json)
            roster.put(Origin.CONFIGURED, _configured(changed))
            discovery.use(changed)

        reloader = Reloader(configuration, places, take_up, status, secrets, asked=reload)
        stack.callback(asyncio.create_task(reloader.run(), name="reload").cancel)
        stack.callback(asyncio.create_task(discovery.run(), name="discover").cancel)
        coordination = Coordination(
            leases=leases,
            registry=Registry(link, leases.owner, settings.lease.ttl_seconds),
            handovers=Handovers(link, leases.owner, settings.lease.ttl_seconds),
        )
        supervisor = Supervisor(
            holders=holders,
            coordination=coordination,
            settings=settings,
            status=status,
            source=_Access(source, holders),
        )
        restores = settings.redis.on_lost is not OnLost.STOP
        following = Following(SessionBook(link), roster, holders, supervisor.obey, restores=restores)
        log.info("worker.started", worker=leases.owner, version=__version__, sessions=len(holders))
        if until_ended:
            watcher = asyncio.create_task(_stop_when_over(holders, stop), name="until ended")
            stack.callback(watcher.cancel)
        await supervisor.run(stop, following.run())
    log.info("worker.stopped", worker=leases.owner)
    if until_ended and (unread := [holder for holder in holders if holder.never_seen]):
        names = ", ".join(f"{one.session.name} ({one.session.session_id})" for one in unread)
        raise BridgeError(f"nothing was read of {names}: the API does not know such a session - check sessions")


def _configured(settings: Settings) -> list[Session]:
    return [Session(name=one.name, session_id=one.session_id) for one in settings.sessions]


def _holder(
    session: Session,
    settings: Settings,
    status: WorkerStatus,
    leases: Leases,
    store: tuple[RedisLink, Durability],
    source: LensClient,
    tracer: Tracer | None,
    selection: Selection,
) -> SessionHolder:
    link, durability = store
    keys = session_keys(settings.stream.key, session, settings.stream.routes)
    figures = status.session(session, keys.events)
    stream = settings.stream
    figures.routed_keys = keys.streams[1:]
    # A limit is that of each stream, as a group's lag is; the first is held against the length, which is that of all.
    figures.stream_read_max_length = (stream.max_length or stream.hard_max_length or 0) * len(keys.streams)
    figures.stream_max_length = (stream.hard_max_length if stream.keep_unread else stream.max_length) or 0
    sink = RedisSink(link.to(keys.state), keys, session, settings.stream, durability, traced=tracer is not None)
    spans = tracer.of(session, keys.events) if tracer else None

    numbers = Numbers()

    def make_pump(lease: Lease, gap: GapReason | None) -> Pump:
        return Pump(
            SessionContext(
                session=session,
                lease=lease,
                source=source,
                sink=sink,
                figures=figures,
                settings=settings,
                numbers=numbers,
                sent_keys=source.sent_keys,
                selection=selection,
                gap=gap,
                spans=spans,
            )
        )

    return SessionHolder(
        session=session,
        keys=keys,
        leases=leases,
        figures=figures,
        make_pump=make_pump,
        settings=settings,
    )


class _Access:
    """The way to the source, as the supervisor asks after it."""

    def __init__(self, source: LensClient, holders: Holders) -> None:
        self._source = source
        self._holders = holders

    @property
    def capacity(self) -> int:
        return self._source.capacity

    async def answers(self) -> bool:
        """Whether the API says anything of one of the sessions."""
        if not len(self._holders):
            return True  # there is nothing to stand aside for
        session = random.choice(list(self._holders)).session
        return not isinstance(await self._source.lookup(session.session_id), Unanswered)


def _refusal(conflict: Conflict) -> dict[str, str]:
    one = conflict.session
    return {
        "name": one.name,
        "session_id": one.session_id,
        "origin": conflict.origin.value,
        "reason": conflict.reason,
    }


def _tell_conflict(conflict: Conflict) -> None:
    said = _refusal(conflict)
    log.error("session.refused", session=said.pop("name"), **said)


def _note_durability(status: WorkerStatus, degraded: bool) -> None:
    if degraded is not status.durability_degraded:
        log.log(logging.WARNING if degraded else logging.INFO, "durability.degraded" if degraded else "durability.met")
    status.durability_degraded = degraded


async def _introduce_servers(link: RedisLink) -> None:
    """Say once of each server what it is and what does not fit, also of one that a failover brings."""
    known: set[str] = set()
    while True:
        with suppress(SinkFault):  # the commits and the leases meet it too, and say so
            for facts in await link.inspect(known):
                known.add(facts.where)
                log.info("redis.met", at=facts.where, server=in_words(facts))
                for one in findings(facts):
                    tell = log.error if one.weight is Weight.FAULT else log.warning
                    tell("redis.unfit", at=facts.where, reason=one.word, detail=one.detail, hint=one.advice)
        await asyncio.sleep(_LOOK_AT_SERVERS_SECONDS)


async def _stop_when_over(holders: Holders, stop: asyncio.Event) -> None:
    while not (len(holders) and all(holder.done for holder in holders)):  # noqa: ASYNC110  a state that many places set
        await asyncio.sleep(_OVER_POLL_SECONDS)
    log.info("worker.stopping", reason="all sessions have ended")
    stop.set()
