"""Limits that leave what consumer groups have not read, under a real worker that is killed meanwhile."""

from __future__ import annotations

from typing import Any

from tests.support.worker import until
from tests.support.worker_rig import Rig, keys_of

CAP = 1500


async def test_a_group_that_stands_still_loses_nothing_below_the_cap(rig: Rig) -> None:
    """It reads 300 entries and stops. The stream grows past its limit until the group reads on; later to the cap."""
    session = rig.simulator.create_session("lsn-kept")
    key = keys_of(session).events
    limits: dict[str, Any] = {"stream__max_length": 100, "stream__keep_unread": True, "stream__hard_max_length": CAP}
    await rig.client.xgroup_create(key, "g", id="0", mkstream=True)
    worker = await rig.worker(session, **limits).start()
    session.generate(400)
    await rig.reaches(session, 400)
    seqs = await _read(rig, key, 300)
    await worker.kill()
    worker = await rig.worker(session, **limits).start()
    session.generate(800)
    await rig.reaches(session, 1200)
    assert await rig.client.xlen(key) >= 900, "it is held though the limit is far behind"
    seqs += await _read(rig, key, 2000)
    assert seqs == list(range(1, 1201)), "every entry came, in order"
    session.generate(300)
    await rig.reaches(session, 1500)
    assert await rig.client.xlen(key) <= 500, "what was read has gone"
    assert await worker.metric("unread_trimmed_total") == 0
    assert not worker.said("stream.unread_trimmed")
    session.generate(2 * CAP)
    await rig.reaches(session, 1500 + 2 * CAP)
    await until(worker.counts("unread_trimmed_total", CAP), "the group stands still, and the cap cuts")
    assert worker.said("stream.unread_trimmed")
    assert CAP <= await rig.client.xlen(key) < CAP + 200
    await rig.assert_kept(session)


async def _read(rig: Rig, key: str, entries: int) -> list[int]:
    """Read and acknowledge so many, if there are; their numbers."""
    found: Any = await rig.client.xreadgroup("g", "one", {key: ">"}, count=entries)
    ids, seqs = zip(*((one, int(fields[b"seq"])) for one, fields in found[0][1]), strict=True)
    await rig.client.xack(key, "g", *ids)
    return list(seqs)
