"""The dashboards as data: which questions they ask Prometheus."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.deploy.needs import need_module
from tests.support.deploy.rules import HELM

__all__ = ["DASHBOARDS", "Question", "filled", "load", "metrics_of", "panels", "parsed", "questions"]

DASHBOARDS = sorted((HELM / "dashboards").glob("*.json"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One query of one panel. ``instant``: asked for the end of the time shown only."""

    dashboard: str
    panel: str
    ref: str
    expr: str
    instant: bool

    def __str__(self) -> str:
        return f"{self.dashboard} / {self.panel} / {self.ref}"


def load(path: Path) -> dict[str, Any]:
    """One dashboard."""
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def panels(dashboard: dict[str, Any]) -> list[dict[str, Any]]:
    """The panels that show something; rows are headings."""
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def questions(path: Path) -> Iterator[Question]:
    """Every query of a dashboard, annotations too."""
    dashboard = load(path)
    for panel in panels(dashboard):
        for target in panel["targets"]:
            yield Question(
                dashboard=path.stem,
                panel=panel["title"],
                ref=target["refId"],
                expr=target["expr"],
                instant=target["instant"],
            )
    for note in dashboard["annotations"]["list"]:
        yield Question(dashboard=path.stem, panel=note["name"], ref="annotation", expr=note["expr"], instant=False)


def filled(expr: str, *, window: str = "5s", whole: str = "1m", job: str = ".*", stream: str = ".*") -> str:
    """The query with Grafana's variables replaced, as it reaches Prometheus."""
    values = {"$__rate_interval": window, "$__range": whole, "$job": job, "$stream": stream}
    for name, value in values.items():
        expr = expr.replace(name, value)
    return expr


def parsed(expr: str) -> Any:
    """The syntax tree of an expression. Raises ValueError where it is no PromQL."""
    return need_module("promql_parser", "promql-parser").parse(expr)


def metrics_of(expr: str) -> set[str]:
    """The metrics that an expression reads. Raises ValueError where it is no PromQL."""
    return set(_names(parsed(expr)))


def _names(node: Any) -> Iterator[str]:
    match type(node).__name__:
        case "VectorSelector":
            if node.name:
                yield node.name
        case "MatrixSelector":
            yield from _names(node.vector_selector)
        case "BinaryExpr":
            yield from _names(node.lhs)
            yield from _names(node.rhs)
        case "Call":
            for argument in node.args:
                yield from _names(argument)
        case "NumberLiteral" | "StringLiteral":
            return
        case _:  # aggregations, parentheses, signs and subqueries all have one inner expression
            yield from _names(node.expr)
