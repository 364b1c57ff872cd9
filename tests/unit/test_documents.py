"""README, CONTRIBUTING and CHANGELOG: what they point to is there."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml

PROJECT = Path(__file__).parents[2]
DOCUMENTS = [PROJECT / "README.md", PROJECT / ".github" / "CONTRIBUTING.md", PROJECT / "CHANGELOG.md"]
TOP = "|".join(sorted(re.escape(path.name) for path in PROJECT.iterdir() if path.is_dir() and path.name != ".venv"))

TARGETS = set(re.findall(r"^([a-z]+):", (PROJECT / "Makefile").read_text(), re.MULTILINE))
each_document = pytest.mark.parametrize(
    "document", [*DOCUMENTS, PROJECT / "config" / "README.md"], ids=lambda path: f"{path.parent.name}/{path.stem}"
)


@each_document
def test_every_link_within_the_repository_leads_somewhere(document: Path) -> None:
    """Files and folders, pictures too, seen from where the document stands."""
    links = [link for link in re.findall(r"\]\(([^)#]+)[^)]*\)", document.read_text()) if "://" not in link]
    assert links or document.stem == "CHANGELOG"
    assert [link for link in links if not (document.parent / link).exists()] == []


@each_document
def test_every_path_that_is_named_exists(document: Path) -> None:
    """What stands in backticks and begins with a folder of the repository."""
    named = re.findall(rf"`((?:{TOP})/[^`\s]*)`", document.read_text())
    assert named or document.stem == "README"
    assert [path for path in named if not (PROJECT / path).exists()] == []


@each_document
def test_every_make_target_that_is_named_exists(document: Path) -> None:
    """In the text and in the blocks."""
    named = set(re.findall(r"(?:^|`|&& )make ([a-z]+)", document.read_text(), re.MULTILINE))
    assert named - TARGETS == set()


def test_each_fault_in_the_readme_names_a_test_that_exists() -> None:
    """What is said of a fault is what a test has seen."""
    readme = (PROJECT / "README.md").read_text()
    table = readme[readme.index("| fault | what the bridge does |") :].split("\n\n", 1)[0].splitlines()[2:]
    named = [re.findall(r"`(test_[a-z0-9_]+)`", row.rsplit(" | ", 1)[-1]) for row in table]
    assert len(table) > 20
    assert [row for row, tests in zip(table, named, strict=True) if not tests] == []
    there = {name for path in (PROJECT / "tests").rglob("test_*.py") for name in _tests_in(path)}
    assert {test for tests in named for test in tests} - there == set()


def _tests_in(path: Path) -> list[str]:
    return re.findall(r"^(?:async )?def (test_[a-z0-9_]+)", path.read_text(), re.MULTILINE)


def test_the_rooms_of_the_house_are_all_described() -> None:
    """In the README's table and in CONTRIBUTING's."""
    rooms = {path.parent.name for path in (PROJECT / "bridge").glob("*/__init__.py")}
    assert len(rooms) > 5
    readme, contributing, _ = (document.read_text() for document in DOCUMENTS)
    assert {room for room in rooms if f"| [{room}](bridge/{room}) |" not in readme} == set()
    assert {room for room in rooms if f"`bridge/{room}`" not in contributing} == set()


def test_the_changelog_has_a_section_for_this_version() -> None:
    """And one for what is coming, which stands first."""
    version = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["version"]
    sections = re.findall(
        r"^## \[(.+?)\](?: - (\d{4}-\d\d-\d\d))?$", (PROJECT / "CHANGELOG.md").read_text(), re.MULTILINE
    )
    assert sections[0] == ("Unreleased", "")
    dated = dict(sections[1:])
    assert version in dated
    assert all(dated.values()), "a version that is out has a date"
    assert list(dated.values()) == sorted(dated.values(), reverse=True)


def test_the_hooks_are_the_makefiles_own_commands() -> None:
    """Nothing is fetched from elsewhere, and nothing is checked that CI does not check."""
    hooks = yaml.safe_load((PROJECT / ".pre-commit-config.yaml").read_text())
    assert [one["repo"] for one in hooks["repos"]] == ["local"]
    assert {hook["entry"].split()[-1] for hook in hooks["repos"][0]["hooks"]} <= TARGETS
