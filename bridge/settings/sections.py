"""Everything that can be set. ``bridge.settings.loading`` reads it from flags, environment, secret files and YAML.

Durations end in ``_seconds``, sizes in ``_bytes``, counts in ``_events``. The reason for each default is its docstring,
which is also what ``config/schema.json`` and ``config/bridge.yaml`` say.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from bridge.model.redis_address import RedisAddress, redis_address, redis_url
from bridge.settings.kinds import (
    COUNTED,
    KIB,
    MIB,
    DurabilityLevel,
    EntryFormat,
    Globs,
    Name,
    OnEnd,
    OnLost,
    Routes,
    Seconds,
    Section,
    SomeGlobs,
    Words,
    globs,
    secret,
)
from bridge.settings.process import AdminSettings, LogSettings, MetricsSettings, TracingSettings, WorkerSettings
from bridge.settings.serving import ServeSettings
from bridge.settings.values import (
    api_base_url,
    name_template,
    printable_key,
    proxy_url,
    session_list,
)

__all__ = [
    "AdminSettings",
    "CommitSettings",
    "DedupeSettings",
    "DiscoverySettings",
    "EventsSettings",
    "LeaseSettings",
    "LogSettings",
    "MetricsSettings",
    "RedisSettings",
    "RetentionSettings",
    "ServeSettings",
    "SessionSettings",
    "Settings",
    "SourceSettings",
    "StreamSettings",
    "TracingSettings",
    "WorkerSettings",
]


class SourceSettings(Section):
    """The lens API."""

    base_url: Annotated[str, AfterValidator(api_base_url)] = "https://api.u1.archetypeai.app/v0.5"
    """Scheme, host and path up to `/lens`. The vendor has moved it before, so all of it stands in one setting."""
    api_key: Annotated[SecretStr, secret(printable_key)] | None = None
    """The API key. Better a file (`api_key_file`): that one can be rotated without a restart."""
    api_key_file: Path | None = None
    """A file that holds the API key; read again when it changes and when the server answers 401."""
    ca_file: Path | None = None
    """PEM file of certificate authorities to trust instead of the built-in ones; read at the start."""
    proxy: Annotated[SecretStr, secret(proxy_url)] | None = None
    """`http://` or `https://` URL of a proxy on the way to the API. A secret, since it may hold a password. Without it
    `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY` say which proxy is used, if any."""
    connect_timeout_seconds: Seconds = 10.0
    """How long a connection to the API may take to open."""
    idle_timeout_seconds: Seconds = 45.0
    """Reconnect after this long without any byte. Heartbeats come about every 5 s; warm-up was seen silent for longer,
    and a needless reconnect costs nothing but itself."""
    event_timeout_seconds: Seconds = 300.0
    """Reconnect when one event is still incomplete after this long: a drip of bytes must not pass for life."""
    max_event_bytes: int = Field(default=8 * MIB, ge=KIB, le=256 * MIB)
    """The largest event that is published. The largest seen are embeddings of 190 KB; larger ones are dead-lettered."""
    on_end: OnEnd = OnEnd.VERIFY
    """`verify`, `stop` or `reconnect`. Idle streams of living sessions are ended by the server after about a minute."""
    backoff_initial_seconds: Seconds = 0.5
    """Upper bound of the first random wait before a reconnect; it doubles from there."""
    backoff_max_seconds: Seconds = 30.0
    """Upper bound of every random wait before a reconnect."""
    backoff_reset_seconds: Annotated[float, Field(ge=0, le=86_400)] = 5.0
    """The time that a connection of at least this length was open counts towards the wait after it. The backoff itself
    starts again with any connection that brought something new, however short."""
    slow_retry_seconds: Seconds = 60.0
    """How often a rejected key or an unknown session is tried again: a person has to mend those."""
    connects_per_second: Annotated[float, Field(gt=0, le=10_000)] = 10.0
    """The pace of new connections of this worker once the API has answered 429 or refused, over all its sessions. Until
    then it is a hundred times as fast; afterwards up to ten times as fast while nothing speaks against it, and down to
    a tenth where that is still too much."""


class RedisSettings(Section):
    """Where events go and where the committed place is kept."""

    url: Annotated[SecretStr, secret(redis_url)] = SecretStr("redis://localhost:6379/0")
    """`redis://host:6379/0`, `unix:///run/redis.sock`, `redis+sentinel://host:26379,host:26379/service/0` or
    `redis+cluster://host:6379,host:6379`; `rediss` for TLS, and `valkey` stands for `redis` in each. Name all
    Sentinels: one that is wrong is outvoted. A secret, since it may hold a password."""
    username: str | None = None
    """ACL user, instead of one in the URL. Needs a password: without one Redis would take its default user."""
    password: SecretStr | None = None
    """Password, instead of one in the URL."""
    password_file: Path | None = None
    """A file that holds the password; read at each connect, so it can be rotated."""
    sentinel_username: str | None = None
    """ACL user at the Sentinels, which know none of the users and passwords above."""
    sentinel_password: SecretStr | None = None
    """Password of the Sentinels, where they ask for one."""
    sentinel_password_file: Path | None = None
    """A file that holds the Sentinels' password; read at each connect, so it can be rotated."""
    ca_file: Path | None = None
    """PEM file of certificate authorities to trust for `rediss`, at the Sentinels too; has no effect without TLS. This
    file and the next two are read at each connect where they have changed, so they can be rotated."""
    cert_file: Path | None = None
    """PEM file of this worker's own certificate, with what leads to its authority: Redis asks its clients for one
    unless `tls-auth-clients` says otherwise."""
    key_file: Path | None = None
    """PEM file of that certificate's key, not encrypted."""
    connect_timeout_seconds: Seconds = 5.0
    """How long a connection to Redis may take to open."""
    timeout_seconds: Seconds = 5.0
    """How long Redis may take to answer. Then the connection is closed and the same commit sent again on a new one."""
    backoff_initial_seconds: Seconds = 0.05
    """Upper bound of the first random wait before a commit is tried again; it doubles from there."""
    backoff_max_seconds: Seconds = 1.0
    """Upper bound of every random wait before a commit is tried again: Redis should be found soon after it is back, and
    another primary soon after it has taken over."""
    durability: DurabilityLevel = DurabilityLevel.MEMORY
    """`memory`, `replicated` or `fsynced`: what a commit must have reached before more is read. Where it falls short
    the commit is not written again, but waited for, and `durability_degraded` is 1. It costs a round trip to replica or
    disk for each group of commits."""
    durability_replicas: int = Field(default=1, ge=1, le=10)
    """How many replicas must have a commit, for `replicated`."""
    durability_timeout_seconds: Seconds = 1.0
    """How long replicas or the disk may take, before that counts as a shortfall. Below `timeout_seconds`."""
    on_lost: OnLost = OnLost.RESUME
    """`resume`, `restart` or `stop` when Redis was emptied under a running worker. A gap marker is written first."""

    @property
    def address(self) -> RedisAddress:
        """The URL taken apart."""
        return redis_address(self.url.get_secret_value())


class StreamSettings(Section):
    """The output."""

    key: str = "lens:{<name>}:events"
    """Template of the stream key. `<name>` and `<session_id>` are filled in; braces stand for themselves, as a Redis
    hash tag: `lens:{all}:events` is one stream for all sessions."""
    format: EntryFormat = EntryFormat.PLAIN
    """`plain`, or `cloudevents`: the attributes of CloudEvents 1.0 as `ce_...`, beside all of the plain fields. So what
    reads the one reads the other, and it may be changed at any time. Takes some 230 bytes more for each entry, and half
    to all of Redis's time for a commit once more."""
    routes: Routes = Field(default={})
    """Other streams for some types: globs such as `inference.*`, each with the template of a key that has the same text
    in braces. The first that fits counts; what none fits goes to `key`. An event stands in one stream alone, `seq`
    counts through all of a session's, markers stand in each. In the environment JSON. Where the order matters write a
    list, `[{glob: key}, ...]`: Helm sorts a mapping. At most 12 keys more, since a commit has room for no others."""
    max_length: int | None = Field(default=None, ge=1, le=COUNTED)
    """Trim to about this many entries after each commit. Unread entries go too, so leave it out where memory allows, or
    set `keep_unread`."""
    max_age_seconds: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """Trim entries older than about this."""
    keep_unread: bool = False
    """Trim by `max_length` and `max_age_seconds` only what every consumer group has read and acknowledged. A group
    counts from `XGROUP CREATE` on; while a stream has none, nothing is known to be unread, and the limits hold as they
    are. Off by default, since a group that nobody reads any more then keeps everything: see `hard_max_length`."""
    hard_max_length: int | None = Field(default=None, ge=1, le=COUNTED)
    """With `keep_unread`: about this many entries at most, unread or not. What it cuts unread is counted
    (`unread_trimmed_total`), and an alert tells. None by default: no unread entry is ever trimmed, and when Redis is
    full the worker stops reading, which loses nothing while the API keeps its history. Choose what Redis can hold."""
    markers: bool = True
    """Write `bridge.gap` and `bridge.session.ended` entries into the stream."""
    max_dead_letters: int = Field(default=10_000, ge=1, le=COUNTED)
    """Cap of the dead-letter stream, in entries."""
    max_dead_letter_bytes: int = Field(default=64 * KIB, ge=0, le=16 * MIB)
    """How much of an undeliverable event a dead letter keeps."""


class EventsSettings(Section):
    """Which events are published. The rest moves the place on and is counted, as `filtered`."""

    include: Annotated[tuple[str, ...], Field(min_length=1), globs(SomeGlobs)] = ("*",)
    """Types to publish, by globs such as `inference.*`: a list, or in the environment also `a,b`. `*` is all."""
    exclude: Annotated[tuple[str, ...], globs(Globs)] = ()
    """Types not to publish, though `include` names them. What is no event becomes a dead letter all the same."""
    strict_json: bool = False
    """Dead-letter what RFC 8259 forbids and many servers send all the same: NaN, Infinity, bytes that are not UTF-8, a
    byte order mark. Off, JSON is what Python's own `json` reads, and readers in other languages may trip over it. What
    the RFC permits is published: halves of surrogate pairs as `\\ud800`, equal names, numbers that no double holds."""


class DiscoverySettings(Section):
    """Sessions that nobody names: those that the API lists. Each worker asks for itself."""

    enabled: bool = False
    """Read the sessions that `/lens/sessions/metadata` lists, beside those of `sessions` and those that were added at
    run time; what is named there is not read twice. Off, since the list is that of the key's whole organisation."""
    lens_ids: Annotated[tuple[str, ...], Words] = ()
    """Only sessions of these lenses; none: of all. In the environment also `lns-a,lns-b`."""
    statuses: Annotated[tuple[str, ...], Words] = ()
    """Begin only with sessions in one of these statuses, e.g. `RUNNING`, in any spelling of the API; none: in all but
    `FAILED` and `DESTROYED`. One that was begun with is read on whatever its status becomes, until it is over."""
    name: Annotated[str, AfterValidator(name_template)] = "<session_id>"
    """Template of the stable name. `<session_id>` and `<lens_id>` are filled in. With `<lens_id>` alone the stream goes
    on with the next session of a lens; of several at a time one is read, and the others are told of."""
    interval_seconds: Annotated[float, Field(ge=1, le=3600)] = 15.0
    """How often the API is asked. Where it does not answer, or limits the rate, the last list stays, and it is asked
    again after twice as long each time, or as long as it says."""


class RetentionSettings(Section):
    """How long something is kept of what is over."""

    ended_seconds: Annotated[float, Field(gt=0, le=30 * 86_400)] = 3600.0
    """How long a discovered session is kept that the API no longer lists: a list may lack one for a while, and its end
    should be seen. Then it is asked after by its id, and let go of; its stream and its place stay in Redis."""


class CommitSettings(Section):
    """One atomic step: a batch of entries and the place after them."""

    max_events: int = Field(default=1000, ge=1, le=1500)
    """Largest batch. Redis runs a batch as one script and serves nobody else meanwhile: 1,000 of
    250 bytes take about 5 ms, and 900 KB of larger ones 2 ms; one of 8 MB, which goes alone, 35 ms."""
    max_bytes: int = Field(default=MIB, ge=KIB, le=64 * MIB)
    """Largest batch in bytes; one larger event goes alone."""
    in_flight: int = Field(default=2, ge=1, le=8)
    """How many batches of a session may be under way at once, so that Redis works while the next one is prepared. Each
    names the one that it follows, so none can land without that; more than two bring next to nothing."""
    buffer_events: int = Field(default=2_000, ge=1, le=COUNTED)
    """Events kept while Redis is away or slow. Beyond it reading stops and TCP pushes back."""
    buffer_bytes: int = Field(default=2 * MIB, ge=KIB, le=COUNTED)
    """The same in bytes; one larger event is let in when the buffer is empty."""


class DedupeSettings(Section):
    """How replays are recognised."""

    window_events: int = Field(default=2048, ge=0, le=1_000_000)
    """How many of the last events are remembered, in Redis and in memory. A server that replays more than this on a
    reconnect brings duplicates, which are counted as `replay_overruns_total`."""


class LeaseSettings(Section):
    """Who reads a session when there are several workers."""

    ttl_seconds: Annotated[float, Field(ge=1, le=3600)] = 15.0
    """How long a dead worker's sessions wait. No event depends on it: only the fencing token says who writes."""
    poll_seconds: Annotated[float, Field(ge=0.05, le=60)] = 0.5
    """How often a worker looks for sessions without an owner; a graceful handover takes about this long."""


class SessionSettings(Section):
    """One lens session."""

    session_id: Name
    """The id that the lens API gave."""
    name: Name = Field(default_factory=lambda known: known.get("session_id", ""))
    """Stable name for consumers: give a new session the old name and they keep their stream key. Default: its id."""


class SessionUnderName(Section):
    """One lens session, whose name stands in front of it."""

    session_id: Name
    """The id that the lens API gave."""


SessionInput = str | list[str | SessionSettings] | dict[Name, Name | SessionUnderName]


class Settings(BaseSettings):
    """The whole configuration. ``Settings(...)`` itself takes its arguments and defaults only."""

    model_config = SettingsConfigDict(extra="forbid", frozen=True)

    source: SourceSettings = SourceSettings()
    redis: RedisSettings = RedisSettings()
    stream: StreamSettings = StreamSettings()
    events: EventsSettings = EventsSettings()
    discovery: DiscoverySettings = DiscoverySettings()
    retention: RetentionSettings = RetentionSettings()
    commit: CommitSettings = CommitSettings()
    dedupe: DedupeSettings = DedupeSettings()
    lease: LeaseSettings = LeaseSettings()
    worker: WorkerSettings = Field(default_factory=lambda: WorkerSettings())  # a new random id each time
    admin: AdminSettings = AdminSettings()
    metrics: MetricsSettings = MetricsSettings()
    tracing: TracingSettings = TracingSettings()
    serve: ServeSettings = ServeSettings()
    log: LogSettings = LogSettings()
    sessions: Annotated[
        tuple[SessionSettings, ...], BeforeValidator(session_list, json_schema_input_type=SessionInput)
    ] = ()
    """The sessions to read. A list of ids or of `name` and `session_id`, or a mapping of name to id or `session_id`; in
    the environment also `lsn-a,lsn-b` or `name=lsn-a,…`. A worker without any stands by."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take the arguments only: ``loading`` merges the places, and finds unknown variables, which others skip."""
        return (init_settings,)
