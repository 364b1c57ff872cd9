"""The files that are made from the settings, and the examples."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from bridge.settings import Settings
from bridge.settings.loading import load, render_yaml, schema
from tests.support.configuration import AUTHORITY, without_worker_id

ROOT = Path(__file__).parents[3]


def test_the_commented_file_is_fresh_and_loads_to_the_defaults() -> None:
    """`make config` writes it; nothing in it may differ from what holds without it."""
    file = ROOT / "config" / "bridge.yaml"
    assert file.read_text() == render_yaml()
    assert without_worker_id(load(file, {}, {})) == without_worker_id(Settings())


def test_the_commented_file_explains_every_setting() -> None:
    """A comment above each, and each is there."""
    lines = render_yaml().splitlines()
    for name, section in Settings.model_fields.items():
        inner = getattr(section.annotation, "model_fields", None)
        for one in inner or [name]:
            place = next(n for n, line in enumerate(lines) if line.strip().removeprefix("# ").startswith(f"{one}:"))
            assert lines[place - 1].strip().startswith("# "), one


def test_the_schema_is_fresh_and_knows_every_setting() -> None:
    """Editors and charts read the file; `config schema` prints the same."""
    made = schema()
    assert json.loads((ROOT / "config" / "schema.json").read_text()) == made
    assert set(made["properties"]) == set(Settings.model_fields)
    assert made["additionalProperties"] is False
    for name, definition in made["$defs"].items():
        assert definition.get("additionalProperties") is False or "enum" in definition, name
        assert all("description" in one or "$ref" in one for one in definition.get("properties", {}).values()), name


@pytest.mark.parametrize("file", sorted((ROOT / "config" / "examples").glob("*.yaml")), ids=lambda file: file.stem)
def test_every_example_loads(file: Path, write: Any, tmp_path: Path) -> None:
    """And has at least one session, and a comment on top. The certificate that one names is put elsewhere."""
    text = file.read_text()
    assert text.startswith("# ")
    (tmp_path / "ca.crt").write_text(AUTHORITY)
    assert load(write(text.replace("/etc/lens-bridge/tls", str(tmp_path))), {}, {}).sessions


def test_durations_sizes_and_counts_have_their_unit_in_the_name() -> None:
    """Nobody should have to guess."""
    for section in yaml.safe_load(render_yaml()).values():
        if isinstance(section, dict):
            for name, value in section.items():
                if isinstance(value, float):
                    assert name.endswith(("_seconds", "_per_second")), name
                if "timeout" in name or "backoff" in name:
                    assert name.endswith("_seconds"), name
