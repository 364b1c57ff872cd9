"""`python -m tests.benchmarks`: the bridge beside its peers and its limit, in one run."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import resource
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import redis

from bridge.lab.redis_server import RedisServer
from tests.benchmarks.catch_up import CatchUp
from tests.benchmarks.contenders import HERE, bridge
from tests.benchmarks.fan_in import FanIn
from tests.benchmarks.report.results import Scenario
from tests.benchmarks.report.table import table
from tests.benchmarks.rig import Rig

_OURS = "Lens Bridge"


def main() -> None:
    """Run what was asked for; print a table as soon as it is known."""
    options = _parser().parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # a thousand sessions have a socket each, on both sides
    results = asyncio.run(_run(options))
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two rounds of fewer events: for a first impression")
    parser.add_argument(
        "--only", action="append", metavar="NAME", help="scenarios whose name begins so: catch-up, embeddings, fan-in"
    )
    parser.add_argument("--rounds", type=int, help="5; 2 with --quick")
    parser.add_argument(
        "--against",
        action="append",
        default=[],
        metavar="[NAME=]DIR",
        help="measure another checkout of Lens Bridge in the same run",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure of every round")
    return parser


async def _run(options: argparse.Namespace) -> dict[str, object]:
    rounds = options.rounds or (2 if options.quick else 5)
    checkouts = {_OURS: HERE} | dict(_named(one) for one in options.against)
    done: list[Scenario] = []
    with tempfile.TemporaryDirectory() as directory:
        async with RedisServer() as server:
            rig = Rig(server, Path(directory) / "entries.json")
            machine = _machine(rig.client, str(server.executable))
            print(*(f"{name}: {value}" for name, value in machine.items()), sep=" · ", flush=True)
            for scenario in _scenarios(options.quick, options.only or [""]):
                sessions = scenario.sessions if isinstance(scenario, FanIn) else 1
                bridges = [bridge(name, checkout, sessions) for name, checkout in checkouts.items()]
                done.append(scenario.run(rig, bridges, rounds))
                print(f"\n{table(done[-1])}", flush=True)
            rig.client.close()
    return {"machine": machine, "scenarios": [asdict(one) for one in done]}


def _scenarios(quick: bool, names: Sequence[str]) -> list[CatchUp | FanIn]:
    events, seconds = (40_000, 5) if quick else (200_000, 15)
    every: list[CatchUp | FanIn] = [
        CatchUp(name="catch-up-1", title="catch-up, 250 B, one event a chunk", events=events),
        CatchUp(name="catch-up-128", title="catch-up, 250 B, 128 events a chunk", events=events, per_chunk=128),
        CatchUp(name="embeddings-64", title="embeddings, 64 KB", events=events // 50, data_bytes=64_000),
        CatchUp(name="embeddings-190", title="embeddings, 190 KB", events=events // 150, data_bytes=190_000),
        FanIn(
            name="fan-in",
            title="fan-in, 1,000 sessions, 10 lone events/s each",
            sessions=1000,
            per_second=10,
            events=10 * seconds,
        ),
    ]
    chosen = [one for one in every if one.name.startswith(tuple(names))]
    if not chosen:
        raise SystemExit(f"no scenario begins so: {', '.join(names)}; there are {', '.join(one.name for one in every)}")
    return chosen


def _named(text: str) -> tuple[str, Path]:
    name, _, directory = text.rpartition("=")
    path = Path(directory).resolve()
    if not (path / "bridge" / "__main__.py").exists():
        raise SystemExit(f"--against {text}: no checkout of Lens Bridge there (bridge/__main__.py)")
    return f"{_OURS} {name or path.name}", path


def _machine(client: redis.Redis, server: str) -> dict[str, object]:
    return {
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "redis": client.info("server")["redis_version"],
        "server": Path(server).name,
        "kernel": platform.release(),
    }


if __name__ == "__main__":
    main()
