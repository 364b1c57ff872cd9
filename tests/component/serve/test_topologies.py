"""Streams from behind Sentinels and from a cluster, over the death of the primary that they stand on."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from redis.exceptions import RedisClusterException, RedisError

from bridge.lab.redis_server import RedisServer
from bridge.operations.redis_client import Client
from bridge.store.nodes.slots import slot_of
from tests.component.serve.conftest import KEY, Opening
from tests.support.serving import Subscriber
from tests.support.topology.clustered import Clustered
from tests.support.topology.stage import patient_client
from tests.support.topology.watched import Watched, asked
from tests.support.worker import until

HALF = 50


async def _write(client: Client, first: int, last: int) -> None:
    """Each number once: what a try may have written is looked for first."""
    for seq in range(first, last + 1):

        async def written(seq: int = seq) -> bool:
            with suppress(RedisError, RedisClusterException, OSError):
                newest: Any = await client.xrevrange(KEY, count=1)
                if not newest or int(newest[0][1][b"seq"]) < seq:
                    await client.xadd(KEY, {"seq": str(seq), "type": "t", "data": "{}"})
                return True
            return False

        await until(written, f"entry {seq} is written")


async def _replicated(primary: RedisServer, user: str) -> None:
    """Until each replica has all of it: then no failover forgets it."""
    _, written, _ = await asked(primary, "ROLE", user=user)

    async def there() -> bool:
        _, _, replicas = await asked(primary, "ROLE", user=user)
        return bool(replicas) and all(int(offset) >= written for _, _, offset in replicas)

    await until(there, "the replicas have what was written")


@pytest.mark.parametrize("kind", [Watched, Clustered], ids=["sentinels", "cluster"])
async def test_readers_go_on_with_the_new_primary_without_coming_again(
    serving: Opening, kind: type[Watched] | type[Clustered]
) -> None:
    """Their connections stay open; each entry comes once."""
    async with kind() as topology, patient_client(topology.url) as client:
        await topology.whole()
        redis = {"url": topology.url, "timeout_seconds": 1, "connect_timeout_seconds": 1}
        async with serving(redis=redis) as server:
            url = f"http://127.0.0.1:{server.port}/streams/camera-1"
            readers = [await Subscriber(url).start().connected() for _ in range(3)]
            await _write(client, 1, HALF)
            if isinstance(topology, Watched):
                primary = await topology.primary()
                await _replicated(primary, "operator")
                await primary.kill()
                await topology.another_takes_over(primary)
            else:
                primary = await topology.owner(slot_of(KEY))
                await _replicated(primary, "")
                await primary.kill()
                await topology.another_takes_over(primary, "{camera-1}:written")
            await _write(client, HALF + 1, 2 * HALF)
            for one in readers:
                await until(lambda one=one: one.last_seq == 2 * HALF, "all of it is read")  # type: ignore[misc]
                await one.close()
                assert one.seqs == list(range(1, 2 * HALF + 1))
                assert (one.connects, one.holes) == (1, [])
