"""Writes helm/worker-defaults.yaml: ``python -m tests.deploy.chart_defaults``.

The chart has to know what the worker does by itself: which port it listens on, how long it takes to stop, whether a
batch still fits into the buffer when only one of the two is set. And it has to know the names of all settings.
"""

from __future__ import annotations

from typing import Any

import yaml

from bridge.settings import Settings
from bridge.settings.reference import SETTINGS
from tests.deploy.chart_values import CHART

__all__ = ["FILE", "render"]

FILE = CHART / "worker-defaults.yaml"

_HEADER = """\
# Every setting of the worker with its default; null: none, made anew at each start, or the chart's own to know.
# Made from the worker's settings by tests/deploy/chart_defaults.py. The templates read it; nothing is set here.
"""
_OF_THE_CHART = ("redis.url",)


def render() -> str:
    """The whole file."""
    known = Settings().model_dump(mode="json")
    defaults: dict[str, dict[str, Any]] = {}
    for path, field in SETTINGS.items():
        section, dot, name = path.partition(".")
        if dot:
            made_anew = field.default_factory is not None
            default = None if made_anew or path in _OF_THE_CHART else known[section][name]
            defaults.setdefault(section, {})[name] = default
    return _HEADER + yaml.safe_dump(defaults, sort_keys=False)


if __name__ == "__main__":
    FILE.write_text(render(), encoding="utf-8")
