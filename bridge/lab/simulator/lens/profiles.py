"""What lenses say: payloads that are a function of the seed, the counter and the clock. Pure.

The texts, labels and vectors of a profile are drawn once per seed; an event picks from them by its counter, which costs
next to nothing, also for embeddings of 190 KB. The counter ``n`` inside ``event_data`` makes all of them different.
"""

from __future__ import annotations

import json
import random
from functools import lru_cache
from typing import assert_never

from bridge.lab.simulator.lens.choices import Explained

__all__ = ["Profile", "payload"]

_WHO = ("A construction worker", "Two people", "A forklift driver", "An electrician", "Nobody", "Eine Schweißerin")
_DOES = (
    "wearing a hard hat and safety vest walks along the marked path",
    "stands next to the conveyor belt and reads a gauge",
    "carries a ladder past the loading dock",
    "lifts a pallet of boxes onto the rack, naïvely",
    "talks on the radio near the open gate",
)
_STATES = ("HEALTHY", "BROKEN", "IDLE")
_LOG_EVERY = 25  # every so many activity events one is a log line, so that a stream has more than one type


class Profile(Explained):
    """Kinds of lens."""

    ACTIVITY = "activity", "a text of 0.5 to 4 KB, now and then a log line"
    MACHINE_STATE = "machine_state", "a label with its votes, about 250 bytes"
    EMBEDDINGS = "embeddings", "vectors, 40 to 190 KB"
    SIZED = "sized", "events of exactly `event_bytes`, for measurements"


def payload(
    profile: Profile, *, seed: int, n: int, timestamp: float, event_bytes: int = 250, api_key: str | None = None
) -> tuple[str, bytes]:
    """Type and JSON of a session's ``n``-th generated event. ``timestamp`` is in Unix seconds.

    ``event_bytes`` is the exact size of a SIZED event, at least about 120 bytes. ``api_key`` puts a key into it.
    """
    type_ = "log.info" if profile is Profile.ACTIVITY and n % _LOG_EVERY == 0 else "inference.result"
    head = b'{"type": "%b", "timestamp": %.3f, "event_data": {"n": %d, ' % (type_.encode(), timestamp, n)
    tail = b"}}" if api_key is None else b', "api_key": %b}}' % json.dumps(api_key).encode()
    if profile is Profile.SIZED:
        room = event_bytes - len(head) - len(tail) - len(b'"response": ""')
        return type_, head + b'"response": "' + b"x" * room + b'"' + tail
    responses = _responses(profile, seed)
    response = responses[n * 31 % len(responses)]
    return type_, head + b'"response": %b, "query_metadata": %b' % (response, _metadata(profile, n, timestamp)) + tail


def _metadata(profile: Profile, n: int, timestamp: float) -> bytes:
    match profile:
        case Profile.ACTIVITY:
            seconds = 5 * n
            moment = b"%02d:%02d:%02d" % (seconds // 3600, seconds // 60 % 60, seconds % 60)
            return b'{"sensor_timestamp": "%b", "frame_ids": [%d, %d]}' % (moment, 5 * n, 5 * n + 5)
        case Profile.MACHINE_STATE:
            window = b'{"file_id": "data.csv", "read_index": %d, "window_size": 100}' % (100 * n)
            return b'{"query_timestamp": %.3f, "query_metadata": %b}' % (timestamp, window)
        case Profile.EMBEDDINGS:
            return b'{"sensor_id": "sensor_%d"}' % (n % 10)
        case Profile.SIZED:
            return b"{}"
        case _:
            assert_never(profile)


@lru_cache(maxsize=32)
def _responses(profile: Profile, seed: int) -> tuple[bytes, ...]:
    source = random.Random(f"{profile.value} {seed}")
    match profile:
        case Profile.ACTIVITY:
            return tuple(_text(source) for _ in range(64))
        case Profile.MACHINE_STATE:
            return tuple(_state(source) for _ in range(64))
        case Profile.EMBEDDINGS:
            shapes = ((4, 9), (4, 17), (8, 17), (12, 17))  # channels and digits: 40, 64, 127 and 190 KB
            return tuple(_vectors(source, channels, digits) for channels, digits in shapes)
        case Profile.SIZED:
            return (b'""',)
        case _:
            assert_never(profile)


def _text(source: random.Random) -> bytes:
    wanted = source.randint(500, 4000)
    text = ""
    while len(text) < wanted:
        text += f"{source.choice(_WHO)} {source.choice(_DOES)}. "
    return json.dumps([text[:wanted]], ensure_ascii=False).encode()


def _state(source: random.Random) -> bytes:
    votes = {state: source.randint(0, 9) for state in _STATES}
    return json.dumps([max(votes, key=lambda state: votes[state]), votes]).encode()


def _vectors(source: random.Random, channels: int, digits: int) -> bytes:
    rows = [[round(source.uniform(-1, 1), digits) for _ in range(768)] for _ in range(channels)]
    return json.dumps(rows).encode()
