"""The way into a cluster: each call to the node that has its slot, over moves, failovers and nodes that come and go."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
import pytest_asyncio

from bridge.errors import FaultKind, SinkFault
from bridge.lab.redis_server import RedisServer
from bridge.masking import Secrets
from bridge.settings import RedisSettings
from bridge.store.link import RedisLink, Script
from bridge.store.nodes.slots import slot_of
from tests.support.fakes import HOST
from tests.support.topology.clustered import Clustered
from tests.support.topology.watched import asked
from tests.support.worker import until

FOR_EVER = 90.0  # seconds: what ends within a test, ends for another reason
COUNT = Script.of("return redis.call('INCR', KEYS[1])")
PAIR = Script.of("redis.call('SET', KEYS[2], 1) return redis.call('INCR', KEYS[1])")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_cluster() -> AsyncIterator[Clustered]:
    """Six nodes for all tests of this file."""
    async with Clustered() as made:
        yield made


@pytest_asyncio.fixture
async def cluster(shared_cluster: Clustered) -> Clustered:
    """Whole again, whatever the last test has done to it, and empty."""
    await shared_cluster.whole()
    for node in await shared_cluster.primaries():
        await asked(node, "FLUSHALL")
    return shared_cluster


def link_to(url: str, said: list[str | None] | None = None, **settings: object) -> RedisLink:
    """A way there."""
    heard = [] if said is None else said
    return RedisLink(RedisSettings.model_validate({"url": url, **settings}), Secrets(), heard.append)


async def fault_of(link: RedisLink, key: str = "key") -> SinkFault:
    """What a call fails with."""
    with pytest.raises(SinkFault) as caught:
        async with asyncio.timeout(60):
            await link.to(key).call("INCR", key)
    return caught.value


async def counted(link: RedisLink, key: str) -> int:
    """Tried until it is carried out, as who commits does."""
    while True:
        with suppress(SinkFault):
            number: int = await link.to(key).run(COUNT, COUNT.pack([key], []))
            return number
        await asyncio.sleep(0.02)


async def test_each_call_goes_to_the_node_that_has_its_slot_over_one_connection_each(cluster: Clustered) -> None:
    """However many sessions there are; scripts are loaded where they are missing."""
    said: list[str | None] = []
    link = link_to(cluster.url, said)
    keys = [f"{{tag-{number}}}" for number in range(200)]
    assert await asyncio.gather(*(link.to(key).run(COUNT, COUNT.pack([key], [])) for key in keys)) == [1] * 200
    assert await asyncio.gather(*(link.to(key).call("GET", key) for key in keys)) == [b"1"] * 200
    for node in await cluster.primaries():

        async def has_one_client(node: RedisServer = node) -> bool:
            return b"connected_clients:2\r" in await asked(node, "INFO", "CLIENTS")  # ours, and who asks

        await until(has_one_client, "what looked at the cluster has gone")
        assert await asked(node, "DBSIZE") > 20
    assert len(await link.nodes()) == 3
    assert set(said) == {None}
    await link.aclose()


async def test_a_slot_that_has_moved_is_followed_without_a_fault(cluster: Clustered) -> None:
    """MOVED: the node that answers has written nothing."""
    link = link_to(cluster.url)
    key = "moves"
    assert await link.to(key).run(COUNT, COUNT.pack([key], [])) == 1
    source = await cluster.owner(slot_of(key))
    for number, node in enumerate([*(one for one in await cluster.primaries() if one is not source), source], start=2):
        await cluster.move_slot(slot_of(key), node)
        assert await link.to(key).run(COUNT, COUNT.pack([key], [])) == number
    await link.aclose()


async def test_keys_of_a_slot_on_its_way_are_found_on_either_side(cluster: Clustered) -> None:
    """ASK, with ASKING before the call, also where the script is not known there; TRYAGAIN is a fault that passes."""
    link = link_to(cluster.url)
    stays, goes = "{moving}:stays", "{moving}:goes"
    for key in (stays, goes):
        assert await link.to(key).run(COUNT, COUNT.pack([key], [])) == 1
    async with cluster.halfway(slot_of(stays), goes) as (source, target):
        await asked(target, "SCRIPT", "FLUSH")
        assert await link.to(goes).run(COUNT, COUNT.pack([goes], [])) == 2
        assert await link.to(goes).call("INCR", goes) == 3
        assert await link.to(stays).run(COUNT, COUNT.pack([stays], [])) == 2
        assert await asked(source, "GET", stays) == b"2"
        with pytest.raises(SinkFault, match="TRYAGAIN") as caught:
            await link.to(stays).run(PAIR, PAIR.pack([stays, goes], []))
        assert caught.value.kind is FaultKind.CLUSTER_DOWN
        answers = [f"Redis at {HOST}:{one.port} answers" for one in (source, target)]
        assert any(one in caught.value.detail for one in answers)  # before Redis 7.0 the source points to the target
    assert await link.to(stays).run(PAIR, PAIR.pack([stays, goes], [])) == 3
    await link.aclose()


async def test_a_node_joins_takes_slots_and_leaves(cluster: Clustered) -> None:
    """Not all that the worker was told of need be there, nor is it told of what comes."""
    link = link_to(cluster.url)
    key = "travels"
    before = await cluster.owner(slot_of(key))
    assert await link.to(key).call("INCR", key) == 1
    guest = await cluster.add_node()
    await cluster.move_slot(slot_of(key), guest)
    assert await link.to(key).call("INCR", key) == 2
    assert await asked(guest, "GET", key) == b"2"
    await cluster.move_slot(slot_of(key), before)
    await cluster.remove_node(guest)
    assert await counted(link, key) == 3
    await link.aclose()


@pytest.mark.parametrize("freeze", [False, True])
async def test_when_a_primary_dies_its_replica_is_written_to(cluster: Clustered, freeze: bool) -> None:
    """Also where it only hangs: the call under way is not waited for until its own time is up."""
    said: list[str | None] = []
    link = link_to(cluster.url, said, timeout_seconds=FOR_EVER, connect_timeout_seconds=FOR_EVER)
    key = "dies"
    assert await counted(link, key) == 1
    primary = await cluster.owner(slot_of(key))
    other = await cluster.key_on(next(one for one in await cluster.primaries() if one is not primary))
    await counted(link, other)
    if freeze:
        cluster.freeze(primary)
    else:
        await primary.kill()
    async with asyncio.timeout(60):
        await counted(link, key)
        assert await counted(link, other) == 2
    assert await cluster.owner(slot_of(key)) is not primary
    assert said[-1] is None
    assert any(f"{HOST}:{primary.port}" in (one or "") for one in said)
    await link.aclose()


async def test_of_each_node_is_learned_what_it_is_though_one_is_away(cluster: Clustered) -> None:
    """And those that are known already are not asked again."""
    link = link_to(cluster.url, connect_timeout_seconds=0.5)
    primaries = await cluster.primaries()
    await counted(link, await cluster.key_on(primaries[0]))
    await primaries[0].kill()
    places = {f"{HOST}:{one.port}" for one in primaries[1:]}
    found = {facts.where: facts for facts in await link.inspect()}
    assert places <= found.keys()
    assert {found[one].role for one in places} == {"master"}
    assert {one.where for one in await link.inspect(known=found.keys())}.isdisjoint(places)
    await link.aclose()


async def test_while_the_cluster_is_down_the_fault_says_so_and_where(cluster: Clustered) -> None:
    """A primary and its replica are gone: their slots are served by nobody, and so are all others by default."""
    link = link_to(cluster.url, connect_timeout_seconds=0.5)
    key = "served-by-nobody"
    primary = await cluster.owner(slot_of(key))
    elsewhere = await cluster.key_on(next(one for one in await cluster.primaries() if one is not primary))
    await counted(link, elsewhere)
    for node in cluster.nodes:
        if node is primary or (await asked(node, "ROLE"))[2] == primary.port:
            await node.kill()

    async def is_down() -> bool:
        try:
            await link.to(elsewhere).call("GET", elsewhere)
        except SinkFault as fault:
            return fault.kind is FaultKind.CLUSTER_DOWN and "CLUSTERDOWN" in fault.detail and f"{HOST}:" in fault.detail
        return False

    await until(is_down, "the others serve no more")
    assert (await fault_of(link, key)).kind in (FaultKind.UNREACHABLE, FaultKind.CLUSTER_DOWN)
    await cluster.whole()
    assert await counted(link, elsewhere) >= 1
    await link.aclose()


async def test_all_nodes_that_are_configured_may_be_gone_later(cluster: Clustered) -> None:
    """The map knows more of them."""
    primaries = await cluster.primaries()
    replicas = [one for one in cluster.nodes if one not in primaries][:2]
    link = link_to(f"redis+cluster://{','.join(f'{HOST}:{one.port}' for one in replicas)}")
    assert await counted(link, await cluster.key_on(primaries[0])) == 1
    for node in replicas:
        await node.kill()
    async with asyncio.timeout(60):
        for number in range(20):
            await counted(link, f"key-{number}")
    await link.aclose()


async def test_a_url_of_the_wrong_kind_is_told(cluster: Clustered, redis_server: RedisServer) -> None:
    """A cluster taken for one server, and one server taken for a cluster."""
    one, another, *_ = await cluster.primaries()
    link = link_to(f"redis://{HOST}:{one.port}")
    key = await cluster.key_on(another)
    fault = await fault_of(link, key)
    await link.aclose()
    assert (fault.kind, fault.kind.meaning.value) == (FaultKind.MOVED, "passes")
    assert "write redis+cluster:// in redis.url" in fault.detail
    link = link_to(f"redis+cluster://{HOST}:{redis_server.port}", connect_timeout_seconds=0.2)
    fault = await fault_of(link)
    await link.aclose()
    assert f"Redis at {HOST}:{redis_server.port} is no node of a cluster - write redis:// in redis.url" in fault.detail
