"""A copy of the project in which one change at a time is tried."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path

from tests.mutants.change import Change

__all__ = ["PROJECT", "Copy", "TrialError", "Verdict"]

PROJECT = Path(__file__).parents[2]
_NOT_COPIED = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "dist", "helm")
_ALLOWED_SECONDS = 30.0  # beyond four times what the tests take on the unchanged copy: a change may loop for ever
_NO_TESTS = 5  # pytest's exit code


class TrialError(Exception):
    """Nothing can be tried: the unchanged copy fails."""


class Verdict(StrEnum):
    """Who noticed."""

    UNIT = "unit"
    COMPONENT = "component"
    ELSEWHERE = "elsewhere"
    SURVIVED = "survived"


class Copy:
    """One copy. Not for two threads."""

    def __init__(self, root: Path, *, also: Sequence[str] = ()) -> None:
        self._root = root
        self._also = tuple(also)
        self._tried = 0
        self._took_seconds: dict[tuple[str, ...], float] = {}
        shutil.copytree(PROJECT, root, ignore=_NOT_COPIED, dirs_exist_ok=True)

    def try_out(self, change: Change) -> Verdict:
        """Make the change, run the tests of its room, take it back. Raises TrialError."""
        groups = self._groups(change.path)
        for tests in groups.values():
            self._measure(tests)
        target = self._root / change.path
        original = target.read_bytes()
        self._write(target, change.apply(original))
        try:
            for verdict, tests in groups.items():
                if tests and self._run(tests, 4 * self._took_seconds[tests] + _ALLOWED_SECONDS) not in (0, _NO_TESTS):
                    return verdict
            return Verdict.SURVIVED
        finally:
            self._write(target, original)

    def _write(self, target: Path, source: bytes) -> None:
        # Byte code is told from stale byte code by a second and a size, and both may be the same here.
        self._tried += 1
        target.write_bytes(source)
        os.utime(target, (self._tried, self._tried))

    def _groups(self, path: Path) -> dict[Verdict, tuple[str, ...]]:
        """The tests that should notice, cheapest first: those of the same room, and there the module's own first."""
        room = path.parts[1]
        groups = {Verdict.UNIT: self._tests_of("unit", room, path), Verdict.COMPONENT: ()}
        groups[Verdict.COMPONENT] = self._tests_of("component", room, path)
        if self._also:
            patterns = [f"tests/{cost}/{one}/**/test_*.py" for cost in ("unit", "component") for one in self._also]
            groups[Verdict.ELSEWHERE] = tuple(file for pattern in patterns for file in self._files(pattern))
        return groups

    def _tests_of(self, cost: str, room: str, path: Path) -> tuple[str, ...]:
        if room.endswith(".py"):
            return self._files(f"tests/{cost}/test_{room}")
        files = self._files(f"tests/{cost}/{room}/**/test_*.py")
        return tuple(sorted(files, key=lambda one: path.stem not in Path(one).stem))

    def _files(self, pattern: str) -> tuple[str, ...]:
        return tuple(sorted(str(one.relative_to(self._root)) for one in self._root.glob(pattern)))

    def _measure(self, tests: tuple[str, ...]) -> None:
        """How long the tests take unchanged; they must pass."""
        if tests in self._took_seconds or not tests:
            return
        begun = time.monotonic()
        if (code := self._run(tests, 1800)) != 0:
            raise TrialError(f"without a change pytest ends with {code}: {' '.join(tests)}")
        self._took_seconds[tests] = time.monotonic() - begun

    def _run(self, tests: tuple[str, ...], allowed_seconds: float) -> int:
        command = [sys.executable, "-m", "pytest", "-x", "-q", "--no-header", "--tb=no", *tests]
        process = subprocess.Popen(
            command,
            cwd=self._root,
            env=os.environ | {"PYTHONPATH": str(self._root)},  # before the project itself, which is installed editable
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            return process.wait(allowed_seconds)
        except subprocess.TimeoutExpired:
            return -signal.SIGKILL
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
