"""`python -m tests.benchmarks`: the bridge beside its peers and its limit, in one run."""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import resource
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from bridge.lab.redis_server import RedisServer
from tests.benchmarks.contenders import HERE, OURS, bridge
from tests.benchmarks.report.comparison import Change, compare, comparison_table, verdict
from tests.benchmarks.report.judgement import goals_table, judge
from tests.benchmarks.report.picture import picture
from tests.benchmarks.report.results import Course, Run, Scenario
from tests.benchmarks.report.stored import from_json, to_json
from tests.benchmarks.report.summary import summary
from tests.benchmarks.report.table import course_table, document, machine, scenario_table
from tests.benchmarks.rig import Rig
from tests.benchmarks.scenarios.catalogue import AnyScenario, catalogue, chosen

_DONE, _MISTAKE, _FOUND_WORSE = 0, 2, 3
"""Exit codes; the same numbers as those of `lens-bridge`."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what was asked for; print a table as soon as it is known. Returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        for name in ("events", "rounds"):
            if (value := getattr(options, name)) is not None and value < 1:
                raise ValueError(f"--{name} {value}: at least 1")
        earlier = _read(options.compare) if options.compare else None
        scenarios = chosen(catalogue(quick=options.quick, events=options.events), options.only)
        checkouts = [_checkout(one) for one in options.against]
        run = _read(options.read) if options.read else None
        for file in filter(None, (options.json, options.markdown, options.picture)):
            file.touch()  # told now, not after the measurements
    except (OSError, ValueError) as error:
        print(f"make bench: {error}", file=sys.stderr)
        return _MISTAKE
    if run is None:
        rounds = options.rounds or (2 if options.quick else 5)
        run = asyncio.run(_measured(scenarios, checkouts, rounds, lambda so_far: _keep(so_far, options.json)))
    else:
        print(machine(run), *_tables(run), sep="\n\n")
    return _told(run, earlier, options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="make bench",
        description="The bridge beside its peers and its limit, in one run. Contenders take turns; trust the ratios.",
        epilog="Exit codes: 0 measured; 2 a mistake in what was asked, or nothing to compare; 3 something got worse.",
    )
    names = ", ".join(one.name for one in catalogue(quick=False, events=None))
    parser.add_argument("--quick", action="store_true", help="two rounds of fewer events: for a first impression")
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="NAME",
        help=f"scenarios that are called or begin so: {names}; without it all but flat",
    )
    parser.add_argument("--events", type=int, help="in each scenario, of each session; flat has 5,000,000")
    parser.add_argument("--rounds", type=int, help="5; 2 with --quick; flat has one")
    parser.add_argument(
        "--against",
        action="append",
        default=[],
        metavar="[NAME=]DIR",
        help="measure another checkout of Lens Bridge in the same run; the goals take the first for the code before",
    )
    parser.add_argument(
        "--read", type=Path, metavar="FILE", help="measure nothing: take the figures of an earlier --json"
    )
    parser.add_argument("--compare", type=Path, metavar="FILE", help="what got worse since an earlier --json")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure of every round")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables, a summary first")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="draw the ratios, and what flat saw, as SVG")
    return parser


async def _measured(
    scenarios: list[AnyScenario], checkouts: list[tuple[str, Path]], rounds: int, keep: Callable[[Run], None]
) -> Run:
    """Each scenario in turn; what is known is printed and kept after each."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # a thousand sessions have a socket each, on both sides
    with tempfile.TemporaryDirectory() as directory:
        async with RedisServer() as server:
            rig = Rig(server, Path(directory) / "entries.json")
            run = Run(machine=_machine(rig, server), ours=OURS, before=checkouts[0][0] if checkouts else None)
            print(machine(run), flush=True)
            for scenario in scenarios:
                bridges = [bridge(name, path, scenario.sessions) for name, path in [(OURS, HERE), *checkouts]]
                result = scenario.run(rig, bridges, rounds)
                run.add(result)
                print(f"\n{_table(result)}", flush=True)
                keep(run)
            rig.client.close()
    return run


def _told(run: Run, earlier: Run | None, options: argparse.Namespace) -> int:
    """Goals and comparison on standard output, the files that were asked for, and the exit code."""
    tables = [goals_table(judge(run))]
    compared = compare(earlier, run) if earlier is not None else []
    if earlier is not None:
        tables.append(comparison_table(compared, earlier, run, options.compare.name))
    tables = [one for one in tables if one]
    print("", *tables, sep="\n")
    if options.markdown:
        parts = [one for one in (summary(run), *tables, *_tables(run)) if one]
        options.markdown.write_text(document(run, parts))
    _keep(run, options.json)
    if options.picture:
        try:
            options.picture.write_text(picture(run))
        except ValueError as error:
            print(f"make bench: --picture: {error}", file=sys.stderr)
            return _MISTAKE
    if earlier is None:
        return _DONE
    print(f"make bench: {verdict(compared, earlier, run)}", file=sys.stderr)
    if not compared:
        return _MISTAKE
    return _FOUND_WORSE if any(one.change is Change.WORSE for one in compared) else _DONE


def _keep(run: Run, file: Path | None) -> None:
    if file:
        file.write_text(to_json(run))


def _tables(run: Run) -> list[str]:
    return [*map(scenario_table, run.scenarios), *map(course_table, run.courses)]


def _table(result: Scenario | Course) -> str:
    return scenario_table(result) if isinstance(result, Scenario) else course_table(result)


def _read(file: Path) -> Run:
    try:
        return from_json(file.read_text())
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error


def _checkout(text: str) -> tuple[str, Path]:
    name, _, directory = text.rpartition("=")
    path = Path(directory).resolve()
    if not (path / "bridge" / "__main__.py").exists():
        raise ValueError(f"--against {text}: no checkout of Lens Bridge there (bridge/__main__.py)")
    return f"{OURS} {name or path.name}", path


def _machine(rig: Rig, server: RedisServer) -> dict[str, str]:
    return {
        "cores": str(os.cpu_count()),
        "python": platform.python_version(),
        server.executable.name: str(rig.client.info("server")["redis_version"]),
        "kernel": platform.release(),
    }


if __name__ == "__main__":
    sys.exit(main())
