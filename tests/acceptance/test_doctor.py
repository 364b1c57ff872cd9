"""`lens-bridge doctor` before real faults: each is told in a line that names it, with what to do; exit code 3."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from bridge.lab.redis_server import RedisServer
from bridge.lab.simulator import Endpoint, Profile, Refusal, Simulator
from bridge.lab.simulator.lens.session import LensStatus
from bridge.store.nodes.slots import slot_of
from tests.support.doctor import Told, doctor
from tests.support.fakes import listening
from tests.support.http_proxy import http_proxy
from tests.support.permissions import FACTS, WORD, WORKER, rules_of
from tests.support.steering import steer
from tests.support.topology.certificates import Authority, Rotating, needs_tls
from tests.support.topology.clustered import Clustered
from tests.support.topology.watched import Watched, asked
from tests.support.worker_rig import Rig

NOWHERE = "redis://127.0.0.1:1/0"  # nothing listens on port 1
SESSION = "lsn-doctor"
RULES = rules_of(WORKER, FACTS)


@pytest_asyncio.fixture
async def durable() -> AsyncIterator[RedisServer]:
    """A Redis that nothing speaks against."""
    async with RedisServer(appendonly=True) as server:
        yield server


async def of_redis(server: RedisServer | str, *arguments: str, **settings: Any) -> Told:
    """What is told of Redis alone."""
    url = server if isinstance(server, str) else server.url
    return await doctor("--no-api", *arguments, redis__url=url, **settings)


# All is well


async def test_where_all_is_well_it_says_so_and_leaves_nothing_behind(
    durable: RedisServer, simulator: Simulator
) -> None:
    """Exit code 0; no key is left, none of the session's was made, and the stream was opened once and closed."""
    session = simulator.create_session(SESSION)
    session.play(Profile.SIZED, rate=20)
    told = await doctor(redis__url=durable.url, source__base_url=simulator.base_url, sessions=f"cam={SESSION}")
    assert told.code == 0, told.output
    assert told.only("warn") | told.only("fault") == set(), told.output
    assert {"configuration", "redis.network", "redis.server", "redis.memory", "redis.clock"} <= told.only("ok")
    assert {"redis.permissions", "redis.commit", "redis.limits"} <= told.only("ok")
    assert {"api.proxy", "api.tcp", "api.key", "api.clock", "api.session", "api.stream", "api.channel"} <= told.only(
        "ok"
    )
    assert await asked(durable, "DBSIZE") == 0
    await session.wait_disconnected()
    assert len(session.connections) == 1


async def test_each_line_stands_there_as_soon_as_it_is_known_and_the_verdict_is_the_last(
    durable: RedisServer,
) -> None:
    """For a person: level, check, what is so, and what to do behind a dash."""
    told = await doctor("--no-api", json_wanted=False, redis__url=durable.url, sessions=SESSION)
    first, *_, blank, last = told.output.splitlines()
    assert first.startswith("ok     configuration      valid: ")
    assert (blank, last) == ("", "no fault found")
    assert told.errors == ""
    assert told.code == 0


async def test_a_session_that_a_worker_reads_is_left_to_it_and_the_worker_watched(
    own_rig: Rig, simulator: Simulator
) -> None:
    """A server may give each of two readers a part: so there is never a second one."""
    session = simulator.create_session(SESSION)
    session.play(Profile.SIZED, rate=20)
    await own_rig.worker(session).start()
    await own_rig.reaches(session, 1)
    settings: dict[str, Any] = {"redis__url": own_rig.server.url, "source__base_url": simulator.base_url}
    told = await doctor(sessions=SESSION, **settings)
    assert told.code == 0, told.output
    assert "is read by the worker worker-1" in told.words("ok", "api.stream")
    assert "the worker has published" in told.words("ok", "api.channel")
    told = await doctor("--session", SESSION, sessions=SESSION, **settings)
    assert "is read by the worker worker-1" in told.words("ok", "api.stream")
    assert session.peak_readers == 1
    session.pause()
    session.change(mailbox_only=True)
    session.play(Profile.SIZED, rate=20)
    told = await doctor("--wait", "2", sessions=SESSION, **settings)
    assert "while num_outputs rose" in told.words("warn", "api.channel")
    session.pause()
    session.change(mailbox_only=False)
    await own_rig.assert_kept(session)


async def test_keys_of_a_session_are_not_touched(durable: RedisServer, simulator: Simulator) -> None:
    """What stands there stands there afterwards, byte for byte, and nothing else does."""
    prefix = "lens:{cam}"
    async with Redis.from_url(durable.url) as client:
        await client.xadd(f"{prefix}:events", {"id": "1"})
        await client.hset(f"{prefix}:state:{SESSION}", mapping={"seq": "1", "token": "1-a", "owner": "somebody"})
        await client.set(f"{prefix}:lease:{SESSION}", "somebody", px=600_000)
        before = {key: await client.dump(key) for key in await client.keys("*")}
        told = await of_redis(durable, sessions=f"cam={SESSION}")
        assert told.code == 0, told.output
        assert {key: await client.dump(key) for key in await client.keys("*")} == before


# Redis


async def test_an_absent_redis_is_told_with_its_address() -> None:
    """And what needs it is left out."""
    told = await of_redis(NOWHERE)
    assert told.code == 3
    assert "127.0.0.1:1: Connection refused" in told.words("fault", "redis.network")
    assert "redis.url" in told.words("fault", "redis.network")
    assert {line["check"] for line in told.lines} == {"configuration", "redis.network"}


async def test_a_name_that_leads_nowhere_is_told_as_such() -> None:
    """It is not the port's fault."""
    told = await of_redis("redis://no-such-host.invalid:6379")
    assert told.code == 3
    assert "the name no-such-host.invalid leads nowhere" in told.words("fault", "redis.network")


async def test_a_wrong_password_is_told_and_shown_nowhere(durable: RedisServer) -> None:
    """Neither the wrong one nor the right one."""
    await asked(durable, "CONFIG", "SET", "requirepass", "a-right-password")
    told = await of_redis(durable, redis__password="a-wrong-password", sessions=SESSION)
    assert told.code == 3
    assert "redis.password" in told.words("fault", "redis.connection")
    assert "a-wrong-password" not in told.output + told.errors
    told = await of_redis(durable, redis__password="a-right-password", sessions=SESSION)
    assert told.code == 0, told.output
    assert "a-right-password" not in told.output + told.errors


async def test_no_password_where_one_is_asked_for_is_told(durable: RedisServer) -> None:
    """With the setting to put it into."""
    await asked(durable, "CONFIG", "SET", "requirepass", "a-right-password")
    told = await of_redis(durable, sessions=SESSION)
    assert told.code == 3
    assert "set redis.password or redis.password_file" in told.words("fault", "redis.connection")


@pytest.mark.parametrize("origin", ["password", "password_file"])
async def test_a_server_that_echoes_a_password_shows_it_nowhere(origin: str, tmp_path: Path) -> None:
    """One that does not know AUTH repeats what it was told."""
    file = tmp_path / "password"
    file.write_text("a-secret-password")
    given = {"password": "a-secret-password", "password_file": file}
    async with RedisServer(arguments=["--rename-command", "AUTH", ""]) as server:
        told = await of_redis(server, sessions=SESSION, **{f"redis__{origin}": given[origin]})
    assert told.code == 3
    assert "'**********'" in told.words("fault", "redis.connection")
    assert "a-secret-password" not in told.output + told.errors


async def test_a_read_only_replica_is_told() -> None:
    """By its role, and by the commit that it refuses."""
    async with RedisServer(appendonly=True) as primary, RedisServer(appendonly=True) as replica:
        await asked(replica, "REPLICAOF", "127.0.0.1", str(primary.port))
        told = await of_redis(replica, sessions=SESSION)
        assert told.code == 3
        assert "point redis.url at the primary" in told.words("fault", "redis.replica")
        assert "READONLY" in told.words("fault", "redis.commit")
        assert "redis.commit" not in told.only("warn"), "what was never written is not left behind"


@pytest.mark.parametrize(("policy", "level"), [("allkeys-lru", "fault"), ("volatile-ttl", "warn")])
async def test_an_evicting_policy_is_told(durable: RedisServer, policy: str, level: str) -> None:
    """A fault where it takes streams, a warning where it takes leases alone."""
    await asked(durable, "CONFIG", "SET", "maxmemory", "100mb")
    await asked(durable, "CONFIG", "SET", "maxmemory-policy", policy)
    told = await of_redis(durable, sessions=SESSION)
    assert told.code == (3 if level == "fault" else 0)
    assert "noeviction" in told.words(level, "redis.evicting")


async def test_a_redis_that_keeps_nothing_on_disk_is_told() -> None:
    """A warning: it works, until it is restarted."""
    async with RedisServer() as server:
        told = await of_redis(server, sessions=SESSION)
        assert told.code == 0
        assert "set appendonly yes" in told.words("warn", "redis.not_durable")


async def test_a_full_redis_is_told(durable: RedisServer) -> None:
    """Before anything has failed, and by the commit that it refuses."""
    async with Redis.from_url(durable.url) as client:
        await client.set("ballast", b"x" * 20_000_000)
    await asked(durable, "CONFIG", "SET", "maxmemory", "10mb")
    told = await of_redis(durable, sessions=SESSION)
    assert told.code == 3
    assert "raise maxmemory" in told.words("fault", "redis.full")
    assert "OOM" in told.words("fault", "redis.commit")
    await asked(durable, "CONFIG", "SET", "maxmemory", "25mb")
    told = await of_redis(durable, sessions=SESSION)
    assert told.code == 0
    assert "stream.max_length" in told.words("warn", "redis.nearly_full")


async def test_a_user_that_lacks_a_command_hears_which(durable: RedisServer) -> None:
    """Though it may not ask ACL DRYRUN; with the rule to grant."""
    lacking = ("+xadd", "+pexpire")
    await asked(durable, "ACL", "SETUSER", WORKER, "reset", *(rule for rule in RULES if rule not in lacking))
    url = durable.url.replace("://", f"://{WORKER}:{WORD}@")
    told = await of_redis(url, sessions=SESSION)
    assert told.code == 3
    assert f"ACL SETUSER {WORKER} +pexpire" in told.words("fault", "redis.permissions")
    assert await asked(durable, "DBSIZE") == 0, "who may not clean up writes nothing"
    await asked(durable, "ACL", "SETUSER", WORKER, "+pexpire")
    told = await of_redis(url, sessions=SESSION)
    assert f"user {WORKER} lacks +xadd" in told.words("fault", "redis.permissions")
    await asked(durable, "ACL", "SETUSER", WORKER, "+xadd")
    told = await of_redis(url, sessions=SESSION)
    assert told.code == 0, told.output
    assert "tried on throw-away keys" in told.words("ok", "redis.permissions")
    assert await asked(durable, "DBSIZE") == 0


async def test_a_user_without_the_keys_hears_which(durable: RedisServer) -> None:
    """The rule names them."""
    await asked(durable, "ACL", "SETUSER", WORKER, "reset", *RULES, "resetkeys", "~other:*")
    url = durable.url.replace("://", f"://{WORKER}:{WORD}@")
    told = await of_redis(url, sessions=SESSION)
    assert told.code == 3
    assert f"lens:{{{SESSION}}}:" in told.words("fault", "redis.permissions")
    assert f"ACL SETUSER {WORKER} ~lens:*" in told.words("fault", "redis.permissions")
    await asked(durable, "ACL", "SETUSER", WORKER, "~lens:*")
    for template, pattern in (("mine:{<name>}:events", "~mine:*"), ("mine:<name>", "~mine:*")):
        told = await of_redis(url, sessions=SESSION, stream__key=template)
        assert told.code == 3
        assert told.words("fault", "redis.permissions").endswith(f"ACL SETUSER {WORKER} {pattern}")
        assert await asked(durable, "DBSIZE") == 0


@pytest.mark.parametrize(("durability", "words"), [("replicated", "has 0"), ("fsynced", "redis.durability fsynced")])
async def test_a_durability_that_redis_cannot_give_is_told(durability: str, words: str) -> None:
    """No replica; nothing on disk, or a version without WAITAOF."""
    async with RedisServer() as server:
        told = await of_redis(server, sessions=SESSION, redis__durability=durability)
        assert told.code == 3
        assert words in told.words("fault", "redis.durability")


async def test_a_durability_that_redis_gives_is_measured() -> None:
    """A real replica has the commit."""
    async with RedisServer(appendonly=True) as primary, RedisServer(appendonly=True) as replica:
        await asked(replica, "REPLICAOF", "127.0.0.1", str(primary.port))
        async with asyncio.timeout(60):
            while (await asked(replica, "ROLE"))[3] != b"connected":
                await asyncio.sleep(0.05)
        told = await of_redis(primary, sessions=SESSION, redis__durability="replicated")
        assert told.code == 0, told.output
        assert "a commit is replicated within" in told.words("ok", "redis.durability")
        replica.pause()
        told = await of_redis(primary, sessions=SESSION, redis__durability="replicated")
        replica.resume()
        assert told.code == 3
        assert "0 of 1 replicas have it - look at" in told.words("fault", "redis.durability")


async def test_a_hung_redis_ends_the_examination_in_time(durable: RedisServer) -> None:
    """It accepts connections, and answers nothing."""
    durable.pause()
    try:
        told = await of_redis(durable, sessions=SESSION, redis__timeout_seconds=1)
    finally:
        durable.resume()
    assert told.code == 3
    assert "has not answered for 1 s" in told.words("fault", "redis.connection")


async def test_without_a_trial_nothing_is_written(durable: RedisServer) -> None:
    """Permissions are asked for all the same, where that can be asked."""
    told = await of_redis(durable, "--no-trial", sessions=SESSION)
    assert told.code == 0, told.output
    (line,) = told.of("redis.permissions")
    versions = await asked(durable, "INFO", "SERVER")
    asks = b"redis_version:6" not in versions
    assert "ACL DRYRUN" in line["detail"]
    assert line["level"] == ("ok" if asks else "warn")
    assert told.of("redis.commit") == []
    stats = (await asked(durable, "INFO", "COMMANDSTATS")).decode()
    assert not any(f"cmdstat_{name}:" in stats for name in ("set", "hset", "xadd", "del", "evalsha"))


async def test_redis_behind_a_socket_is_examined(tmp_path: Path) -> None:
    """As any other; a path that leads nowhere is told."""
    path = tmp_path / "redis.sock"
    async with RedisServer(appendonly=True, arguments=["--unixsocket", str(path)]):
        told = await of_redis(f"unix://{path}", sessions=SESSION)
        assert told.code == 0, told.output
        assert "redis.commit" in told.only("ok")
    told = await of_redis(f"unix://{path}", sessions=SESSION)
    assert told.code == 3
    assert str(path) in told.words("fault", "redis.network")


async def test_tls_to_a_plain_port_is_told(durable: RedisServer) -> None:
    """It is the scheme."""
    told = await of_redis(durable.url.replace("redis:", "rediss:"), sessions=SESSION, redis__connect_timeout_seconds=1)
    assert told.code == 3
    assert "write redis:// in redis.url" in told.words("fault", "redis.connection")


@needs_tls
async def test_no_tls_to_a_tls_port_is_told_and_with_it_all_is_well(tmp_path: Path) -> None:
    """And a certificate that nobody vouches for."""
    async with Rotating(tmp_path / "rotating") as rotating:
        ours, theirs = Authority(tmp_path / "ours"), Authority(tmp_path / "theirs", "somebody else")
        await rotating.serve(ours)
        rotating.mount(ours)
        told = await of_redis(rotating.url.replace("rediss:", "redis:"), sessions=SESSION)
        assert told.code == 3
        assert "rediss://" in told.words("fault", "redis.connection")
        told = await of_redis(rotating.url, sessions=SESSION, redis__ca_file=theirs.file)
        assert told.code == 3
        assert "redis.ca_file" in told.words("fault", "redis.connection")
        files = {f"redis__{name}": file for name, file in rotating.settings.items()}
        told = await of_redis(rotating.url, sessions=SESSION, **files)
        assert told.code == 0, told.output
        assert "redis.commit" in told.only("ok")


async def test_sentinels_and_the_primary_that_they_name_are_examined() -> None:
    """One that is away is a warning; a service that they do not know is a fault."""
    async with Watched() as watched:
        told = await of_redis(watched.url, sessions=SESSION)
        assert told.code == 0, told.output
        assert "3 of 3 Sentinels name" in told.words("ok", "redis.sentinel")
        assert "redis.commit" in told.only("ok")
        told = await of_redis(watched.url.rpartition("/")[0] + "/nobody", sessions=SESSION)
        assert told.code == 3
        assert "knows no service nobody" in told.words("fault", "redis.sentinel")
        await watched.sentinels[0].kill()
        told = await of_redis(watched.url, sessions=SESSION)
        assert told.code == 0, told.output
        assert "2 of 3 Sentinels name" in told.words("warn", "redis.sentinel")


async def test_an_address_of_another_topology_is_told(durable: RedisServer) -> None:
    """A single server is neither a Sentinel nor a node of a cluster."""
    place = durable.url.removeprefix("redis://").removesuffix("/0")
    told = await of_redis(f"redis+sentinel://{place}/mymaster", sessions=SESSION)
    assert told.code == 3
    assert "is no Sentinel" in told.words("fault", "redis.sentinel")
    told = await of_redis(f"redis+cluster://{place}", sessions=SESSION)
    assert told.code == 3
    assert "write redis:// in redis.url" in told.words("fault", "redis.connection")


async def test_a_cluster_is_examined_with_its_slots() -> None:
    """Each node that has a session is tried out; slots that nobody serves are a fault."""
    async with Clustered() as clustered:
        sessions = ",".join(f"lsn-{number}" for number in range(12))
        told = await of_redis(clustered.url, sessions=sessions)
        assert told.code == 0, told.output
        assert "all 16,384 slots are served" in told.words("ok", "redis.cluster")
        assert len(told.of("redis.server")) == 3
        assert len(told.of("redis.commit")) == 3
        assert [await asked(node, "DBSIZE") for node in clustered.nodes] == [0] * len(clustered.nodes)
        for session in ("lsn-0", "lsn-1", "lsn-2"):  # in slots of several nodes: one at least is not this one's
            told = await of_redis(clustered.nodes[0].url, sessions=session)
            if told.code == 3:
                break
        assert "write redis+cluster:// in redis.url" in told.words("fault", "redis.commit")
        lost = slot_of("lens:{lsn-0}:events")
        for node in clustered.nodes:
            await asked(node, "CONFIG", "SET", "cluster-require-full-coverage", "no")
        for node in clustered.nodes:
            await asked(node, "CLUSTER", "DELSLOTS", str(lost))
        told = await of_redis(clustered.url, sessions=sessions)
        assert told.code == 3
        assert "1 of 16,384 slots are served by nobody" in told.words("fault", "redis.cluster")


# The lens API


async def of_api(durable: RedisServer, simulator: Simulator, *arguments: str, **settings: object) -> Told:
    """With a Redis that nothing speaks against."""
    given: dict[str, Any] = {"redis__url": durable.url, "source__base_url": simulator.base_url, "sessions": SESSION}
    given |= settings
    return await doctor("--wait", "1", *arguments, **given)


async def test_an_api_that_cannot_be_reached_is_told(durable: RedisServer, simulator: Simulator) -> None:
    """Port and name apart."""
    told = await of_api(durable, simulator, source__base_url="http://127.0.0.1:1/v0.5")
    assert told.code == 3
    assert "source.base_url" in told.words("fault", "api.tcp")
    told = await of_api(durable, simulator, source__base_url="https://no-such-host.invalid/v0.5")
    assert "leads nowhere" in told.words("fault", "api.dns")


async def test_https_to_an_api_that_speaks_none_is_told(durable: RedisServer, simulator: Simulator) -> None:
    """It is the scheme."""
    told = await of_api(durable, simulator, source__base_url=simulator.base_url.replace("http:", "https:"))
    assert told.code == 3
    assert "http://" in told.words("fault", "api.tls")


async def test_a_certificate_of_the_api_is_told_and_when_it_ends(
    durable: RedisServer, simulator: Simulator, tmp_path: Path
) -> None:
    """That of the tests is good for two days; nobody vouches for it but their own authority."""
    simulator.create_session(SESSION)
    authority = Authority(tmp_path / "authority")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.vouch_for("api"))

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        port = int(simulator.base_url.split(":")[2].split("/")[0])
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(copied(reader, far_writer))
                both.create_task(copied(far_reader, writer))
        finally:
            far_writer.close()

    async with listening(pass_on, context) as port:
        base = f"https://127.0.0.1:{port}/v0.5"
        told = await of_api(durable, simulator, source__base_url=base)
        assert told.code == 3
        assert "source.ca_file" in told.words("fault", "api.tls")
        told = await of_api(durable, simulator, source__base_url=base, source__ca_file=authority.file)
        assert told.code == 0, told.output
        assert "renew that certificate" in told.words("warn", "api.tls")
        assert "api.key" in told.only("ok")


async def copied(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Until one end hangs up."""
    with suppress(OSError):
        while piece := await reader.read(65_536):
            writer.write(piece)
            await writer.drain()
    writer.close()


@pytest.mark.parametrize("key", ["a-key-of-another-environment", None])
async def test_a_wrong_key_and_none_are_told(durable: RedisServer, simulator: Simulator, key: str | None) -> None:
    """The wrong one is shown nowhere."""
    simulator.create_session(SESSION)
    told = await of_api(durable, simulator, source__api_key=key)
    assert told.code == 3
    assert "source.api_key" in told.words("fault", "api.key")
    assert "a-key-of-another-environment" not in told.output


async def test_a_key_file_that_cannot_be_read_is_told(
    durable: RedisServer, simulator: Simulator, tmp_path: Path
) -> None:
    """With its path."""
    file = tmp_path / "key"
    told = await of_api(durable, simulator, source__api_key=None, source__api_key_file=file)
    assert told.code == 3
    assert str(file) in told.words("fault", "api.key")


async def test_a_wrong_path_of_the_api_is_told(durable: RedisServer, simulator: Simulator) -> None:
    """The vendor has moved it before."""
    told = await of_api(durable, simulator, source__base_url=simulator.base_url.removesuffix("/v0.5"))
    assert told.code == 3
    assert "source.base_url" in told.words("fault", "api.answer")


async def test_an_unknown_session_is_told(durable: RedisServer, simulator: Simulator) -> None:
    """By the list, and by what the consumer endpoint answers."""
    simulator.create_session("lsn-another")
    told = await of_api(durable, simulator)
    assert told.code == 3
    assert f"lists no {SESSION}" in told.words("fault", "api.session")
    assert "404" in told.words("fault", "api.stream")


async def test_a_session_that_is_over_is_told(durable: RedisServer, simulator: Simulator) -> None:
    """A warning: its name may go on with another session."""
    simulator.create_session(SESSION).set_status(LensStatus.FAILED)
    told = await of_api(durable, simulator)
    assert "nothing more will come" in told.words("warn", "api.session")


async def test_sessions_are_known_with_who_has_named_them(
    durable: RedisServer, simulator: Simulator, tmp_path: Path
) -> None:
    """Without any a worker stands by. One that was added is listened to, as one that discovery finds, by any name."""
    where: dict[str, Any] = {"redis__url": durable.url, "source__base_url": simulator.base_url}
    told = await doctor(**where)
    assert told.code == 0, told.output
    assert "a worker stands by" in told.words("warn", "sessions")
    assert "lens-bridge sessions add" in told.words("warn", "sessions")
    assert told.of("api.stream") == []
    for name in ("added", "found", "over"):
        simulator.create_session(f"lsn-{name}").play(Profile.SIZED, rate=20)
    async with Redis.from_url(durable.url) as client:
        rig = Rig(durable, client, simulator, tmp_path)
        await steer(rig, "sessions", "add", "door=lsn-added", "gate=lsn-over")
        await client.hset("lens:{gate}:state:lsn-over", "phase", "ended")
    simulator.sessions["lsn-over"].destroy()
    told = await doctor(**where)
    assert told.code == 0, told.output
    assert told.words("ok", "sessions").startswith("2 registered")
    assert "gate (lsn-over) has ended: nothing more will come" in told.words("warn", "api.session")
    assert told.words("ok", "api.stream").startswith("door (registered): the first frame came")
    told = await doctor(
        "--session", "cam-lsn-found", **where, discovery__enabled=True, discovery__name="cam-<session_id>"
    )
    assert told.code == 0, told.output
    assert "discovery finds 1: cam-lsn-found" in told.words("ok", "api.discovery")
    assert told.words("ok", "api.stream").startswith("cam-lsn-found (discovered): the first frame came")
    told = await doctor("--session", "cam-lsn-found", **where)
    assert told.code == 2, told.output
    assert "no such session is configured, registered or found" in told.words("fault", "configuration")


async def test_an_api_that_limits_the_rate_is_told_with_what_to_do(durable: RedisServer, simulator: Simulator) -> None:
    """Not as a mistake of the configuration."""
    simulator.create_session(SESSION)
    simulator.refuse(Refusal(endpoint=Endpoint.METADATA, status=429, requests=10))
    assert "discovery.interval_seconds" in (await of_api(durable, simulator)).words("fault", "api.answer")


async def test_the_wrong_channel_is_told(durable: RedisServer, simulator: Simulator) -> None:
    """Heartbeats, and a `num_outputs` that grows."""
    session = simulator.create_session(SESSION)
    session.change(mailbox_only=True, heartbeat_interval_seconds=0.2)
    session.play(Profile.SIZED, rate=20)
    told = await of_api(durable, simulator)
    assert told.code == 3
    assert "server_sent_events_writer" in told.words("fault", "api.channel")
    assert "api.stream" in told.only("ok")


async def test_a_lens_that_says_nothing_is_no_fault(durable: RedisServer, simulator: Simulator) -> None:
    """Nothing grows, so there is nothing to be heard; a stream without a frame is a warning."""
    session = simulator.create_session(SESSION)
    told = await of_api(durable, simulator)
    assert told.code == 0, told.output
    assert "has brought nothing meanwhile" in told.words("ok", "api.channel")
    session.change(start_frame=False, heartbeat_interval_seconds=0)
    told = await of_api(durable, simulator)
    assert told.code == 0, told.output
    assert "no frame came within 1 s" in told.words("warn", "api.stream")


async def test_a_clock_that_is_off_is_told(durable: RedisServer, simulator: Simulator) -> None:
    """By the date of its answers."""
    simulator.create_session(SESSION)
    simulator.change(clock_ahead_seconds=3600)
    told = await of_api(durable, simulator)
    assert told.code == 0, told.output
    assert "3,600 s ahead" in told.words("warn", "api.clock").replace("3,599", "3,600").replace("3,598", "3,600")


async def test_a_proxy_is_used_and_told_and_its_password_is_not(durable: RedisServer, simulator: Simulator) -> None:
    """One that refuses us, one that is away."""
    simulator.create_session(SESSION).play(Profile.SIZED, rate=20)
    port = int(simulator.base_url.split(":")[2].split("/")[0])
    base = f"http://lens.example:{port}/v0.5"
    async with http_proxy("me:a-long-password", lens_example=port) as proxy:
        address = proxy.url.replace("://", "://me:a-long-password@")
        told = await of_api(durable, simulator, source__base_url=base, source__proxy=address)
        assert told.code == 0, told.output
        assert f"via {proxy.url}" in told.words("ok", "api.proxy")
        assert "a-long-password" not in told.output
        told = await of_api(durable, simulator, source__base_url=base, source__proxy=proxy.url)
        assert told.code == 3
        assert "credentials" in told.words("fault", "api.key")
    told = await of_api(durable, simulator, source__base_url=base, source__proxy="http://127.0.0.1:1")
    assert told.code == 3
    assert "source.proxy" in told.words("fault", "api.tcp")


async def test_a_stream_is_not_opened_where_nobody_knows_who_reads_it(
    durable: RedisServer, simulator: Simulator
) -> None:
    """Redis is left out, or cannot tell; unless the session is named."""
    session = simulator.create_session(SESSION)
    session.play(Profile.SIZED, rate=20)
    settings: dict[str, Any] = {"source__base_url": simulator.base_url, "sessions": SESSION}
    told = await doctor("--no-redis", **settings)
    assert told.code == 0
    assert f"--session {SESSION}" in told.words("warn", "api.stream")
    assert len(session.connections) == 0
    await asked(durable, "RPUSH", f"lens:{{{SESSION}}}:lease:{SESSION}", "of another type")
    told = await doctor(redis__url=durable.url, **settings)
    assert f"--session {SESSION}" in told.words("warn", "api.stream")
    assert len(session.connections) == 0
    told = await doctor("--no-redis", "--session", SESSION, **settings)
    assert "api.channel" in told.only("ok")
    assert len(session.connections) == 1


# The configuration


async def test_each_mistake_of_the_configuration_is_a_line_and_the_exit_code_is_2() -> None:
    """With its path and its variable, as any command tells it."""
    told = await doctor(redis__url="http://x", commit__max_events=0, sessions="a=lsn-1,a=lsn-2")
    assert told.code == 2
    assert told.only("fault") == {"configuration"}
    assert len(told.lines) >= 2
    assert any("BRIDGE_REDIS__URL" in line["detail"] for line in told.lines)
    told = await doctor("--session", "nobody", sessions="a=lsn-1")
    assert told.code == 2
    assert "no such session" in told.words("fault", "configuration")


async def test_it_says_where_the_configuration_comes_from(tmp_path: Path) -> None:
    """Who mends the wrong file wonders for long."""
    file = tmp_path / "bridge.yaml"
    file.write_text(f"redis: {{url: '{NOWHERE}'}}\nsessions: {{cam: lsn-1}}\n")
    told = await doctor("--config", str(file), "--no-api")
    assert "3 settings given, 1 session (from environment, bridge.yaml)" in told.words("ok", "configuration")


async def test_what_is_odd_about_the_configuration_is_a_warning(durable: RedisServer) -> None:
    """As a worker says it at its start."""
    told = await of_redis(durable, source__api_key=None, redis__ca_file="/etc/hostname")
    assert told.code == 0, told.output
    details = [line["detail"] for line in told.of("configuration") if line["level"] == "warn"]
    assert any("no API key is configured" in one for one in details)
    assert any("redis.ca_file" in one and "has no effect" in one for one in details)
