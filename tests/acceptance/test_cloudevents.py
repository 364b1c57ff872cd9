"""`stream.format: cloudevents`, as the official SDK reads what a real worker wrote."""

from __future__ import annotations

import asyncio
import json
import math
import sys
from asyncio.subprocess import PIPE
from typing import Any
from urllib.parse import unquote

from cloudevents.core.bindings import kafka
from cloudevents.v1.kafka import KafkaMessage, from_binary

from bridge.model.keys import session_keys
from bridge.model.place import Session
from tests.support.cloud_events import as_cloud_event
from tests.support.worker import ROOT, python_environment, until
from tests.support.worker_rig import Rig, keys_of

FORMATS = ("cloudevents", "plain", "cloudevents")
ODD_IDS = ("kühlraum-7", "a b", "100%", "tab\there", "\u0085next-line", "\ufffe", "😀", "a%09b")


async def test_the_official_sdk_reads_every_entry_that_a_worker_wrote(rig: Rig) -> None:
    """Events with odd ids and names, broken numbers, what is no JSON, and the end of the session."""
    session = rig.simulator.create_session("lsn-cloud")
    worker = await rig.worker(session, stream__format="cloudevents").start()
    await session.wait_connected()
    for id in ODD_IDS:
        session.emit({"type": "inference.result", "id": id}, id=id)
    session.emit(b'{"type":"inference.result","embedding":[NaN,Infinity,1]}', id="nan")
    session.emit_raw(b'event: named\nid: named\ndata: {"type":"log.info"}\n\n', id="named", data=b'{"type":"log.info"}')
    session.emit(b"no json", id="letter")
    session.emit({"type": "odd\x00type \u0007"}, id="last")
    session.destroy()
    await rig.reaches(session, len(ODD_IDS) + 3)
    await rig.assert_kept(session)
    worker.terminate()
    assert await worker.exit_code() == 0
    entries = [fields for _, fields in await rig.raw_entries(keys_of(session).events)]
    events = [as_cloud_event(fields) for fields in entries]
    assert [unquote(event.get_id()) for event in events[:-1]] == [*ODD_IDS, "nan", "named", "last"]
    assert [event.get_id() for event in events[:3]] == ["kühlraum-7", "a b", "100%25"]
    assert len({(event.get_source(), event.get_id()) for event in events}) == len(events)
    assert {event.get_source() for event in events} == {"/lens/sessions/lsn-cloud"}
    assert {event.get_subject() for event in events} == {"lsn-cloud"}
    types = [event.get_type() for event in events]
    assert types[-3:] == ["app.archetypeai.log.info", "app.archetypeai.odd%00type %07", "bridge.session.ended"]
    numbers: Any = events[len(ODD_IDS)].get_data()
    assert math.isnan(numbers["embedding"][0])
    for fields, event in zip(entries, events, strict=True):
        assert event.get_data() == json.loads(fields[b"data"]) or b"NaN" in fields[b"data"]
        there_and_back: Any = kafka.from_structured_event(kafka.to_structured_event(event))
        assert there_and_back.get_attributes() == event.get_attributes()
        binary: Any = kafka.from_binary_event(kafka.to_binary_event(event))
        assert binary.get_attributes() == event.get_attributes()
        headers = {name.decode(): value for name, value in fields.items() if name.startswith(b"ce_")}
        older = from_binary(KafkaMessage(headers, None, fields[b"data"]))
        assert (older["id"], older["type"]) == (event.get_id(), event.get_type())
    said = (await _example(rig, keys_of(session).events)).splitlines()
    assert len(said) == len(events)
    assert said[0].startswith("/lens/sessions/lsn-cloud kühlraum-7 app.archetypeai.inference.result 20")
    (letter,) = await rig.raw_entries(keys_of(session).dead_letter)
    assert not [name for name in letter[1] if name.startswith(b"ce_")]


async def _example(rig: Rig, stream: str) -> str:
    """What the program in config/examples says."""
    program = ROOT / "config" / "examples" / "standards" / "cloud_events.py"
    given = {**python_environment(), "BRIDGE_REDIS__URL": rig.server.url, "PYTHONIOENCODING": "utf-8:backslashreplace"}
    example = await asyncio.create_subprocess_exec(sys.executable, program, stream, env=given, stdout=PIPE)
    output, _ = await example.communicate()
    assert example.returncode == 0
    return output.decode()


async def test_a_change_of_format_between_kills_breaks_nothing(rig: Rig) -> None:
    """Killed while events flow, started again with the other format: once, all, in order, and `verify` says so."""
    session = rig.simulator.create_session("lsn-changed")
    for number, format in enumerate(FORMATS, start=1):
        worker = await rig.worker(session, stream__format=format).start()
        session.generate(300)
        await rig.reaches(session, 300 * number - 150)
        await worker.kill()
    await rig.worker(session, stream__format="plain").start()
    await rig.reaches(session, 300 * len(FORMATS))
    await rig.assert_kept(session)
    entries = await rig.entries(session)
    assert {"ce_id" in entry for entry in entries} == {True, False}
    assert all(entry["ce_id"] == entry["id"] for entry in entries if "ce_id" in entry)


async def test_sessions_that_share_a_stream_share_no_event(rig: Rig) -> None:
    """Two sessions whose server counts from 1 in each: the source tells them apart, the subject names them."""
    first, second = rig.simulator.create_session("lsn-first"), rig.simulator.create_session("lsn-second")
    await rig.worker(
        "one=lsn-first", "two=lsn-second", stream__format="cloudevents", stream__key="lens:{all}:events"
    ).start()
    for session in (first, second):
        session.generate(20)
        await session.wait_connected()
        await session.wait_caught_up()
    shared = session_keys("lens:{all}:events", Session(name="one", session_id="lsn-first")).events

    async def entries() -> list[Any]:
        return [as_cloud_event(fields) for _, fields in await rig.raw_entries(shared)]

    async def all_there() -> bool:
        return len(await entries()) == 40

    await until(all_there, "40 entries in the shared stream")
    found = await entries()
    assert len({event.get_id() for event in found}) < 40
    assert len({(event.get_source(), event.get_id()) for event in found}) == 40
    assert {(event.get_source(), event.get_subject()) for event in found} == {
        ("/lens/sessions/lsn-first", "one"),
        ("/lens/sessions/lsn-second", "two"),
    }
