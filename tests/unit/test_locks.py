"""The hashed locks: they hold what the project asks for, and name no registry."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
PYPROJECT = tomllib.loads((PROJECT / "pyproject.toml").read_text())
BASE = PYPROJECT["project"]["dependencies"]
EXTRAS = PYPROJECT["project"]["optional-dependencies"]
GROUPS = PYPROJECT["dependency-groups"]
CONTENTS = {
    "runtime": BASE,
    "otel": [*BASE, *EXTRAS["otel"]],
    "demo": [*BASE, *EXTRAS["demo"], *GROUPS["build"]],
    "dev": [*BASE, *EXTRAS["demo"], *EXTRAS["dev"], *EXTRAS["otel"], *GROUPS["build"]],
    "bench": [*BASE, *EXTRAS["demo"], *GROUPS["build"], *GROUPS["peers"]],
}


LOCKS = {lock: (PROJECT / ".requirements" / f"{lock}.txt").read_text() for lock in CONTENTS}


def project_name(requirement: str) -> str:
    """The normalised name in front of a requirement's versions and markers."""
    return re.sub(r"[-_.]+", "-", re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0]).lower()


@pytest.mark.parametrize("lock", CONTENTS)
def test_a_lock_holds_every_direct_dependency_with_hashes(lock: str) -> None:
    """`make lock` was run after the last change of pyproject.toml."""
    text = LOCKS[lock]
    locked = {project_name(line) for line in text.splitlines() if line[:1].isalnum()}
    assert {project_name(one) for one in CONTENTS[lock]} <= locked
    assert text.count("--hash=sha256:") >= len(locked)


def test_locks_agree_on_the_versions_of_what_they_share() -> None:
    """`make test` after `make demo` adds the workshop and takes nothing back, and all are measured and tested alike."""
    versions: dict[str, set[str]] = {}
    for text in LOCKS.values():
        for name, version in re.findall(r"^([a-z0-9.-]+)==([^ ;]+)", text, re.MULTILINE):
            versions.setdefault(name, set()).add(version)
    assert {name: found for name, found in versions.items() if len(found) > 1} == {}


@pytest.mark.parametrize("lock", ["runtime", "otel", "demo", "bench"])
def test_no_worker_that_is_shown_or_measured_can_carry_rich(lock: str) -> None:
    """httpx imports click and then rich where it finds both: 1.4 MiB in each worker that it has no use for."""
    locked = {project_name(line) for line in LOCKS[lock].splitlines() if line[:1].isalnum()}
    assert "click" not in locked
    assert ("rich" in locked) == (lock not in {"runtime", "otel"})
    assert ("opentelemetry-sdk" in locked) == (lock == "otel")


@pytest.mark.parametrize("lock", CONTENTS)
def test_a_lock_names_no_registry(lock: str) -> None:
    """Where packages come from is the business of the machine that installs them."""
    text = LOCKS[lock]
    assert "://" not in text
    assert "--index-url" not in text
