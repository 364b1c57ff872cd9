"""`make mutants ARGS="bridge/delivery bridge/store/scripts/commit.lua --sample 60 --seed 4"`."""

from __future__ import annotations

import argparse
import queue
import random
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.mutants.change import Change
from tests.mutants.lua_source import lua_changes
from tests.mutants.python_source import python_changes
from tests.mutants.trial import PROJECT, Copy, TrialError, Verdict

_MOST_AT_ONCE = 2  # each trial may start a Redis, sockets and processes of its own


def main(argv: Sequence[str] | None = None) -> int:
    """Try the changes and print who noticed. 0 whatever came of it; 1 where nothing could be tried."""
    options = _parser().parse_args(argv)
    changes = [change for path in _sources(options.paths) for change in _changes(path)]
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(10_000)
    if options.sample and options.sample < len(changes):
        chosen = set(random.Random(seed).sample(range(len(changes)), options.sample))
        changes = [change for at, change in enumerate(changes) if at in chosen]
        print(f"{len(changes)} changes, a sample of --seed {seed}", flush=True)
    if options.list:
        print(*changes, sep="\n")
        return 0
    try:
        _print_table(_tried(changes, also=options.also))
    except TrialError as error:
        print(f"mutants: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make mutants", description="Change single places, see which tests notice.")
    parser.add_argument("paths", nargs="+", type=Path, help="modules, scripts or folders of bridge/")
    parser.add_argument("--sample", type=int, metavar="N", help="only so many of the changes")
    parser.add_argument("--seed", type=int, help="which ones; printed where it is not given")
    parser.add_argument("--also", action="append", default=[], metavar="ROOM", help="ask this room's tests as well")
    parser.add_argument("--list", action="store_true", help="print the changes and try none")
    return parser


def _sources(paths: Sequence[Path]) -> list[Path]:
    found: list[Path] = []
    for path in paths:
        whole = (PROJECT / path).resolve()
        if not whole.exists() or not whole.is_relative_to(PROJECT / "bridge"):
            raise SystemExit(f"mutants: {path} is no module, script or folder of bridge/")
        inside = sorted(whole.rglob("*")) if whole.is_dir() else [whole]
        found += [one.relative_to(PROJECT) for one in inside if one.suffix in (".py", ".lua")]
    return found


def _changes(path: Path) -> list[Change]:
    source = (PROJECT / path).read_bytes()
    return lua_changes(path, source) if path.suffix == ".lua" else python_changes(path, source)


def _tried(changes: Sequence[Change], *, also: Sequence[str]) -> list[tuple[Change, Verdict]]:
    with (
        tempfile.TemporaryDirectory(prefix="lens-bridge-mutants-") as scratch,
        ThreadPoolExecutor(_MOST_AT_ONCE) as pool,
    ):
        copies: queue.SimpleQueue[Copy] = queue.SimpleQueue()
        for number in range(_MOST_AT_ONCE):
            copies.put(Copy(Path(scratch) / str(number), also=also))

        def try_out(change: Change) -> Verdict:
            copy = copies.get()
            try:
                verdict = copy.try_out(change)
            finally:
                copies.put(copy)
            if verdict is Verdict.SURVIVED:
                print(f"survived  {change}", flush=True)
            return verdict

        try:
            return list(zip(changes, pool.map(try_out, changes), strict=True))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _print_table(tried: Sequence[tuple[Change, Verdict]]) -> None:
    modules: dict[Path, Counter[Verdict]] = {}
    for change, verdict in tried:
        modules.setdefault(change.path, Counter())[verdict] += 1
    width = max((len(str(path)) for path in modules), default=0)
    print(f"\n{'module':{width}}  changes", *(f"{verdict:>9}" for verdict in Verdict), sep="  ")
    for path, counts in modules.items():
        print(f"{path!s:{width}}  {counts.total():>7}", *(f"{counts[verdict]:>9}" for verdict in Verdict), sep="  ")
    total = sum(modules.values(), Counter[Verdict]())
    print(f"{'all':{width}}  {total.total():>7}", *(f"{total[verdict]:>9}" for verdict in Verdict), sep="  ")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # as Ctrl-C: the copies go
    sys.exit(main())
