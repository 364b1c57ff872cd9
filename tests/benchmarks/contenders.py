"""Who runs: this bridge, another checkout of it, the peers, and the limit."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from importlib.util import find_spec
from pathlib import Path

HERE = Path(__file__).parents[2]
PEER_STREAM = "peer"

OURS = "Lens Bridge"
SDK = "SDK reader, XADD each"
BARE_LOOP = "bare loop"
PLAIN = "XREADGROUP and XACK, redis-py"
_SMALL_ENTRY = 4096


class Start(Enum):
    """What sets a contender going, once it has started and come to rest."""

    SOURCE = "the source sends"
    WORD = "a line on its standard input, after it has said `ready`"
    ITSELF = "nothing: it goes at once"


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """A program to be measured. ``$SOURCE``, ``$REDIS``, ``$PORT``, ``$EVENTS``, ``$ENTRIES`` are filled in.

    ``share`` of the events is what it is measured by: a slow one's rate is known after fewer.
    """

    name: str
    command: Sequence[str]
    streams: Sequence[str] = (PEER_STREAM,)
    environment: Mapping[str, str] = field(default_factory=dict)
    cwd: Path = HERE
    start: Start = Start.SOURCE
    share: float = 1.0


def bridge(name: str, checkout: Path, sessions: int = 1) -> Contender:
    """A worker of the code in ``checkout``, run by this interpreter with its packages."""
    named = {f"bench-{n}": f"lsn-{n}" for n in range(sessions)}
    return Contender(
        name=name,
        command=[sys.executable, "-m", "bridge", "run"],
        streams=[f"lens:{{{one}}}:events" for one in named],
        environment={
            "PYTHONPATH": str(checkout),
            "BRIDGE_SOURCE__BASE_URL": "$SOURCE",
            "BRIDGE_SOURCE__CONNECTS_PER_SECOND": "500",
            "BRIDGE_REDIS__URL": "$REDIS",
            "BRIDGE_SESSIONS": ",".join(f"{one}={session_id}" for one, session_id in named.items()),
            "BRIDGE_ADMIN__HOST": "127.0.0.1",
            "BRIDGE_ADMIN__PORT": "0",
            "BRIDGE_LOG__LEVEL": "error",
        },
        cwd=checkout,
    )


def peers() -> list[Contender]:
    """What users write without the bridge, as far as its packages are here; what is left out is told."""
    every = {"httpx_sse": sse_reader(), "archetypeai": vendor_sdk()}
    for package, one in every.items():
        if find_spec(package) is None:
            print(f"left out: {one.name}, since there is no {package} here")
    return [one for package, one in every.items() if find_spec(package) is not None]


def vendor_sdk() -> Contender:
    """The vendor SDK's reader with one XADD for each event."""
    return _peer(SDK, "vendor_sdk", share=0.05)


def sse_reader() -> Contender:
    """`httpx-sse` with transactions of 500."""
    return _peer("httpx-sse, MULTI of 500", "sse_reader", share=0.25)


def bare_loop(sessions: int = 1) -> Contender:
    """The least that has to be done: from the socket to XADD, and nothing else."""
    streams = [f"{PEER_STREAM}-{n}" for n in range(sessions)]
    command = [sys.executable, "-m", "tests.benchmarks.peers.bare_loop", "$SOURCE", "$REDIS", *streams]
    return Contender(name=BARE_LOOP, command=command, streams=streams)


def limit(per_trip: int) -> Contender:
    """XADD of the same fields, packed beforehand."""
    command = [sys.executable, "-m", "tests.benchmarks.peers.limit", "$REDIS", "$EVENTS", str(per_trip), "$ENTRIES"]
    return Contender(name=limit_name(per_trip), command=command, start=Start.WORD)


def limit_name(per_trip: int) -> str:
    """How `limit` is called in tables."""
    return f"limit: XADD, {per_trip:,} a trip"


def redis_benchmark(entry: Sequence[str]) -> Contender | None:
    """`redis-benchmark -P 100` with an entry's fields, where it is on the PATH and the entry fits on a command line."""
    program = shutil.which("redis-benchmark")
    if program is None or sum(map(len, entry)) > _SMALL_ENTRY:
        return None
    command = [program, "-p", "$PORT", "-n", "$EVENTS", "-P", "100", "-q", "XADD", PEER_STREAM, "*", *entry]
    return Contender(name="limit: redis-benchmark -P 100", command=command, start=Start.ITSELF)


def in_turn(field: Sequence[Contender], round_number: int) -> list[Contender]:
    """Each round begins with the next one: nobody is always the first or the last on a machine that warms up."""
    first = round_number % len(field)
    return [*field[first:], *field[:first]]


def _peer(name: str, module: str, share: float) -> Contender:
    command = [sys.executable, "-m", f"tests.benchmarks.peers.{module}", "$SOURCE", "$REDIS", "$EVENTS"]
    return Contender(name=name, command=command, share=share)
