"""What helm/README.md shows as values can be installed."""

from __future__ import annotations

import re

import pytest
import yaml

from tests.deploy.chart import MINIMAL, render
from tests.deploy.chart_values import CHART

BLOCKS = re.findall(r"```yaml\n(.*?)```", (CHART / "README.md").read_text(), re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS)
def test_the_values_that_the_readme_shows_are_taken(block: str) -> None:
    """Each beside the least that an installation needs; where it brings a key, without the Secret of that."""
    values = MINIMAL | yaml.safe_load(block)
    if "api_key_file" in block:
        del values["apiKey"]
    assert yaml.safe_load(render(values).settings_file)["sessions"]
