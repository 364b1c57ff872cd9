"""What the cluster is asked for around the pods: monitors, scaling, replacement, names, and what happens at a stop."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from tests.deploy.chart import ValuesError, render, with_values
from tests.deploy.chart_values import CHART

EVERYTHING: dict[str, Any] = yaml.safe_load((CHART / "ci" / "everything.yaml").read_text())
SEVERAL: dict[str, Any] = yaml.safe_load((CHART / "ci" / "several-workers.yaml").read_text())
EXTERNAL: dict[str, Any] = yaml.safe_load((CHART / "ci" / "external-secrets.yaml").read_text())
MONITORS = ("podMonitor", "serviceMonitor")
KINDS = dict(zip(MONITORS, ("PodMonitor", "ServiceMonitor"), strict=True))
ENDPOINTS = dict(zip(MONITORS, ("podMetricsEndpoints", "endpoints"), strict=True))
# A value of the chart, and where the operator looks for it.
OF_THE_MONITOR: dict[str, Any] = {"jobLabel": "team", "podTargetLabels": ["team"], "sampleLimit": 9}
OF_THE_ENDPOINT: dict[str, Any] = {
    "interval": "1m",
    "scrapeTimeout": "30s",
    "honorLabels": True,
    "relabelings": [{"targetLabel": "zone", "replacement": "a"}],
    "metricRelabelings": [{"sourceLabels": ["__name__"], "regex": "x", "action": "drop"}],
}


def named(spec: dict[str, Any]) -> tuple[str, Any, Any]:
    """What of a pod is about names."""
    return spec.get("dnsPolicy", ""), spec.get("dnsConfig"), spec.get("hostAliases")


@pytest.mark.parametrize("monitor", MONITORS)
def test_a_monitor_has_what_it_was_given_where_the_operator_looks(monitor: str) -> None:
    """Each field in its place; and nothing that was not set, so that Prometheus' own defaults hold."""
    given = {"labels": {"release": "p"}, "annotations": {"a": "b"}, "namespace": "monitoring"}
    more = {"targetLabels": ["team"]} if monitor == "serviceMonitor" else {}
    values = {"enabled": True, **given, **OF_THE_MONITOR, **OF_THE_ENDPOINT, **more}
    made = render(with_values(metrics={monitor: values}), namespace="streams").one(KINDS[monitor])
    assert made["metadata"]["namespace"] == "monitoring"
    assert made["metadata"]["labels"]["release"] == "p"
    assert made["metadata"]["annotations"] == {"a": "b"}
    (endpoint,) = made["spec"].pop(ENDPOINTS[monitor])
    assert endpoint == OF_THE_ENDPOINT | {"port": "http", "path": "/metrics"}
    assert made["spec"].pop("namespaceSelector") == {"matchNames": ["streams"]}
    assert made["spec"].pop("selector")
    assert made["spec"] == OF_THE_MONITOR | more

    plain = render(with_values(metrics={monitor: {"enabled": True}})).one(KINDS[monitor])
    assert plain["spec"].keys() == {"namespaceSelector", "selector", ENDPOINTS[monitor]}
    assert plain["spec"][ENDPOINTS[monitor]] == [{"port": "http", "path": "/metrics", "interval": "30s"}]


@pytest.mark.parametrize(("timeout", "interval"), [("999ms", "1s"), ("1m30s", "90s"), ("59s", "1m"), ("10s", "0.5h")])
def test_a_scrape_may_take_as_long_as_the_interval(timeout: str, interval: str) -> None:
    """Units are told apart, and a duration that is none is refused."""
    values = with_values(metrics__podMonitor={"enabled": True, "scrapeTimeout": timeout, "interval": interval})
    if "." in interval:
        with pytest.raises(ValuesError, match="interval"):
            render(values)
    else:
        assert render(values).one("PodMonitor")["spec"]["podMetricsEndpoints"][0]["scrapeTimeout"] == timeout


def test_a_service_monitor_finds_the_service_and_its_port_and_no_other() -> None:
    """Not that of the trial Redis beside it."""
    release = render(with_values(redis__trial__enabled=True, metrics__serviceMonitor__enabled=True))
    spec = release.one("ServiceMonitor")["spec"]
    found = [
        one
        for one in release.all("Service")
        if spec["selector"]["matchLabels"].items() <= one["metadata"]["labels"].items()
    ]
    assert [one["metadata"]["name"] for one in found] == ["lens-bridge"]
    assert spec["endpoints"][0]["port"] in {one["name"] for one in found[0]["spec"]["ports"]}


@pytest.mark.parametrize(
    ("metrics", "selector"),
    [
        ({"podMonitor": {"enabled": True}}, 'job="streams/lens-bridge"'),
        ({"podMonitor": {"enabled": True, "namespace": "monitoring"}}, 'job="monitoring/lens-bridge"'),
        ({"serviceMonitor": {"enabled": True}}, 'namespace="streams",job="lens-bridge"'),
        ({"serviceMonitor": {"enabled": True, "namespace": "m"}}, 'namespace="streams",job="lens-bridge"'),
    ],
    ids=str,
)
def test_keda_asks_for_the_series_as_the_operator_names_them(metrics: dict[str, Any], selector: str) -> None:
    """A pod monitor's job is its namespace and name, a service monitor's the name of the Service."""
    values = with_values(keda={"enabled": True, "prometheusAddress": "http://p"}, metrics=metrics)
    triggers = render(values, namespace="streams").one("ScaledObject")["spec"]["triggers"]
    (query,) = (one["metadata"]["query"] for one in triggers if one["type"] == "prometheus")
    assert f"lens_bridge_lease_held{{{selector}}}" in query
    assert f"lens_bridge_session_state{{{selector},state=~" in query


def test_the_pace_of_scaling_is_handed_on_unchanged() -> None:
    """To the autoscaler itself, and to the one that KEDA makes."""
    scaler = render(SEVERAL).one("HorizontalPodAutoscaler")["spec"]
    assert scaler["behavior"] == SEVERAL["autoscaling"]["behavior"]
    made = render(EVERYTHING).one("ScaledObject")["spec"]["advanced"]["horizontalPodAutoscalerConfig"]
    assert made["behavior"] == EVERYTHING["keda"]["behavior"]
    plain = render(with_values(autoscaling__enabled=True)).one("HorizontalPodAutoscaler")["spec"]
    assert "behavior" not in plain


@pytest.mark.parametrize(
    ("strategy", "made"),
    [
        ({}, {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}),
        (
            {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": "30%"}},
            {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": "30%"}},
        ),
        ({"type": "Recreate"}, {"type": "Recreate"}),
        ({"type": "Recreate", "rollingUpdate": {"maxSurge": 0}}, {"type": "Recreate"}),
    ],
    ids=str,
)
def test_workers_are_replaced_as_they_are_told(strategy: dict[str, Any], made: dict[str, Any]) -> None:
    """With Recreate Kubernetes takes no numbers, and the chart's own are left out."""
    assert render(with_values(strategy=strategy)).one("Deployment")["spec"]["strategy"] == made


def test_names_are_looked_up_where_the_values_say() -> None:
    """Policy, name servers and the lines of /etc/hosts, for `helm test` too; without any of them nothing is said."""
    wanted = tuple(EVERYTHING[name] for name in ("dnsPolicy", "dnsConfig", "hostAliases"))
    for release, names in ((render(EVERYTHING), wanted), (render(), ("", None, None))):
        for pod in (release.worker, release.one("Pod")):
            assert named(pod["spec"]) == names


@pytest.mark.parametrize(
    ("lifecycle", "more"),
    [
        ({"preStop": {"sleep": {"seconds": 7}}}, 7),
        ({"preStop": {"exec": {"command": ["true"]}}}, 0),
        ({"postStart": {"httpGet": {"port": "http", "path": "/livez"}}}, 0),
        ({}, 0),
    ],
    ids=str,
)
def test_a_rest_before_the_stop_is_not_taken_from_the_time_to_stop(lifecycle: dict[str, Any], more: int) -> None:
    """Kubernetes' clock runs from before `preStop`; the worker still gets its own deadline and the margin."""
    spec = render(with_values(lifecycle=lifecycle)).worker["spec"]
    assert spec["containers"][0].get("lifecycle", {}) == lifecycle
    assert spec["terminationGracePeriodSeconds"] == 20 + 10 + more


def test_secrets_of_a_store_come_by_the_secret_that_is_kept_in_step_with_it() -> None:
    """The object that fills it names the Secret and the keys that the pod mounts."""
    release = render(EXTERNAL, namespace="streams")
    store = release.one("ExternalSecret")
    filled = {(store["spec"]["target"]["name"], one["secretKey"]) for one in store["spec"]["data"]}
    (volume,) = (one["projected"] for one in release.worker["spec"]["volumes"] if one["name"] == "secrets")
    mounted = {(one["secret"]["name"], item["key"]) for one in volume["sources"] for item in one["secret"]["items"]}
    assert filled == mounted
    assert store["metadata"]["namespace"] == "streams"


@pytest.mark.parametrize(
    "path", ["metrics.serviceMonitor", "autoscaling.behavior.scaleUp", "lifecycle", "hostAliases.0"]
)
def test_an_unknown_field_in_them_is_refused(path: str) -> None:
    """A typing error would be dropped by the cluster without a word."""
    value: Any = {"typo": 1}
    for name in reversed(path.split(".")[1:]):
        value = [value] if name.isdigit() else {name: value}
    with pytest.raises(ValuesError, match="typo"):
        render(with_values(**{path.partition(".")[0]: value}))
