"""A run as JSON, and back."""

from __future__ import annotations

import json
from dataclasses import asdict

from tests.benchmarks.report.results import Course, Ratio, Run, Scenario

_FORMAT = 1


def to_json(run: Run) -> str:
    """Every figure of every round."""
    return json.dumps({"format": _FORMAT} | asdict(run), indent=1, allow_nan=False, ensure_ascii=False) + "\n"


def from_json(text: str) -> Run:
    """What `to_json` wrote. Raises ValueError where it did not."""
    stored = json.loads(text)
    if not isinstance(stored, dict) or stored.pop("format", None) != _FORMAT:
        raise ValueError(f"not the JSON of `make bench` (format {_FORMAT})")
    try:
        scenarios = [
            Scenario(**one | {"ratios": [Ratio(**ratio) for ratio in one["ratios"]]}) for one in stored.pop("scenarios")
        ]
        courses = [Course(**one) for one in stored.pop("courses")]
        return Run(scenarios=scenarios, courses=courses, **stored)
    except (KeyError, TypeError) as error:
        raise ValueError(f"not the JSON of `make bench`: {error}") from error
