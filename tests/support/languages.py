"""What the readers of config/examples/consumers are run with: the packages of each language, installed apart."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.support.deploy.needs import need_program, without
from tests.support.worker import ROOT

__all__ = ["CONSUMERS", "command_of"]

CONSUMERS = ROOT / "config" / "examples" / "consumers"
INSTALL_SECONDS = 100


def command_of(example: str, workshop: Path) -> list[str]:
    """How to run an example. What it needs is installed into ``workshop``, once for all that need it.

    Skips the test where something is missing; in CI, fails.
    """
    file = CONSUMERS / example
    match file.suffix:
        case ".mjs":
            return [need_program("node"), str(_beside_its_packages(file, workshop))]
        case ".go":
            return [str(_compiled(file, workshop))]
        case ".py":
            return [sys.executable, str(file)]
        case ".sh":
            need_program("redis-cli")
            return [need_program("bash"), str(file)]
        case ".php":
            return [need_program("php"), str(file)]
        case ".rb":
            return [need_program("ruby"), str(file)]
        case other:
            raise AssertionError(f"nothing is known of {other}")


def _beside_its_packages(file: Path, workshop: Path) -> Path:
    """Node looks for packages where the program stands."""
    place = workshop / "node"
    if not place.exists():
        place.mkdir()
        for one in ("package.json", "package-lock.json"):
            shutil.copy(CONSUMERS / one, place)
        _run([need_program("npm"), "ci", "--no-audit", "--no-fund"], place)
    return Path(shutil.copy(file, place))


def _compiled(file: Path, workshop: Path) -> Path:
    """With the packages of the distribution: no module proxy is asked."""
    program = workshop / file.stem
    settings = {"GO111MODULE": "off", "GOPATH": "/usr/share/gocode", "GOCACHE": str(workshop / "go"), "GOFLAGS": ""}
    if not Path("/usr/share/gocode/src/github.com/gomodule/redigo").exists():
        without("needs golang-github-gomodule-redigo-dev")
    _run([need_program("go"), "build", "-o", str(program), str(file)], workshop, settings)
    return program


def _run(command: Sequence[str], directory: Path, settings: dict[str, str] | None = None) -> None:
    done = subprocess.run(
        command, cwd=directory, env=os.environ | (settings or {}), capture_output=True, text=True,
        timeout=INSTALL_SECONDS, check=False,
    )  # fmt: skip
    if done.returncode:
        without(f"`{' '.join(map(str, command[:3]))}` failed: {(done.stderr or done.stdout)[-2000:]}")
