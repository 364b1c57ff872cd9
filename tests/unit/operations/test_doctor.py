"""What the doctor makes of what it has seen: pure judgements, and the words for them."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import ConfigurationError
from bridge.model.keys import session_keys
from bridge.model.place import Session
from bridge.model.redis_address import Endpoint, Topology, redis_address
from bridge.operations.doctor.channel import Heard, channel_line, outputs_of, session_lines, stream_line
from bridge.operations.doctor.fitness import (
    certificate_line,
    clock_line,
    date_in,
    durability_lines,
    sentinel_line,
    server_lines,
    slots_line,
)
from bridge.operations.doctor.lines import Level, Line, as_json, fault, from_words, ok, text_of, verdict, warn, worst
from bridge.operations.doctor.permissions import (
    Refusal,
    cleaning,
    everywhere,
    in_workers_slot,
    keeping_unread,
    laying_out,
    of_session,
    permission_lines,
)
from bridge.operations.doctor.services import service_lines
from bridge.operations.doctor.trial import throwaway
from bridge.settings import DurabilityLevel, RedisSettings, Settings
from bridge.store.nodes.sentinel import Vote
from bridge.store.nodes.server import ServerFacts
from bridge.store.nodes.slots import SlotMap, slot_of
from tests.support.permissions import DURABLE, FACTS, KEEPING, TOPOLOGIES, WORKER, commands_of

PROJECT = Path(__file__).parents[3]
HERE, THERE = Endpoint("here", 6379), Endpoint("there", 6379)
NAMES = st.from_regex(r"[A-Za-z0-9._:-]{1,20}", fullmatch=True)
KEYS = session_keys("lens:{<name>}:events", Session(name="cam", session_id="lsn-1"))


def row(**fields: Any) -> bytes:
    """An answer of the metadata endpoint with one session."""
    return json.dumps([{"session_id": "lsn-1", "session_status": "SESSION_STATUS_RUNNING", **fields}]).encode()


# Lines


def test_a_line_says_how_it_is_what_was_seen_and_what_to_do() -> None:
    """In one line where nobody says how wide the screen is."""
    assert text_of(ok("redis.clock", "in  step\nhere")) == "ok     redis.clock        in step here"
    assert text_of(fault("redis.full", "no room", "raise it")) == "fault  redis.full         no room - raise it"


@given(st.text(max_size=300), st.integers(46, 200))
def test_on_a_terminal_lines_are_broken_to_its_width_and_stand_under_each_other(words: str, columns: int) -> None:
    """A word that is longer than the screen stays whole: it may be a path to copy."""
    first, *more = text_of(warn("redis.memory", words), columns=columns).splitlines() or [""]
    longest = max(map(len, words.split()), default=0)
    assert all(len(line) <= max(columns, 26 + longest) for line in (first, *more))
    assert all(line.startswith(" " * 26) for line in more)


def test_the_words_of_an_error_are_parted_into_what_is_so_and_what_to_do() -> None:
    """At the last dash; where there is none, all of it is what is so."""
    line = from_words(Level.FAULT, "x", "a - b - do this")
    assert (line.detail, line.remedy) == ("a - b", "do this")
    line = from_words(Level.FAULT, "x", "a")
    assert (line.detail, line.remedy) == ("a", "")


def test_the_verdict_counts_and_names_where_to_begin() -> None:
    """The worst of all lines is that of the whole."""
    one, two, three = ok("a", ""), warn("b", ""), fault("c", "", "mend it")
    assert (verdict([one]), worst([one])) == ("no fault found", Level.OK)
    assert (verdict([one, two]), worst([two, one])) == ("no fault found, 1 warning", Level.WARN)
    assert (verdict([two, three, two, three]), worst([three, two])) == (
        "2 faults, 2 warnings; begin with c",
        Level.FAULT,
    )
    told = as_json([three])
    assert told["verdict"] == "fault"
    assert told["lines"] == [{"level": "fault", "check": "c", "detail": "", "remedy": "mend it"}]


def test_the_picture_shows_lines_as_they_are_told() -> None:
    """Of a check that went, or was named anew, a new one is drawn: make picture."""
    document = ElementTree.parse(PROJECT / "config" / "doctor.svg")
    shown = "".join(document.getroot().itertext()).replace("\xa0", " ")
    checks = set(re.findall(r"^(?:ok|warn|fault) +([a-z_.]+) ", shown, re.MULTILINE))
    source = "\n".join(path.read_text() for path in (PROJECT / "bridge").rglob("*.py"))
    assert len(checks) > 10
    assert {
        check for check in checks if f'"{check}"' not in source and f'"{check.partition(".")[2]}"' not in source
    } == set()


# What flows


@pytest.mark.parametrize(
    ("heard", "before", "after", "level"),
    [
        (Heard(seconds=2, first_seconds=0, frames=3, events=1), 1, 2, Level.OK),
        (Heard(seconds=2, first_seconds=0, frames=3), 1, 2, Level.FAULT),
        (Heard(seconds=2, first_seconds=0, frames=3), 2, 2, Level.OK),
        (Heard(seconds=2, first_seconds=0, frames=3), None, 2, Level.WARN),
        (Heard(seconds=2, reader="w"), 1, 2, Level.WARN),
        (Heard(seconds=2, reader="w", events=5), 1, 2, Level.OK),
        (Heard(seconds=2), 1, 2, Level.WARN),
        (Heard(seconds=2), None, None, None),
    ],
)
def test_the_channel_is_wrong_where_outputs_grow_and_only_heartbeats_come(
    heard: Heard, before: int | None, after: int | None, level: Level | None
) -> None:
    """Of a worker that is watched it is no more than likely: it may be late."""
    line = channel_line("cam", heard, before, after)
    assert (line.level if line else None) is level
    assert line is None or line.check == "api.channel"


def test_a_stream_without_a_frame_is_a_warning_with_how_it_ended() -> None:
    """One that opens at all is no fault: a model that warms up is silent."""
    for seconds, words in ((0.2, "200 ms"), (0.9996, "1000 ms"), (1.0, "1.0 s"), (12.34, "12.3 s")):
        line = stream_line("cam", Heard(seconds=20, first_seconds=seconds, frames=1))
        assert (line.level, line.detail) == (Level.OK, f"cam: the first frame came after {words}")
    assert "closed again without a frame: reset" in stream_line("cam", Heard(seconds=1, closed="reset")).detail
    assert "no frame came within 10 s" in stream_line("cam", Heard(seconds=10)).detail


@pytest.mark.parametrize(
    ("told", "outputs"), [(3, 3), ("12", 12), (True, None), (None, None), ("x", None), (1.5, None)]
)
def test_the_number_of_outputs_is_read_as_servers_write_it(told: object, outputs: int | None) -> None:
    """Of another session nothing is known."""
    assert outputs_of(row(num_outputs=told), "lsn-1") == outputs
    assert outputs_of(row(num_outputs=told), "lsn-2") is None
    assert outputs_of(b"no json", "lsn-1") is None


def test_sessions_that_are_not_listed_or_over_are_named() -> None:
    """And an answer that is no list is the fault of the address."""
    assert [line.level for line in session_lines(row(), {"lsn-1": "cam"})] == [Level.OK]
    (line,) = session_lines(row(), {"lsn-1": "cam", "lsn-2": "yard"})
    assert (line.level, "yard (lsn-2)" in line.detail) == (Level.FAULT, True)
    (line,) = session_lines(json.dumps([{"session_id": "lsn-250341"}]).encode(), {"lsn-250314": "yard"})
    assert line.detail.endswith("; did you mean lsn-250341?")
    many = {f"lsn-{name * 6}": name for name in "abcd"}
    listed = json.dumps([{"session_id": f"{id}x"} for id in many]).encode()
    (line,) = session_lines(listed, many)
    assert line.detail.endswith("among 4 active sessions; did you mean lsn-aaaaaax, lsn-bbbbbbx and lsn-ccccccx?")
    (line,) = session_lines(row(session_status="6"), {"lsn-1": "cam"})
    assert (line.level, "cam (lsn-1) is 6" in line.detail) == (Level.WARN, True)
    (line,) = session_lines(b"<html>", {"lsn-1": "cam"})
    assert (line.level, "source.base_url" in line.remedy) == (Level.FAULT, True)
    assert list(session_lines(b"[]", {})) == []


# What servers are


def test_room_replicas_and_sizes_are_judged_by_the_settings() -> None:
    """What findings say of a server alone is passed on with its remedy."""
    settings = Settings()
    good = ServerFacts(where="h:1", role="master", max_memory_bytes=1000, used_memory_bytes=100)
    assert [line.check for line in server_lines(good, settings)] == ["redis.server", "redis.memory"]
    assert [line.detail for line in server_lines(good, settings)][1] == "h:1: 10% of 1,000 bytes in use"
    unbound = ServerFacts(where="h:1", max_memory_bytes=0, used_memory_bytes=100)
    assert [line.detail for line in server_lines(unbound, settings)][1] == "h:1: 100 bytes in use, maxmemory not set"
    full = ServerFacts(where="h:1", role="slave", max_memory_bytes=1000, used_memory_bytes=1000)
    told = {line.check: line for line in server_lines(full, settings)}
    assert {"redis.server", "redis.replica", "redis.full"} == told.keys()
    assert told["redis.full"].level is Level.FAULT
    small = ServerFacts(where="h:1", max_value_bytes=4 * 1024 * 1024)
    assert "redis.small_values" in {line.check for line in server_lines(small, settings)}


@pytest.mark.parametrize(
    ("level", "facts", "faulty"),
    [
        (DurabilityLevel.MEMORY, {"replicas": 0, "aof_fsync": ""}, False),
        (DurabilityLevel.REPLICATED, {"replicas": 0}, True),
        (DurabilityLevel.REPLICATED, {"replicas": 1}, False),
        (DurabilityLevel.REPLICATED, {}, False),
        (DurabilityLevel.FSYNCED, {"version": (7, 0, 15), "family": "Redis", "aof_fsync": "always"}, True),
        (DurabilityLevel.FSYNCED, {"version": (7, 1), "family": "Redis", "aof_fsync": "always"}, True),
        (DurabilityLevel.FSYNCED, {"version": (8, 0), "family": "Redis", "aof_fsync": ""}, True),
        (DurabilityLevel.FSYNCED, {"version": (7, 2), "family": "Redis", "aof_fsync": "everysec"}, False),
        (DurabilityLevel.FSYNCED, {}, False),
    ],
)
def test_a_durability_that_cannot_be_had_is_a_fault(
    level: DurabilityLevel, facts: dict[str, Any], faulty: bool
) -> None:
    """As far as the server tells; where it does not, the trial does."""
    settings = RedisSettings(durability=level)
    assert bool(list(durability_lines(settings, ServerFacts(where="h:1", **facts)))) is faulty


def test_slots_that_nobody_serves_are_counted() -> None:
    """All of them, or a fault."""
    half = [0, 8191, [b"here", 1, b"x"]]
    assert slots_line(SlotMap([half, [8192, 16383, [b"there", 1, b"y"]]], HERE)).level is Level.OK
    line = slots_line(SlotMap([half], HERE))
    assert (line.level, line.detail.startswith("8,192 of 16,384 slots")) == (Level.FAULT, True)


@pytest.mark.parametrize(
    ("named", "silent", "level"),
    [
        ([HERE, HERE, HERE], 0, Level.OK),
        ([HERE, HERE], 1, Level.WARN),
        ([HERE, HERE, THERE], 0, Level.WARN),
        ([HERE], 2, Level.FAULT),
        ([HERE, THERE], 0, Level.FAULT),
        ([], 3, Level.FAULT),
    ],
)
def test_most_sentinels_have_to_agree(named: list[Endpoint], silent: int, level: Level) -> None:
    """Those that are silent count."""
    line = sentinel_line([Vote(one) for one in named], [f"s{number} hangs" for number in range(silent)], "mymaster")
    assert (line.level, line.check) == (level, "redis.sentinel")
    assert ("others name there:6379" in line.detail) is (named[2:] == [THERE])
    assert all(f"s{number} hangs" in line.detail for number in range(silent))


@pytest.mark.parametrize(("ahead", "level"), [(0, Level.OK), (5, Level.OK), (-6, Level.WARN), (3600, Level.WARN)])
def test_a_clock_that_is_off_by_more_than_five_seconds_is_a_warning(ahead: float, level: Level) -> None:
    """It says which one is ahead."""
    line = clock_line("redis.clock", "Redis", ahead)
    assert line.level is level
    assert ("behind" in line.detail) is (ahead < -5)


def test_a_certificate_that_ends_soon_is_a_warning() -> None:
    """Two weeks are time enough to renew it."""
    now = datetime(2026, 1, 1, tzinfo=UTC)
    for days, level in ((90, Level.OK), (15, Level.OK), (13, Level.WARN), (-1, Level.WARN)):
        assert certificate_line("api.tls", "h:443", "TLSv1.3", now + timedelta(days=days), now).level is level
    assert certificate_line("api.tls", "h:443", "TLSv1.3", None, now).level is Level.OK


def test_an_http_date_is_read_and_what_is_none_is_not() -> None:
    """A header that is missing is empty."""
    assert date_in("Thu, 01 Jan 1970 00:01:00 GMT") == 60
    assert date_in("") is date_in("yesterday") is None


@pytest.mark.parametrize(
    ("url", "name", "levels"),
    [
        ("rediss://x.abc.ng.0001.use1.cache.amazonaws.com", "ElastiCache,", ["ok"]),
        ("rediss+cluster://x.serverless.use1.cache.amazonaws.com", "ElastiCache Serverless,", ["ok"]),
        ("rediss://x.serverless.use1.cache.amazonaws.com", "ElastiCache Serverless,", ["ok", "warn"]),
        ("rediss+cluster://clustercfg.x.memorydb.us-east-1.amazonaws.com", "MemoryDB,", ["ok"]),
        ("redis://x.upstash.io", "Upstash,", ["ok", "warn"]),
        ("rediss://x.eastus.redis.azure.net:6380", "Azure Managed Redis,", ["ok", "warn"]),
        ("rediss://x.eastus.redis.azure.net:10000", "Azure Managed Redis,", ["ok"]),
        ("redis://cache.amazonaws.com.example", "", []),
        ("unix:///run/redis.sock", "", []),
    ],
)
def test_managed_services_are_known_by_their_hosts(url: str, name: str, levels: list[str]) -> None:
    """What they publish, and what does not go with it."""
    lines = list(service_lines(redis_address(url)))
    assert [line.level.value for line in lines] == levels
    assert all(name in line.detail for line in lines[:1])


# What is permitted


def test_the_calls_that_are_tried_are_the_commands_that_are_documented() -> None:
    """A command that a worker comes to need is tried too."""
    calls = [
        *cleaning(KEYS),
        *laying_out(KEYS),
        *of_session(KEYS, "return 1", "sha"),
        *in_workers_slot("w"),
        *keeping_unread(KEYS),
    ]
    calls += [call for topology in Topology for level in DurabilityLevel for call in everywhere(topology, level)]
    tried = {Refusal(call=call, words="").command for call in calls}
    assert tried == commands_of(WORKER, *TOPOLOGIES.values(), *DURABLE, FACTS, KEEPING)


def test_what_is_lacking_is_told_as_the_rules_to_grant() -> None:
    """Commands, keys, and what only tells more of the server, each apart."""

    def told(*refusals: tuple[tuple[str, ...], str]) -> list[Line]:
        made = [Refusal(call=call, words=words) for call, words in refusals]
        return list(permission_lines(made, "bridge", 9, "asked"))

    assert [line.level for line in told()] == [Level.OK]
    command = "NOPERM this user has no permissions to run the 'xinfo' command"
    (line,) = told((("XINFO", "GROUPS", "k"), command), (("XADD", "k"), command), (("XADD", "l"), command))
    assert "lacks +xinfo|groups +xadd (" in line.detail
    assert line.remedy.startswith("ACL SETUSER bridge +xinfo|groups +xadd;")
    for words in (
        "NOPERM this user has no permissions to access one of the keys used as arguments",  # 6.2, 7.0
        "NOPERM No permissions to access a key",  # since 7.2
        "This user has no permissions to access the 'lens:{a}:b' key",  # of ACL DRYRUN
    ):
        (line,) = told((("GET", "lens:{a}:b"), words))
        assert (line.level, "lens:{a}:b" in line.detail, "~lens:*" in line.remedy) == (Level.FAULT, True, True)
    (warned, well) = told((("CONFIG", "GET", "appendfsync"), command))
    assert (warned.level, "+config|get" in warned.detail, well.level) == (Level.WARN, True, Level.OK)


@given(
    st.sampled_from(
        ["lens:{<name>}:events", "lens:{all}:events", "events-<name>", "a:{<session_id>}", "x:<name>:{y}z"]
    ),
    NAMES,
    NAMES,
)
def test_throw_away_keys_stand_in_the_slot_of_the_session_and_are_nobody_elses(
    template: str, name: str, session_id: str
) -> None:
    """They begin as the session's own do, so that the same permissions cover them."""
    try:
        real = session_keys(template, Session(name=name, session_id=session_id))
    except ConfigurationError:
        return
    made = throwaway(real, "0123456789ab")
    ours = [made.events, made.dead_letter, made.state, made.seen, made.lease]
    theirs = [real.events, real.dead_letter, real.state, real.seen, real.lease]
    assert {slot_of(key) for key in ours} == {slot_of(real.state)}
    assert len(set(ours) - set(theirs)) == 5
    assert all(one.startswith(other) for one, other in zip(ours, theirs, strict=True))
