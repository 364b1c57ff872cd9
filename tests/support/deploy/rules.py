"""The alert rules as data, and the same at the pace of a test."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

__all__ = ["HELM", "RULES", "alerts", "load_rules", "shortened"]

HELM = Path(__file__).resolve().parents[3] / "helm"
RULES = HELM / "alerts" / "rules.yaml"

_MINUTES = re.compile(r"\b(\d+)m\b")
_HOURS = re.compile(r"\b(\d+)h\b")
_AGE = re.compile(r"(time\(\) - [^<>]*[<>] )(\d+)")


def load_rules() -> dict[str, Any]:
    """The rule file as it is."""
    rules: dict[str, Any] = yaml.safe_load(RULES.read_text())
    return rules


def alerts(rules: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The alerts by name."""
    return {rule["alert"]: rule for group in rules["groups"] for rule in group["rules"]}


def shortened(rules: dict[str, Any]) -> dict[str, Any]:
    """The same rules with every duration divided: minutes become seconds.

    It applies to each ``for``, each window and each offset, and to the numbers that a ``time() -`` is compared with.
    What is compared, and how, stays as it is. A window has to hold some scrapes, so none is shorter than 5 seconds.
    """
    groups = [{**group, "rules": [_shortened(rule) for rule in group["rules"]]} for group in rules["groups"]]
    return {"groups": groups}


def _shortened(rule: dict[str, Any]) -> dict[str, Any]:
    expr = _MINUTES.sub(lambda found: f"{max(5, int(found[1]))}s", rule["expr"])
    expr = _HOURS.sub(r"\1m", expr)
    expr = _AGE.sub(lambda found: f"{found[1]}{int(found[2]) / 60:g}", expr)
    return {**rule, "expr": expr, "for": _MINUTES.sub(r"\1s", rule["for"])}
