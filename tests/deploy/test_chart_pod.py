"""What a user adds to the pod: files, variables, containers, objects; how long it may stop; both address families."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from bridge.settings.loading import load
from tests.deploy.chart import MINIMAL, ValuesError, render, with_values
from tests.deploy.chart_values import CHART

MOUNTED: dict[str, Any] = yaml.safe_load((CHART / "ci" / "mounted-secrets.yaml").read_text())
AGENT: dict[str, Any] = yaml.safe_load((CHART / "ci" / "vault-agent.yaml").read_text())
FROM_SECRET = {"valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}


def test_a_key_that_something_else_mounts_needs_no_secret() -> None:
    """The worker looks where the volume is, and the pod waits for no Secret and has no volume for one."""
    release = render(MOUNTED)
    settings = yaml.safe_load(release.settings_file)
    spec = release.worker["spec"]
    mounts = {one["name"]: one["mountPath"] for one in spec["containers"][0]["volumeMounts"]}
    assert {one["name"] for one in spec["volumes"]} == set(mounts) == {"config", "vault", "authorities"}
    assert settings["source"]["api_key_file"] == f"{mounts['vault']}/api-key"
    assert settings["redis"]["password_file"] == f"{mounts['vault']}/redis-password"
    assert settings["redis"]["ca_file"] == f"{mounts['authorities']}/ca.crt"


def test_an_agent_that_is_injected_finds_its_annotations_and_its_token_unchanged() -> None:
    """Braces in an annotation are for the agent, and the token is for its volume only: the worker does not see it."""
    release = render(AGENT)
    annotations = release.worker["metadata"]["annotations"]
    assert annotations.items() >= AGENT["podAnnotations"].items()
    (token,) = AGENT["extraVolumes"]
    assert token in release.worker["spec"]["volumes"]
    assert token["name"] == annotations["vault.hashicorp.com/agent-service-account-token-volume-name"]
    assert token["name"] not in {one["name"] for one in release.worker["spec"]["containers"][0]["volumeMounts"]}
    assert yaml.safe_load(release.settings_file)["source"]["api_key_file"].startswith("/vault/secrets/")


def test_some_secrets_may_be_mounted_and_others_come_from_kubernetes() -> None:
    """The key from elsewhere, the password from a Secret."""
    values = {**MOUNTED, "redis": {"username": "u", "password": {"existingSecret": "s"}}, "config": {"source": {}}}
    values["config"] = {"source": {"api_key_file": "/mnt/secrets/api-key"}}
    spec = render(values).worker["spec"]
    (projected,) = (one["projected"] for one in spec["volumes"] if one["name"] == "secrets")
    assert [one["secret"]["name"] for one in projected["sources"]] == ["s"]


@pytest.mark.parametrize(
    "source",
    [
        {"extraEnv": [{"name": "ATAI_API_KEY", **FROM_SECRET}]},
        {"extraEnv": [{"name": "BRIDGE_SOURCE__API_KEY", **FROM_SECRET}]},
        {"envFrom": [{"secretRef": {"name": "s"}}]},
    ],
    ids=["ATAI_API_KEY", "BRIDGE_SOURCE__API_KEY", "envFrom"],
)
def test_a_key_may_come_as_a_variable_of_a_secret(source: dict[str, Any], tmp_path: Any) -> None:
    """Then the file names none: the worker refuses a key that comes from two places."""
    release = render({**MINIMAL, "apiKey": {}, **source})
    container = release.worker["spec"]["containers"][0]
    assert container.get("envFrom", []) == source.get("envFrom", [])
    file = tmp_path / "bridge.yaml"
    file.write_text(release.settings_file)
    assert load(file, environment={"ATAI_API_KEY": "atai_x"}).source.api_key_file is None


def test_a_password_of_redis_may_come_as_a_variable_of_a_secret() -> None:
    """An ACL user is refused only where no password can come from anywhere."""
    for more in (
        {"extraEnv": [{"name": "BRIDGE_REDIS__PASSWORD", **FROM_SECRET}]},
        {"envFrom": [{"secretRef": {"name": "s"}}]},
        {"config__redis__password_file": "/mnt/password"},
        {"redis__password__existingSecret": "s"},
        {"redis__trial__enabled": True},
    ):
        render(with_values(redis__username="bridge", **more))
    render(with_values(redis__username="default"))  # who connects without a password is that one anyway


def test_the_trial_redis_gets_no_password_and_no_certificate() -> None:
    """Those of the real one would be refused by it."""
    values = with_values(
        redis__trial__enabled=True, config__redis={"password_file": "/p", "ca_file": "/c", "cert_file": "/c"}
    )
    redis = yaml.safe_load(render(values).settings_file)["redis"]
    assert redis.keys() == {"url"}


def test_containers_of_the_user_stand_beside_the_worker() -> None:
    """The worker stays the first: it is the one that `kubectl logs` and `kubectl exec` take."""
    spec = render(MOUNTED).worker["spec"]
    assert [one["name"] for one in spec["initContainers"]] == ["await-redis"]
    assert [one["name"] for one in spec["containers"]] == ["worker", "log-forwarder"]


def test_files_and_variables_of_the_worker_also_reach_the_check_of_helm_test() -> None:
    """The doctor looks at what the worker gets, so it needs the same; secrets and certificates are read with it."""
    for values in (MINIMAL, MOUNTED):
        release = render(values)
        worker, test = release.worker["spec"], release.one("Pod")["spec"]
        (check,) = test["initContainers"]
        assert test["volumes"] == worker["volumes"]
        assert check["args"] == ["doctor"]
        assert check["volumeMounts"] == worker["containers"][0]["volumeMounts"]
        assert check.get("envFrom") == worker["containers"][0].get("envFrom") == values.get("envFrom")


def test_objects_of_the_user_belong_to_the_release() -> None:
    """As objects or as text, with the release's own names filled in."""
    assert render(MOUNTED, namespace="streams").one("SecretProviderClass")["metadata"]["namespace"] == "streams"
    text = "kind: Extra\nmetadata: {name: '{{ include \"lens-bridge.fullname\" . }}-more'}"
    assert render(with_values(extraObjects=[text])).one("Extra")["metadata"]["name"] == "lens-bridge-more"


@pytest.mark.parametrize("margin", [-1, 0, 4])
def test_a_pod_that_would_be_killed_while_it_commits_is_refused(margin: int) -> None:
    """Kubernetes' patience is always longer than the worker's own deadline for a stop."""
    with pytest.raises(ValuesError, match="terminationMarginSeconds"):
        render(with_values(terminationMarginSeconds=margin))


@pytest.mark.parametrize("grace", [0.1, 20, 59.5, 86400])
def test_the_patience_of_kubernetes_follows_the_deadline_of_the_worker(grace: float) -> None:
    """At the smallest margin that is allowed there are 5 seconds between them."""
    release = render(with_values(terminationMarginSeconds=5, config__worker__grace_period_seconds=grace))
    assert release.worker["spec"]["terminationGracePeriodSeconds"] >= grace + 5


def test_nothing_in_the_chart_asks_for_addresses_of_one_family() -> None:
    """IPv6-only: probes go to the pod's own address, Services take what there is, no rule of the policy names any."""
    release = render(with_values(redis__trial__enabled=True))
    for container in (one for pod in release.pods() for one in pod["spec"]["containers"]):
        probes = [container.get(f"{name}Probe", {}) for name in ("startup", "liveness", "readiness")]
        assert not any("host" in action for probe in probes for action in probe.values() if isinstance(action, dict))
    for service in release.all("Service"):
        assert not {"ipFamilyPolicy", "ipFamilies", "clusterIP"} & service["spec"].keys()
    for policy in release.all("NetworkPolicy"):
        assert "ipBlock" not in yaml.safe_dump(policy)
    assert "host" not in yaml.safe_load(release.settings_file).get("admin", {})


def test_a_service_may_have_both_families() -> None:
    """On a dual-stack cluster it has one address only unless it is asked for."""
    release = render(with_values(service={"ipFamilyPolicy": "PreferDualStack", "ipFamilies": ["IPv6", "IPv4"]}))
    spec = release.one("Service")["spec"]
    assert (spec["ipFamilyPolicy"], spec["ipFamilies"]) == ("PreferDualStack", ["IPv6", "IPv4"])


@pytest.mark.parametrize(
    ("key", "noted"),
    [("lens:{name}:events", True), ("lens:{all}:events", False), ("lens:{{ .session_id }}:<name>", True)],
)
def test_a_placeholder_of_other_tools_is_noted(key: str, noted: bool) -> None:
    """`{name}` is a hash tag here: it is not filled in."""
    notes = render(with_values(config__stream__key=key)).notes
    assert ("no placeholder" in notes) == noted


def test_sessions_that_would_share_a_stream_by_a_placeholder_of_other_tools_are_refused() -> None:
    """Meant as a stream for each; where one stream for all is meant, the template says so in other words."""
    two = {"gate": "lsn-1", "dock": "lsn-2"}
    with pytest.raises(ValuesError, match=r"dock and gate would share the one stream lens:{name}:events"):
        render(with_values(sessions=two, config__stream__key="lens:{name}:events"))
    render(with_values(sessions=two, config__stream__key="lens:{all}:events"))
    render(with_values(sessions=two, config__stream__key="lens:{name}:<name>"))


def test_an_authority_without_encryption_is_noted() -> None:
    """Who names one believes that the connection is encrypted."""
    for url, noted in (("redis://redis:6379/0", True), ("valkey+cluster://a", True), ("rediss+sentinel://a/p", False)):
        secret = {"existingSecret": "authority"}
        release = render(with_values(redis={"url": url, "ca": secret, "clientCertificate": secret}))
        assert ("redis.ca has no effect" in release.notes) == noted
        assert ("redis.clientCertificate has no effect" in release.notes) == noted
