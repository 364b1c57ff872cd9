"""What the tests of the worker share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def write(tmp_path: Path) -> Any:
    def writer(text: str) -> Path:
        file = tmp_path / "bridge.yaml"
        file.write_text(text)
        return file

    return writer
