"""What a server says of itself, and what a person is told about it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bridge.store.nodes.server import QUESTIONS, ServerFacts, Weight, facts_of, findings, in_words

SERVER = b"# Server\r\nredis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:8.0.1\r\n"
MEMORY = b"# Memory\r\nused_memory:1048576\r\nmaxmemory:104857600\r\nmaxmemory_policy:noeviction\r\n"
PERSISTENCE = b"aof_enabled:1\r\nrdb_last_bgsave_status:ok\r\naof_last_write_status:ok\r\n"
REPLICATION = b"role:master\r\nconnected_slaves:2\r\n"
WHOLE = dict(
    zip(
        QUESTIONS,
        (
            *(SERVER, MEMORY, PERSISTENCE, REPLICATION, [[b"evalsha", -3]]),
            *([b"appendfsync", b"everysec"], [b"save", b"3600 1"], [b"min-replicas-to-write", b"1"]),
            *([b"maxclients", b"10000"], [b"proto-max-bulk-len", b"536870912"]),
        ),
        strict=True,
    )
)
GOOD = facts_of("h:1", WHOLE)


def told(**changes: Any) -> list[tuple[str, str]]:
    """Weights and words of what is found in a good server with changes."""
    return [(one.weight.value, one.word) for one in findings(replace(GOOD, **changes))]


def test_all_that_a_server_tells_is_taken_in() -> None:
    """Valkey calls itself Redis 7.2.4, too."""
    assert ServerFacts(
        where="h:1",
        family="Valkey",
        version=(8, 0, 1),
        role="master",
        replicas=2,
        eviction="noeviction",
        max_memory_bytes=104_857_600,
        used_memory_bytes=1_048_576,
        aof_fsync="everysec",
        snapshots=True,
        replicas_to_write=1,
        max_clients=10_000,
        max_value_bytes=536_870_912,
        runs_lua=True,
        failing_writes=False,
    ) == (GOOD)
    assert told() == []
    assert in_words(GOOD) == (
        "Valkey 8.0.1, master, 2 replicas, append-only file, fsync everysec and snapshots, "
        "maxmemory 104,857,600 bytes, eviction noeviction"
    )


def test_of_a_server_that_tells_nothing_nothing_is_said() -> None:
    """A managed service, or a user without the permission."""
    silent = facts_of("h:1", {})
    assert silent == ServerFacts(where="h:1")
    assert list(findings(silent)) == []
    assert in_words(silent) == "Redis of an unknown version, role unknown, persistence unknown, eviction unknown"


@pytest.mark.parametrize(
    ("reply", "runs"), [([[b"evalsha", -3]], True), ([None], False), ([[]], False), ([], None), (b"?", None)]
)
def test_whether_it_runs_lua_is_told_by_its_list_of_commands(reply: object, runs: bool | None) -> None:
    """A null, or an empty list, stands for a command that it does not know."""
    assert facts_of("h:1", {("COMMAND", "INFO", "EVALSHA"): reply}).runs_lua is runs


@pytest.mark.parametrize(
    ("policy", "max_memory", "weight", "what"),
    [
        ("allkeys-lru", 1, Weight.FAULT, "deletes streams and committed places once its memory is full"),
        ("allkeys-lfu", 0, Weight.WARNING, "deletes streams and committed places as soon as somebody sets maxmemory"),
        ("volatile-ttl", 1, Weight.WARNING, "deletes leases once its memory is full"),
    ],
)
def test_an_evicting_policy_is_shouted_about(policy: str, max_memory: int, weight: Weight, what: str) -> None:
    """What it takes, when, and what to do."""
    (found,) = findings(replace(GOOD, eviction=policy, max_memory_bytes=max_memory, used_memory_bytes=0))
    assert (found.weight, found.word) == (weight, "evicting")
    assert found.detail == f"maxmemory-policy {policy} {what}"
    assert "noeviction" in found.advice


def test_each_thing_that_does_not_fit_has_its_word() -> None:
    """The worst first, where there are several."""
    assert told(runs_lua=False) == [("fault", "no_scripting")]
    assert told(version=(6, 0, 16)) == [("fault", "too_old")]
    assert told(version=(6, 2)) == []
    assert told(role="slave") == [("fault", "replica")]
    assert told(failing_writes=True) == [("fault", "not_persisting")]
    assert told(aof_fsync="") == []  # its replicas have it
    assert told(aof_fsync="", replicas=0) == [("warning", "not_durable")]
    assert told(aof_fsync="no", replicas=0) == [("warning", "not_durable")]
    assert told(aof_fsync="always", replicas=0) == []
    assert told(replicas_to_write=0) == [("warning", "writes_alone")]
    assert told(replicas_to_write=0, replicas=0) == []
    assert told(max_value_bytes=1024) == [("warning", "small_values")]
    assert told(max_clients=99) == [("warning", "few_clients")]
    assert [weight for weight, _ in told(max_clients=1, runs_lua=False)] == ["fault", "warning"]


@pytest.mark.parametrize(
    ("used", "most", "expected"),
    [
        (799, 1000, []),
        (800, 1000, [("warning", "nearly_full")]),
        (999, 1000, [("warning", "nearly_full")]),
        (1000, 1000, [("fault", "full")]),
        (1000, 0, []),
        (None, 1000, []),
        (1000, None, []),
    ],
)
def test_memory_that_runs_out_is_told_before_it_has(
    used: int | None, most: int | None, expected: list[tuple[str, str]]
) -> None:
    """From four fifths on; without a limit there is nothing to compare with."""
    assert told(used_memory_bytes=used, max_memory_bytes=most) == expected


def test_a_restart_loses_what_is_not_on_disk() -> None:
    """All, or what came since the last snapshot."""
    for snapshots, lost in ((True, "since the last snapshot"), (None, "since the last snapshot"), (False, "all that")):
        (found,) = findings(replace(GOOD, aof_fsync="", replicas=0, snapshots=snapshots))
        assert lost in found.detail
