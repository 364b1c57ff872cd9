"""The alert rules: accepted by promtool, tested both ways, about metrics that exist, each with a runbook."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from bridge.settings import Settings
from tests.support.deploy.dashboards import DASHBOARDS, metrics_of, parsed
from tests.support.deploy.exposition import labels_of, series_names
from tests.support.deploy.needs import need_program
from tests.support.deploy.rules import HELM, RULES, alerts, load_rules, shortened

TESTS = sorted((RULES.parent / "tests").glob("*.yaml"))
RUNBOOK = HELM / "RUNBOOK.md"
ALERTS = alerts(load_rules())
each_alert = pytest.mark.parametrize("name", ALERTS)


def _promtool(*arguments: str) -> None:
    done = subprocess.run(
        [need_program("promtool"), *arguments], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_accepts_the_rules() -> None:
    """Prometheus will load them."""
    _promtool("check", "rules", str(RULES))


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.stem)
def test_promtool_finds_that_the_rules_answer_as_written(path: Path) -> None:
    """Input series over time, and what fires then."""
    _promtool("test", "rules", str(path))


def test_promtool_accepts_the_shortened_rules_too(tmp_path: Path) -> None:
    """The chain is tested with these."""
    path = tmp_path / "rules.yaml"
    path.write_text(yaml.safe_dump(shortened(load_rules())))
    _promtool("check", "rules", str(path))


@each_alert
def test_alert_is_tested_to_fire_and_to_be_quiet(name: str) -> None:
    """A rule that is only ever seen firing may fire always."""
    tested = [
        case
        for path in TESTS
        for one in yaml.safe_load(path.read_text())["tests"]
        for case in one["alert_rule_test"]
        if case["alertname"] == name
    ]
    assert any(case["exp_alerts"] for case in tested)
    assert any(not case["exp_alerts"] for case in tested)


@each_alert
def test_alert_says_what_it_is_and_how_bad(name: str) -> None:
    """It has a time to wait, a severity that routes, and words for a person."""
    rule = ALERTS[name]
    assert name.startswith("LensBridge")
    assert rule["for"]
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert set(rule["annotations"]) == {"summary", "description", "runbook"}


@each_alert
def test_alert_is_about_metrics_that_exist(name: str) -> None:
    """A renamed metric would make the alert silent for ever."""
    assert metrics_of(ALERTS[name]["expr"]) <= series_names()


@each_alert
def test_alert_names_only_labels_that_its_expression_keeps(name: str) -> None:
    """An empty name in a page at night helps nobody."""
    rule = ALERTS[name]
    used = set(re.findall(r"\$labels\.(\w+)", " ".join(rule["annotations"].values())))
    assert used <= _labels_kept(parsed(rule["expr"]))


def _labels_kept(node: Any) -> set[str]:
    match type(node).__name__:
        case "AggregateExpr":
            return set(node.modifier.labels) if node.modifier else set()
        case "BinaryExpr":
            return _labels_kept(node.lhs) or _labels_kept(node.rhs)  # time() and numbers have none
        case "Call":
            return _labels_kept(node.args[-1]) if node.args and node.func.name != "absent" else set()
        case "VectorSelector":
            return labels_of()[node.name]
        case "MatrixSelector":
            return _labels_kept(node.vector_selector)
        case "ParenExpr":
            return _labels_kept(node.expr)
    return set()


@each_alert
def test_alert_leads_to_a_section_of_the_runbook(name: str) -> None:
    """Its name is that of the file in this repository, and of a heading there."""
    file, _, anchor = ALERTS[name]["annotations"]["runbook"].partition("#")
    assert HELM.parent / file == RUNBOOK
    assert anchor in {_anchor(heading) for heading in _headings()}
    assert anchor == name.lower()


def test_runbook_has_no_section_of_an_alert_that_is_gone() -> None:
    """Nobody looks for a rule that no longer exists."""
    assert {one for one in _headings() if one.startswith("LensBridge")} == set(ALERTS)


@each_alert
def test_runbook_section_answers_the_four_questions(name: str) -> None:
    """What it means, what to look at, what mends it, what is lost by waiting."""
    section = RUNBOOK.read_text().split(f"## {name}\n", 1)[1].split("\n## ", 1)[0]
    for question in ("**Means**", "**Look**", "**Mend**", "**If you wait**"):
        assert question in section, f"{name}: {question}"


def test_runbook_names_only_log_events_metrics_and_settings_that_exist() -> None:
    """An operator searches for these words, so they have to be the right ones."""
    source = "\n".join(path.read_text() for path in (HELM.parent / "bridge").rglob("*.py"))
    words = set(re.findall(r"`([a-z_]+\.[a-z_]+)`", RUNBOOK.read_text())) - {"bridge.gap"}  # the type of an entry
    unknown = {word for word in words if f'"{word}"' not in source and not _is_setting(word)}
    assert not unknown
    metrics = set(re.findall(r"`(lens_bridge_\w+)`", RUNBOOK.read_text()))
    assert metrics <= series_names()


def test_commands_that_an_operator_is_told_to_run_exist() -> None:
    """The runbook and the dashboards name no command that the program does not have."""
    texts = [RUNBOOK.read_text(), *(path.read_text() for path in DASHBOARDS)]
    named = {match for text in texts for match in re.findall(r"lens-bridge ((?:config )?[a-z][a-z-]+)", text)}
    told = {command for command in named if command not in {"config", "lens-bridge"}}
    assert {"verify", "dead-letters", "config show"} <= told
    for command in told:
        done = subprocess.run(
            [sys.executable, "-m", "bridge", *command.split(), "--help"], capture_output=True, text=True
        )
        assert done.returncode == 0, f"lens-bridge {command}: {done.stderr}"


def _is_setting(word: str) -> bool:
    section, _, name = word.partition(".")
    field = Settings.model_fields.get(section)
    return field is not None and name in getattr(field.annotation, "model_fields", {})


def _headings() -> list[str]:
    return re.findall(r"^#{1,3} (.+)$", RUNBOOK.read_text(), re.MULTILINE)


def _anchor(heading: str) -> str:
    """As GitHub makes it: lower case, spaces to hyphens, no punctuation."""
    return re.sub(r"[^a-z0-9 _-]", "", heading.lower()).replace(" ", "-")
