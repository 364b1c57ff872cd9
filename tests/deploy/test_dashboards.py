"""The dashboards: well formed, up to date, about metrics that exist, and answered by a real Prometheus."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.support.deploy.dashboards import DASHBOARDS, Question, filled, load, metrics_of, panels, questions
from tests.support.deploy.exposition import series_names
from tests.support.deploy.needs import need_module
from tests.support.deploy.night import Night
from tests.support.deploy.prometheus import Prometheus
from tests.support.deploy.rules import HELM, load_rules, shortened
from tests.support.worker import until
from tests.support.worker_rig import Rig

SCHEMA_VARIABLE = "BRIDGE_TEST_GRAFANA_SCHEMA"
FROM_PROMETHEUS = {"ALERTS"}
MARKS = tuple(
    f"lens_bridge_{name}_total"
    for name in (
        "gaps",
        "rollbacks",
        "replay_overruns",
        "id_conflicts",
        "dead_letters",
        "fenced",
        "secrets_masked",
        "events_skipped",
    )
)
"""What the bad night has to make move, or else the panels about it were asked for nothing."""
each_dashboard = pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)

ANSWERED_WITHOUT_DATA: dict[str, str] = {}
"""Questions that need not be answered after a bad night, and why."""


def test_dashboards_are_what_their_source_says() -> None:
    """Nobody has edited the JSON by hand, or forgotten to write it anew."""
    build = HELM / "dashboards" / "source" / "build.py"
    done = subprocess.run([sys.executable, str(build), "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@each_dashboard
def test_dashboard_has_a_stable_uid_tags_and_variables(path: Path) -> None:
    """Links from outside stay good, and a session or a data source can be chosen."""
    dashboard = load(path)
    assert dashboard["uid"] == path.stem
    assert dashboard["tags"] == ["lens-bridge"]
    assert [one["name"] for one in dashboard["templating"]["list"]] == ["datasource", "job", "stream"]


@each_dashboard
def test_every_panel_says_what_good_looks_like(path: Path) -> None:
    """At three in the morning nobody remembers which way a graph should go."""
    for panel in panels(load(path)):
        assert panel["description"].startswith("Good: "), panel["title"]


@each_dashboard
def test_panels_do_not_overlap_and_have_ids_of_their_own(path: Path) -> None:
    """Grafana moves what overlaps, and mixes up what shares an id."""
    placed = [panel for panel in load(path)["panels"] if "gridPos" in panel]
    cells = Counter(
        (place["x"] + dx, place["y"] + dy)
        for place in (panel["gridPos"] for panel in placed)
        for dx in range(place["w"])
        for dy in range(place["h"])
    )
    assert max(cells.values()) == 1
    assert all(x < 24 for x, _ in cells)
    assert len({panel["id"] for panel in placed}) == len(placed)


@each_dashboard
def test_every_query_is_promql_about_metrics_that_exist(path: Path) -> None:
    """No typing error, and no metric that a worker does not have."""
    known = series_names() | FROM_PROMETHEUS
    for question in questions(path):
        unknown = metrics_of(filled(question.expr)) - known
        assert not unknown, f"{question}: {unknown}"


def test_every_metric_of_a_worker_is_shown_somewhere() -> None:
    """What is measured can be seen without writing a query."""
    shown = {name for path in DASHBOARDS for one in questions(path) for name in metrics_of(filled(one.expr))}
    own = {name for name in series_names() if name.startswith("lens_bridge_")}
    histograms = {name.removesuffix("_bucket") for name in own if name.endswith("_bucket")}
    parts = {f"{name}{suffix}" for name in histograms for suffix in ("_count", "_sum")}
    assert own - parts - shown == set()


@each_dashboard
@pytest.mark.skipif(SCHEMA_VARIABLE not in os.environ, reason=f"{SCHEMA_VARIABLE} names no schema of Grafana's")
def test_dashboard_keeps_to_grafanas_own_schema(path: Path) -> None:
    """No unknown key and no wrong type."""
    schema = _any_means_any(json.loads(Path(os.environ[SCHEMA_VARIABLE]).read_text()))
    jsonschema = need_module("jsonschema", "jsonschema")
    errors = list(jsonschema.Draft7Validator(schema).iter_errors(load(path)))
    assert not errors, "\n".join(f"{error.json_path}: {error.message:.300}" for error in errors)


def _any_means_any(schema: Any) -> Any:
    """Where Grafana's schema says an object without properties, it means a value of any type."""
    if isinstance(schema, list):
        return [_any_means_any(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("type") == "object" and schema.get("additionalProperties") == {} and "properties" not in schema:
        return {}
    return {name: _any_means_any(value) for name, value in schema.items()}


@pytest.mark.timeout(180)
@pytest.mark.parametrize("detail", ["full", "reduced"])
async def test_every_query_is_answered_with_data_after_a_bad_night(own_rig: Rig, tmp_path: Path, detail: str) -> None:
    """Real workers under load and faults, a real Prometheus: no panel stays empty, at each level of detail."""
    night = Night(own_rig, pace_seconds=0.5, detail=detail)
    await night.begin()
    async with Prometheus(tmp_path / "prometheus", night.targets, shortened(load_rules())) as prometheus:
        await _scraped(prometheus, len(night.targets))
        await night.fall()
        await until(lambda: _lag_is_seen(prometheus), "a consumer group was sampled")
        await until(lambda: _left_marks(prometheus), f"all of {MARKS} were sampled")
        ended = time.time()
        unanswered = []
        asked = 0
        for path in DASHBOARDS:
            for question in questions(path):
                asked += 1
                if not await _answered(prometheus, question, night.began, ended):
                    unanswered.append(str(question))
        print(f"{asked - len(unanswered)} of {asked} queries answered with data")
    await night.end()
    assert set(unanswered) == set(ANSWERED_WITHOUT_DATA)


async def _scraped(prometheus: Prometheus, targets: int) -> None:
    async def seen() -> bool:
        return await prometheus.value("count(lens_bridge_build_info)") == targets

    await until(seen, "every worker was scraped")


async def _lag_is_seen(prometheus: Prometheus) -> bool:
    return await prometheus.value("count(lens_bridge_group_lag)") is not None


async def _left_marks(prometheus: Prometheus) -> bool:
    return all([await prometheus.value(f"sum(max_over_time({name}[5m])) > 0") for name in MARKS])


async def _answered(prometheus: Prometheus, question: Question, began: float, ended: float) -> bool:
    expr = filled(question.expr, whole=f"{math.ceil(ended - began)}s")
    if question.instant:
        found = [[one["value"]] for one in await prometheus.ask(expr, ended)]
    else:
        found = [one["values"] for one in await prometheus.ask_range(expr, began, ended, 1)]
    return any(not math.isnan(float(value)) for values in found for _, value in values)
