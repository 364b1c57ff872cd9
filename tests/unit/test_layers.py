"""The architecture as a test: import contracts, and modules small enough to be read in one go."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).parents[2]
LONGEST_MODULE_LINES = 350


def test_the_import_contracts_hold() -> None:
    """Layers, pure modules, and the few places that may speak HTTP or Redis are as pyproject.toml says."""
    lint_imports = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run(
        [lint_imports, "--no-cache", "--no-logo"], cwd=PROJECT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_module_is_too_long() -> None:
    """A module that outgrows 350 lines does two things."""
    lengths = {path: len(path.read_text().splitlines()) for path in (PROJECT / "bridge").rglob("*.py")}
    assert lengths
    assert {str(path.relative_to(PROJECT)): n for path, n in lengths.items() if n > LONGEST_MODULE_LINES} == {}
