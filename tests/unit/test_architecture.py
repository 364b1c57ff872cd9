"""The architecture as a test: import contracts, and rooms, modules and constructors small enough to be grasped at once.

What is not yet so stands in a ``TOO_…`` table with its number today. A number that grew fails, and so does one that
shrank: it is written down anew, or its row goes.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).parents[2]
BRIDGE = PROJECT / "bridge"
LONGEST_MODULE_LINES = 350
FEWEST_IN_A_ROOM, MOST_IN_A_ROOM = 3, 12
MOST_PARAMETERS = 6

ROOMIER = {"bridge/lab/simulator": 16}
"""It plays a whole API with all its faults."""

TOO_FULL: dict[str, int] = {}
TOO_MANY_PARAMETERS: dict[str, int] = {}


def test_the_import_contracts_hold() -> None:
    """Layers, pure modules, and the few places that may speak HTTP or Redis are as pyproject.toml says."""
    lint_imports = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run(
        [lint_imports, "--no-cache", "--no-logo"], cwd=PROJECT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_module_is_too_long() -> None:
    """A module that outgrows 350 lines does two things."""
    lengths = {path: len(path.read_text().splitlines()) for path in BRIDGE.rglob("*.py")}
    assert lengths
    assert {str(path.relative_to(PROJECT)): n for path, n in lengths.items() if n > LONGEST_MODULE_LINES} == {}


def test_no_room_is_too_full() -> None:
    """What a room holds is seen at a glance: at most 12 modules, the room's own docstring among them."""
    full = {_name(room): len(list(room.glob("*.py"))) for room in _rooms()}
    assert len(full) > 10
    assert {room: n for room, n in full.items() if n > ROOMIER.get(room, MOST_IN_A_ROOM)} == TOO_FULL


def test_no_room_is_nearly_empty() -> None:
    """One with less than three modules or rooms in it is a door too many."""
    holds = {_name(room): [*room.glob("*.py"), *room.glob("*/__init__.py")] for room in _rooms()}
    assert {room: len(inside) for room, inside in holds.items() if len(inside) < FEWEST_IN_A_ROOM} == {}


def test_no_constructor_takes_too_much() -> None:
    """At most 6 parameters: who needs more is handed one value that holds them, as `SessionContext` is."""
    found = {}
    for path in BRIDGE.rglob("*.py"):
        for made in ast.walk(ast.parse(path.read_text())):
            if isinstance(made, ast.ClassDef):
                found[f"{path.relative_to(PROJECT)} {made.name}"] = _parameters(made)
    assert sum(found.values()) > 50
    assert {name: n for name, n in found.items() if n > MOST_PARAMETERS} == TOO_MANY_PARAMETERS


def _rooms() -> list[Path]:
    return [path.parent for path in BRIDGE.rglob("__init__.py")]


def _name(room: Path) -> str:
    return str(room.relative_to(PROJECT))


def _parameters(made: ast.ClassDef) -> int:
    """How many a class's own ``__init__`` takes beside ``self``; a dataclass has none and lists its fields instead."""
    for method in made.body:
        if isinstance(method, ast.FunctionDef) and method.name == "__init__":
            arguments = method.args
            return len([*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]) - 1
    return 0
