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
    "dev": [*BASE, *EXTRAS["demo"], *EXTRAS["dev"], *GROUPS["build"]],
    "bench": [*BASE, *EXTRAS["demo"], *GROUPS["build"], *GROUPS["peers"]],
}


def project_name(requirement: str) -> str:
    """The normalised name in front of a requirement's versions and markers."""
    return re.sub(r"[-_.]+", "-", re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0]).lower()


@pytest.mark.parametrize("lock", CONTENTS)
def test_a_lock_holds_every_direct_dependency_with_hashes(lock: str) -> None:
    """`make lock` was run after the last change of pyproject.toml."""
    text = (PROJECT / ".requirements" / f"{lock}.txt").read_text()
    locked = {project_name(line) for line in text.splitlines() if line[:1].isalnum()}
    assert {project_name(one) for one in CONTENTS[lock]} <= locked
    assert text.count("--hash=sha256:") >= len(locked)


@pytest.mark.parametrize("lock", CONTENTS)
def test_a_lock_names_no_registry(lock: str) -> None:
    """Where packages come from is the business of the machine that installs them."""
    text = (PROJECT / ".requirements" / f"{lock}.txt").read_text()
    assert "://" not in text
    assert "--index-url" not in text
