"""The chart as Helm renders it: valid for Kubernetes, and right in the cases that embarrass a chart."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from bridge import __version__
from tests.deploy import chart_defaults, chart_readme, chart_schema
from tests.deploy.chart import EXAMPLES, MINIMAL, Release, ValuesError, lint, render, with_values
from tests.deploy.chart_values import CHART, default_values
from tests.support.deploy.needs import need_module

CUSTOM = {
    "Certificate",
    "ExternalSecret",
    "PodMonitor",
    "PrometheusRule",
    "ScaledObject",
    "SecretProviderClass",
    "ServiceMonitor",
}  # of operators; Kubernetes itself has no schema for them
OLDEST = "1.28"  # as in Chart.yaml
DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
DIGEST = f"sha256:{'0' * 64}"

example = pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)


def values_of(example: Path) -> dict[str, Any]:
    """An example's values."""
    values: dict[str, Any] = yaml.safe_load(example.read_text())
    return values


def minor(version: str) -> int:
    """28 of 1.28.3."""
    return int(version.split(".")[1])


def named_labels(release: Release) -> set[str]:
    """Every value of a label in the release."""
    found: set[str] = set()
    for one in (*release.manifests, *release.pods()):
        found |= {str(value) for value in one["metadata"].get("labels", {}).values()}
    return found


def test_it_passes_lint_with_nothing_set() -> None:
    """`helm lint --strict` has no objection to the defaults."""
    assert lint() == []


@example
def test_every_example_passes_lint(example: Path) -> None:
    """Nor to any example."""
    assert lint(values_of(example)) == []


@example
def test_every_example_is_valid_from_the_oldest_to_the_newest_kubernetes(example: Path) -> None:
    """Each object has only fields that the API knows, of the right types: oldest, middle, newest version."""
    validator = need_module("kubernetes_validate.utils", "kubernetes-validate")
    versions = [one for one in sorted(set(validator.all_versions()), key=minor) if minor(one) >= minor(OLDEST)]
    assert len(versions) >= 3
    manifests = [one for one in render(values_of(example)).manifests if one["kind"] not in CUSTOM]
    for version in (versions[0], versions[len(versions) // 2], versions[-1]):
        for one in manifests:
            validator.validate(one, version, strict=True)


@example
def test_no_two_objects_share_a_name(example: Path) -> None:
    """A second object of the same kind and name would replace the first."""
    ids = render(values_of(example)).ids()
    assert len(set(ids)) == len(ids) >= 6


def test_nothing_but_an_image_a_secret_and_a_list_of_sessions_is_needed() -> None:
    """The whole of what an installation has to say."""
    assert set(MINIMAL) == {"apiKey", "image", "sessions"}
    assert {kind for kind, _ in render().ids()} == {
        "ConfigMap", "Deployment", "NetworkPolicy", "Pod", "PodDisruptionBudget", "Service", "ServiceAccount"
    }  # fmt: skip


def test_without_a_secret_it_says_what_to_set() -> None:
    """The error names the value and what the Secret has to hold."""
    with pytest.raises(ValuesError, match=r"set apiKey\.existingSecret to the name of a Secret .* `api-key`"):
        render({"sessions": ["lsn-1"]})


def test_chart_and_program_have_one_version() -> None:
    """The image's tag is by default that of the program that the chart was tested with."""
    about = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert about["version"] == about["appVersion"] == __version__
    assert render().worker["spec"]["containers"][0]["image"] == f"registry.example/lens-bridge:{__version__}"


def test_a_digest_wins_over_the_tag() -> None:
    """What was signed is what runs."""
    release = render(with_values(image__tag="other", image__digest=DIGEST))
    assert release.worker["spec"]["containers"][0]["image"] == f"registry.example/lens-bridge@{DIGEST}"


def test_without_sessions_it_installs_and_says_that_it_stands_by() -> None:
    """An empty list is no mistake: sessions may come later."""
    release = render(with_values(sessions=[]))
    assert yaml.safe_load(release.settings_file)["sessions"] == []
    assert "No sessions are configured" in release.notes


def test_zero_workers_are_allowed() -> None:
    """`replicas: 0` stops it all without an uninstallation; 0 is not taken for "not set"."""
    assert render(with_values(replicas=0)).one("Deployment")["spec"]["replicas"] == 0


@pytest.mark.parametrize("name", ["b", "r" * 53, "r" * 63, f"{'r' * 40}-lens-bridge"])
def test_names_and_labels_fit_for_any_release_name(name: str) -> None:
    """63 characters at most; 52 for the StatefulSet, whose pods carry its name and a hash in a label."""
    release = render(with_values(redis__trial__enabled=True), name=name)
    for kind, full in release.ids():
        assert DNS_LABEL.fullmatch(full), (kind, full)
    assert len(release.one("StatefulSet")["metadata"]["name"]) <= 52
    assert max(map(len, named_labels(release))) <= 63


def test_two_releases_stand_side_by_side() -> None:
    """In one namespace, even with long names that differ only at the end, nothing is shared and no pod is mixed up."""
    values = with_values(redis__trial__enabled=True)
    for pair in (("one", "two"), (f"{'r' * 52}a", f"{'r' * 52}b"), ("lens-bridge", "lens-bridge-b")):
        one, two = (render(values, name=name) for name in pair)
        assert not set(one.ids()) & set(two.ids())
        selectors = [each.one("Deployment")["spec"]["selector"]["matchLabels"] for each in (one, two)]
        assert not selectors[0].items() <= two.worker["metadata"]["labels"].items()
        assert not selectors[1].items() <= one.worker["metadata"]["labels"].items()


def test_every_selector_finds_its_pods_and_only_those() -> None:
    """Service, disruption budget, policy and monitor select the workers, and neither the test nor the trial Redis."""
    release = render(with_values(redis__trial__enabled=True, metrics__podMonitor__enabled=True))
    worker = release.worker["metadata"]["labels"].items()
    others = [one["metadata"]["labels"].items() for one in release.pods() if one != release.worker]
    selectors = [
        release.all("Service")[0]["spec"]["selector"],
        release.one("PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        release.one("PodMonitor")["spec"]["selector"]["matchLabels"],
        release.all("NetworkPolicy")[0]["spec"]["podSelector"]["matchLabels"],
    ]
    assert len(others) == 2
    for selector in selectors:
        assert selector.items() <= worker
        assert not any(selector.items() <= one for one in others)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"replicas": "2"}, "replicas"),
        ({"replicas": -1}, "replicas"),
        ({"replica": 2}, "replica"),
        ({"config__worker__grace_period_seconds": "30"}, "grace_period_seconds"),
        ({"config__worker__grace_period_second": 30}, "grace_period_second"),
        ({"config__sessions": ["lsn-1"]}, "sessions"),
        ({"config__admin__port": 0}, "port"),
        ({"image__digest": "latest"}, "digest"),
        ({"image__pullPolicy": "Sometimes"}, "pullPolicy"),
        ({"probes__liveness__periodSecond": 1}, "periodSecond"),
        ({"terminationMarginSeconds": 0}, "terminationMarginSeconds"),
    ],
    ids=str,
)
def test_a_wrong_value_is_refused_by_its_name(changes: dict[str, Any], words: str) -> None:
    """A typing error, a number as a string or a secret in the wrong place fails before anything is installed."""
    with pytest.raises(ValuesError, match=words):
        render(with_values(**changes))


def test_labels_and_annotations_may_be_numbers_and_truths() -> None:
    """YAML makes `true` and `42` of what Kubernetes wants as strings."""
    release = render(with_values(podAnnotations={"a": True, "b": 42}, podLabels={"c": 1.5}, commonLabels={"d": False}))
    assert release.worker["metadata"]["annotations"].items() >= {"a": "true", "b": "42"}.items()
    assert release.worker["metadata"]["labels"].items() >= {"c": "1.5", "d": "false"}.items()


def test_an_autoscaler_owns_the_number_of_workers() -> None:
    """With one, the Deployment names no number: each upgrade would reset it."""
    for values in (
        with_values(autoscaling__enabled=True),
        with_values(keda__enabled=True, keda__prometheusAddress="http://p", metrics__podMonitor__enabled=True),
    ):
        assert "replicas" not in render(values).one("Deployment")["spec"]


def test_contradictions_of_autoscaling_are_told() -> None:
    """Two autoscalers, or one that could never see a figure."""
    with pytest.raises(ValuesError, match="only one of"):
        render(with_values(autoscaling__enabled=True, keda__enabled=True))
    with pytest.raises(ValuesError, match=r"metrics\.podMonitor\.enabled or metrics\.serviceMonitor\.enabled"):
        render(with_values(keda__enabled=True, keda__prometheusAddress="http://p"))
    for monitor in ("podMonitor", "serviceMonitor"):
        values = with_values(keda={"enabled": True, "prometheusAddress": "http://p"})
        with pytest.raises(ValuesError, match=rf"metrics\.{monitor}\.jobLabel: does not go with keda\.enabled"):
            render(values | {"metrics": {monitor: {"enabled": True, "jobLabel": "app.kubernetes.io/instance"}}})
    with pytest.raises(ValuesError, match=r"keda\.prometheusAddress"):
        render(with_values(keda__enabled=True, metrics__podMonitor__enabled=True))


def test_the_disruption_budget_lets_a_single_worker_be_moved() -> None:
    """With `minAvailable: 1` no node with a single worker could ever be drained."""
    spec = render().one("PodDisruptionBudget")["spec"]
    assert spec["maxUnavailable"] == 1
    assert "minAvailable" not in spec


def test_an_upgrade_starts_the_new_worker_first() -> None:
    """The sessions are handed over to one that is there already."""
    assert render().one("Deployment")["spec"]["strategy"] == {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0},
    }


def test_dashboards_and_rules_are_the_files_unchanged() -> None:
    """Braces in legends and alert texts are for Grafana and Prometheus, not for Helm."""
    values = with_values(metrics__dashboards__enabled=True, metrics__prometheusRule__enabled=True)
    release = render(values)
    boards = [one for one in release.all("ConfigMap") if one["metadata"]["labels"].get("grafana_dashboard") == "1"]
    files = {one.name: one.read_text() for one in (CHART / "dashboards").glob("*.json")}
    assert files
    assert {name: text.strip() for one in boards for name, text in one["data"].items()} == {
        name: text.strip() for name, text in files.items()
    }
    rules = yaml.safe_load((CHART / "alerts" / "rules.yaml").read_text())
    assert release.one("PrometheusRule")["spec"] == rules


@pytest.mark.parametrize(
    ("prefix", "before"),
    [
        ("https://git.example/helm/", "https://git.example/helm/RUNBOOK.md#"),
        ("https://git.example/helm", "https://git.example/helm/RUNBOOK.md#"),
        ("https://wiki.example/?page=", "https://wiki.example/?page=RUNBOOK.md#"),
    ],
)
def test_runbook_links_lead_where_the_user_keeps_it(prefix: str, before: str) -> None:
    """With an address each alert has a link to its section; nothing else of the rule changes."""
    rules = yaml.safe_load((CHART / "alerts" / "rules.yaml").read_text())
    values = with_values(metrics__prometheusRule={"enabled": True, "runbookPrefix": prefix})
    groups = render(values).one("PrometheusRule")["spec"]["groups"]
    links = [rule["annotations"].pop("runbook_url") for group in groups for rule in group["rules"] if "alert" in rule]
    assert links
    assert all(link.startswith(before) for link in links)
    assert groups == rules["groups"]


def test_without_an_address_no_alert_has_a_link_that_leads_nowhere() -> None:
    """A page at night shows the section's name, and nothing to click on in vain."""
    groups = render(with_values(metrics__prometheusRule__enabled=True)).one("PrometheusRule")["spec"]["groups"]
    for rule in (rule for group in groups for rule in group["rules"] if "alert" in rule):
        assert "runbook_url" not in rule["annotations"]
        assert rule["annotations"]["runbook"] == f"helm/RUNBOOK.md#{rule['alert'].lower()}"


def test_values_readme_schema_and_defaults_belong_together() -> None:
    """They are what their modules in tests/deploy make of values.yaml and of the worker's settings."""
    assert chart_defaults.FILE.read_text() == chart_defaults.render(), "run python -m tests.deploy.chart_defaults"
    assert chart_schema.FILE.read_text() == chart_schema.render(), "run python -m tests.deploy.chart_schema"
    assert chart_readme.FILE.read_text() == chart_readme.render(), "run python -m tests.deploy.chart_readme"


def test_one_example_moves_every_value_from_its_default() -> None:
    """So no value is without a test of its rendering; those that exclude others stand in other examples."""
    everything, others = values_of(CHART / "ci" / "everything.yaml"), [values_of(one) for one in EXAMPLES]
    apart = {"replicas", "autoscaling", "nameOverride", "fullnameOverride", "resources", "probes", "podSecurityContext",
             "securityContext", "podDisruptionBudget", "envFrom", "extraVolumes", "extraVolumeMounts", "initContainers",
             "extraContainers", "extraObjects", "serve"}  # fmt: skip
    assert set(default_values()) - set(everything) == apart
    elsewhere = apart - {"replicas", "nameOverride", "fullnameOverride", "resources", "probes", "securityContext"}
    assert elsewhere <= {name for one in others for name in one}
