"""Frames, chunks and payloads, without a socket."""

from __future__ import annotations

import json
import random
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.lab.simulator.lens.frames import Poison, as_read, encode, event_id, frame, normalized, poison_data
from bridge.lab.simulator.lens.profiles import Profile, payload
from bridge.lab.simulator.lens.switches import ChunkShape, GzipRule, IdStyle, LineEnding, Switches
from bridge.lab.simulator.wire import Body, wants_gzip
from bridge.source.sse import Decoder

SWITCHES = st.builds(
    Switches,
    line_ending=st.sampled_from(LineEnding),
    event_name=st.sampled_from([None, "message", "lens"]),
    chunk_shape=st.sampled_from(ChunkShape),
    chunk_events=st.integers(1, 4),
    chunk_bytes=st.integers(1, 40),
)


@given(st.lists(st.binary(max_size=60), min_size=1, max_size=8), SWITCHES, st.booleans(), st.integers())
def test_frames_say_what_was_meant_in_every_shape(
    texts: list[bytes], switches: Switches, gzip: bool, seed: int
) -> None:
    """However frames are ended, grouped, cut and compressed, a client reads the same events."""
    datas = [normalized(text) for text in texts]
    frames = [frame(data, str(n), switches) for n, data in enumerate(datas)]
    body = Body(seed=str(seed), gzip=gzip, chunked=False)
    sent = b"".join(body.writes(frames, switches)) + body.rest()
    decoder = Decoder(max_event_bytes=1 << 20)
    events = decoder.feed(zlib.decompressobj(wbits=31).decompress(sent) if gzip else sent)
    assert [event.id for event in events] == [str(n) for n in range(len(datas))]
    assert {event.event for event in events} == {switches.event_name or "message"}
    assert [event.data for event in events] == [as_read(data) for data in datas]


def test_http_chunks_hold_what_the_shape_says() -> None:
    """Chunk framing is right to the byte: one event each, two together, or pieces of fixed size."""
    frames = [b"a" * 5, b"b" * 5, b"c" * 5]

    def writes(switches: Switches) -> list[bytes]:
        return Body(seed="", gzip=False, chunked=True).writes(frames, switches)

    assert writes(Switches()) == [b"5\r\naaaaa\r\n5\r\nbbbbb\r\n5\r\nccccc\r\n"]
    coalesced = Switches(chunk_shape=ChunkShape.COALESCE, chunk_events=2)
    assert writes(coalesced) == [b"a\r\naaaaabbbbb\r\n5\r\nccccc\r\n"]
    assert writes(Switches(chunk_shape=ChunkShape.DRIP, chunk_bytes=8)) == [
        b"8\r\naaaaabbb\r\n",
        b"7\r\nbbccccc\r\n",
    ]


def test_random_cuts_repeat_with_their_seed() -> None:
    """The same seed cuts in the same places, another one elsewhere."""
    switches = Switches(chunk_shape=ChunkShape.RANDOM, chunk_bytes=7)

    def cut(seed: str) -> list[bytes]:
        return Body(seed=seed, gzip=False, chunked=False).writes([b"x" * 500], switches)

    assert cut("1") == cut("1")
    assert [len(piece) for piece in cut("1")] != [len(piece) for piece in cut("2")]
    assert max(map(len, cut("1"))) <= 13


def test_gzip_only_when_allowed() -> None:
    """The three rules, with and without gzip in Accept-Encoding."""
    table = {(rule, asked): wants_gzip(rule, asked) for rule in GzipRule for asked in ("GZIP, br", "identity")}
    assert {key for key, wanted in table.items() if wanted} == {
        (GzipRule.ACCEPTED, "GZIP, br"),
        (GzipRule.ALWAYS, "GZIP, br"),
        (GzipRule.ALWAYS, "identity"),
    }


def test_json_without_a_utf8_form_is_escaped() -> None:
    """Text is sent as it is, and escaped only where it must be."""
    assert encode({"text": "☃"}) == '{"text": "☃"}'.encode()
    assert encode({"text": "\ud800"}) == rb'{"text": "\ud800"}'


@pytest.mark.parametrize("style", list(IdStyle))
def test_ids_differ_and_are_the_same_each_time(style: IdStyle) -> None:
    """An id depends on the session and the number alone."""
    ids = [event_id(style, "lsn-1", n) for n in range(1000)]
    assert len(set(ids)) == 1000
    assert ids == [event_id(style, "lsn-1", n) for n in range(1000)]


@pytest.mark.parametrize("kind", list(Poison))
def test_poison_is_what_its_name_says(kind: Poison) -> None:
    """A type is given just for poison that Python's json reads as an object with a text type."""
    data, type_ = poison_data(kind, 3, 5000)
    try:
        body = json.loads(as_read(data))
    except ValueError:
        body = None
    found = body.get("type") if isinstance(body, dict) else None
    assert type_ == (found if isinstance(found, str) else None)
    assert data != poison_data(kind, 4, 5000)[0] or kind is Poison.EMPTY


@pytest.mark.parametrize("profile", list(Profile))
def test_payloads_are_json_with_counter_and_time(profile: Profile) -> None:
    """Every generated event has a type, a time in Unix seconds and its counter, and repeats with its seed."""
    for n in range(1, 60):
        type_, data = payload(profile, seed=5, n=n, timestamp=1741843200.1234)
        body = json.loads(data)
        assert (body["type"], body["timestamp"], body["event_data"]["n"]) == (type_, 1741843200.123, n)
        assert data == payload(profile, seed=5, n=n, timestamp=1741843200.1234)[1]


def test_other_seeds_say_other_things() -> None:
    """The seed decides what a lens says."""
    one, two = (payload(Profile.ACTIVITY, seed=seed, n=1, timestamp=1.0)[1] for seed in (1, 2))
    assert one != two


def test_sizes_of_the_profiles() -> None:
    """Text of some KB, embeddings of 38 to 190 KB, and exact sizes where asked."""
    sizes = {
        profile: [len(payload(profile, seed=1, n=n, timestamp=1741843200.0)[1]) for n in range(1, 65)]
        for profile in Profile
    }
    assert 500 < min(sizes[Profile.ACTIVITY]) < max(sizes[Profile.ACTIVITY]) < 4500
    assert max(sizes[Profile.MACHINE_STATE]) < 500
    assert 38_000 <= min(sizes[Profile.EMBEDDINGS]) < 64_000
    assert 180_000 <= max(sizes[Profile.EMBEDDINGS]) <= 195_000
    assert set(sizes[Profile.SIZED]) == {250}


def test_a_key_can_be_put_into_an_event() -> None:
    """An echoed key stands in the event data, and the size stays exact."""
    data = payload(Profile.SIZED, seed=1, n=1, timestamp=1.0, event_bytes=400, api_key='k"ey')[1]
    assert json.loads(data)["event_data"]["api_key"] == 'k"ey'
    assert len(data) == 400


def test_random_source_of_payloads_is_their_own() -> None:
    """Generating does not touch the global random state."""
    random.seed(1)
    before = random.getstate()
    payload(Profile.ACTIVITY, seed=99, n=1, timestamp=1.0)
    assert random.getstate() == before
