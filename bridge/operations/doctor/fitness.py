"""Whether servers and clocks fit: what they tell, and what the settings ask of them, to lines. Pure."""

from __future__ import annotations

import email.utils
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from bridge.operations.doctor.lines import Level, Line, fault, ok, warn
from bridge.settings import DurabilityLevel, RedisSettings, Settings
from bridge.store.nodes.sentinel import Vote, elected
from bridge.store.nodes.server import ServerFacts, Weight, findings, in_words
from bridge.store.nodes.slots import SLOTS, SlotMap

__all__ = [
    "certificate_line",
    "clock_line",
    "date_in",
    "durability_lines",
    "sentinel_line",
    "server_lines",
    "slots_line",
]

_LEVELS = {Weight.FAULT: Level.FAULT, Weight.WARNING: Level.WARN}
_WAITAOF_SINCE = (7, 2)
_CLOCKS_DIFFER_SECONDS = 5.0  # from where on a worker's log speaks of it too
_CERTIFICATE_DAYS = 14.0  # of life left, from where on somebody should see to it


def server_lines(facts: ServerFacts, settings: Settings) -> Iterator[Line]:
    """What a server that takes writes is, what speaks against it, and how much room it has."""
    yield ok("redis.server", f"{facts.where} is {in_words(facts)}")
    found = list(findings(facts))
    for one in found:
        yield Line(
            level=_LEVELS[one.weight],
            check=f"redis.{one.word}",
            detail=f"{facts.where}: {one.detail}",
            remedy=one.advice,
        )
    if facts.used_memory_bytes is not None and not {"full", "nearly_full"} & {one.word for one in found}:
        used, most = facts.used_memory_bytes, facts.max_memory_bytes
        room = f"{used / most:.0%} of {most:,} bytes in use" if most else f"{used:,} bytes in use, maxmemory not set"
        yield ok("redis.memory", f"{facts.where}: {room}")
    largest, wanted = facts.max_value_bytes, settings.source.max_event_bytes
    if largest is not None and largest < wanted and "small_values" not in {one.word for one in found}:
        yield warn(
            "redis.small_values",
            f"{facts.where}: proto-max-bulk-len {largest:,} is less than source.max_event_bytes {wanted:,}; what is "
            "larger becomes a dead letter",
            "raise the first, or lower the second",
        )


def durability_lines(redis: RedisSettings, facts: ServerFacts) -> Iterator[Line]:
    """Where a server cannot give what ``redis.durability`` asks for, as far as it tells; a trial tells for certain."""
    asked = f"redis.durability {redis.durability.value}"
    if redis.durability is DurabilityLevel.REPLICATED and (facts.replicas or 0) < redis.durability_replicas:
        if facts.replicas is None:
            return
        detail = f"{asked} waits for {redis.durability_replicas} replicas; {facts.where} has {facts.replicas}"
        remedy = "add replicas, or lower redis.durability_replicas or redis.durability"
        yield fault("redis.durability", detail, remedy)
    if redis.durability is DurabilityLevel.FSYNCED:
        if facts.version and facts.version[:2] < _WAITAOF_SINCE and facts.family in (None, "Redis"):
            remedy = "upgrade it, or set redis.durability to replicated or memory"
            yield fault("redis.durability", f"{asked} needs Redis 7.2 or newer; {facts.where} is older", remedy)
        elif facts.aof_fsync == "":
            detail = f"{asked} needs an append-only file; {facts.where} has none"
            yield fault("redis.durability", detail, "set appendonly yes")


def slots_line(slots: SlotMap) -> Line:
    """Whether all slots of a cluster are served."""
    covered, nodes = slots.covered(), len(slots.owners())
    if covered == SLOTS:
        return ok("redis.cluster", f"all {SLOTS:,} slots are served, by {nodes} primaries")
    detail = f"{SLOTS - covered:,} of {SLOTS:,} slots are served by nobody, and the sessions there wait"
    return fault("redis.cluster", detail, "bring the missing primaries back, or redis-cli --cluster fix")


def sentinel_line(votes: Sequence[Vote], silent: Sequence[str], service: str) -> Line:
    """Whom the Sentinels name. ``silent``: why others gave no answer, in words."""
    all_of_them = len(votes) + len(silent)
    winner = elected(votes, all_of_them)
    named = sorted({vote.endpoint for vote in votes})
    if winner is None:
        words = f"{' and '.join(map(str, named))} are named" if named else "nobody is named"
        detail = f"most Sentinels agree on no primary of {service}: {words}"
        if silent:
            detail += f"; {'; '.join(silent)}"
        return fault("redis.sentinel", detail, "name all Sentinels in redis.url, and ask one: SENTINEL MASTERS")
    agreed = sum(vote.endpoint == winner for vote in votes)
    detail = f"{agreed} of {all_of_them} Sentinels name {winner} as the primary of {service}"
    if agreed == all_of_them:
        return ok("redis.sentinel", detail)
    others = [f"others name {' and '.join(str(one) for one in named if one != winner)}"] if len(named) > 1 else []
    remedy = "mend those, or take them out of redis.url"
    return warn("redis.sentinel", "; ".join([detail, *others, *silent]), remedy)


def clock_line(check: str, whose: str, ahead_seconds: float) -> Line:
    """``ahead_seconds``: by how much the other clock is ahead of this machine's, as far as that is certain."""
    if abs(ahead_seconds) <= _CLOCKS_DIFFER_SECONDS:
        return ok(check, f"{whose} and this machine agree on the time")
    way = "ahead of" if ahead_seconds > 0 else "behind"
    detail = (
        f"the clock of {whose} is {abs(ahead_seconds):,.0f} s {way} this machine's; events keep their order, ages lie"
    )
    return warn(check, detail, "let NTP set both clocks")


def certificate_line(check: str, where: str, tls: str, good_until: datetime | None, now: datetime) -> Line:
    """TLS was spoken, in the version ``tls``; how long its certificate is good for, as far as that is known."""
    left = (good_until - now).total_seconds() / 86_400 if good_until else None
    life = f", a certificate for {left:,.0f} more days" if left is not None else ""
    if left is not None and left < _CERTIFICATE_DAYS:
        return warn(check, f"{where} speaks {tls}{life}", "renew that certificate")
    return ok(check, f"{where} speaks {tls}{life}")


def date_in(header: str) -> float | None:
    """An HTTP date as Unix seconds; None for what is none."""
    try:
        moment = email.utils.parsedate_to_datetime(header)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
