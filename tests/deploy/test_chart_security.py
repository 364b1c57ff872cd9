"""Hardened by default: what the chart asserts for every pod, and that no secret leaves its Secret."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.chart import EXAMPLES, MINIMAL, render, with_values
from tests.deploy.chart_values import CHART
from tests.support.deploy.needs import need_program

CHECKOV = os.environ.get("BRIDGE_TEST_CHECKOV", "checkov")  # in an environment of its own: its pins exclude ours

# What checkov would have otherwise, and why it is so. By check, then by the objects it may concern ("": any).
ACCEPTED: dict[str, tuple[str, ...]] = {
    "CKV_K8S_11": ("",),  # no CPU limit: throttling delays events and protects nobody that the request does not
    "CKV_K8S_15": ("",),  # IfNotPresent: a version or a digest is never another image
    "CKV_K8S_43": ("",),  # no digest: the image is the user's own build; image.digest takes it
    "CKV_K8S_8": ("Pod.streams.lens-bridge-test",),  # probes: the test's pod ends by itself
    "CKV_K8S_9": ("Pod.streams.lens-bridge-test",),
    "CKV2_K8S_6": (
        "Pod.streams.lens-bridge-test",
        "Deployment.streams.lens-bridge",
    ),  # the test; an example turns it off
    "CKV_K8S_40": ("Deployment.streams.lens-bridge", "Pod.streams.lens-bridge-test"),  # an example leaves the user open
    "CKV_DOCKER_2": ("",),  # no HEALTHCHECK: OCI images have none, Kubernetes has probes
    "CKV_DOCKER_7": ("",),  # the base is an argument, with a version
}


def containers(pod: dict[str, Any]) -> list[dict[str, Any]]:
    """All of a pod."""
    return [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]


@pytest.mark.parametrize("values", [MINIMAL, with_values(redis__trial__enabled=True)], ids=["plain", "trial"])
def test_every_pod_meets_the_restricted_standard(values: dict[str, Any]) -> None:
    """User, seccomp, capabilities, root file system and token, for the worker, the test and the trial Redis alike."""
    pods = list(render(values).pods())
    assert len(pods) >= 2
    for pod in pods:
        spec = pod["spec"]
        assert spec["automountServiceAccountToken"] is False
        assert spec["securityContext"].items() >= {
            "runAsNonRoot": True, "runAsUser": 10001, "seccompProfile": {"type": "RuntimeDefault"}
        }.items()  # fmt: skip
        assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()
        assert all({"configMap", "projected"} & one.keys() for one in spec.get("volumes", []))
        for container in containers(pod):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
                "privileged": False,
                "readOnlyRootFilesystem": True,
                "runAsNonRoot": True,
            }
            assert container["resources"]["limits"]["memory"]
            assert container["resources"]["requests"].keys() == {"cpu", "memory"}


def test_the_service_account_has_no_token() -> None:
    """The worker does not talk to Kubernetes."""
    assert render().one("ServiceAccount")["automountServiceAccountToken"] is False


def test_a_platform_may_assign_the_users() -> None:
    """With null for the user the field is left out, and the files can be read by whoever it is."""
    values = with_values(podSecurityContext={"runAsUser": None, "runAsGroup": None, "fsGroup": None})
    spec = render(values).worker["spec"]
    assert not {"runAsUser", "runAsGroup", "fsGroup"} & spec["securityContext"].keys()
    assert spec["securityContext"]["runAsNonRoot"] is True
    (secrets,) = (one["projected"] for one in spec["volumes"] if one["name"] == "secrets")
    assert secrets["defaultMode"] == 0o444


def test_only_the_group_of_the_pod_reads_the_secrets() -> None:
    """Kubernetes gives the files to fsGroup; nobody else needs them, and nobody writes them."""
    (secrets,) = (one["projected"] for one in render().worker["spec"]["volumes"] if one["name"] == "secrets")
    assert secrets["defaultMode"] == 0o440


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_the_chart_holds_no_secret_and_puts_none_into_a_config_map(example: Path) -> None:
    """No Secret is created, and what configures the worker names files instead of values."""
    release = render(yaml.safe_load(example.read_text()))
    assert release.all("Secret") == []
    settings = yaml.safe_load(release.settings_file)
    assert not {"api_key"} & settings["source"].keys()
    assert not {"password"} & settings["redis"].keys()
    assert "@" not in settings["redis"]["url"]


def test_no_value_of_the_chart_can_hold_a_secret() -> None:
    """The schema knows `existingSecret` and its key only: there is nowhere to write a key or a password by mistake."""
    schema = json.loads((CHART / "values.schema.json").read_text())["properties"]
    assert taken(schema["apiKey"]) == {"existingSecret", "key"}
    assert taken(schema["redis"]["properties"]["password"]) == {"existingSecret", "key"}
    assert "api_key" not in taken(schema["config"]["properties"]["source"])
    assert not {"password", "url"} & taken(schema["config"]["properties"]["redis"])


def taken(section: dict[str, Any]) -> set[str]:
    """The values that may be set. What the templates refuse is named in the schema too."""
    properties = section["properties"]
    return {name for name, one in properties.items() if not one.get("description", "").startswith("Refused: ")}


def test_the_network_policy_names_every_way_in_and_out() -> None:
    """Both directions are closed but for what is listed, and each rule names its ports."""
    for policy in render(with_values(redis__trial__enabled=True)).all("NetworkPolicy"):
        spec = policy["spec"]
        assert spec["policyTypes"] == ["Ingress", "Egress"]
        assert all(rule["ports"] for rule in (*spec["ingress"], *spec.get("egress", [])))


def test_a_limited_way_in_still_lets_the_helm_test_through() -> None:
    """`helm test` asks the worker over the network like everybody else."""
    release = render(with_values(networkPolicy__ingressFrom=[{"namespaceSelector": {}}]))
    (rule,) = release.one("NetworkPolicy")["spec"]["ingress"]
    allowed = [one["podSelector"]["matchLabels"].items() for one in rule["from"] if "podSelector" in one]
    assert any(one <= release.one("Pod")["metadata"]["labels"].items() for one in allowed)


@pytest.mark.timeout(400)
def test_checkov_has_no_objection_but_those_that_are_explained(tmp_path: Path) -> None:
    """Every example and the Dockerfile, offline."""
    checkov = need_program(CHECKOV)
    shutil.copy(CHART.parent / "Dockerfile", tmp_path)
    for example in EXAMPLES:
        release = render(yaml.safe_load(example.read_text()))
        (tmp_path / example.name).write_text(yaml.safe_dump_all(release.manifests))
    done = subprocess.run(
        [checkov, "--skip-download", "--quiet", "--output", "json", "--directory", str(tmp_path),
         "--framework", "kubernetes", "dockerfile"],
        capture_output=True, text=True, timeout=380, check=False,
    )  # fmt: skip
    reports = json.loads(done.stdout)
    assert {one["check_type"] for one in reports} == {"kubernetes", "dockerfile"}, done.stderr
    assert all(one["summary"]["passed"] > 20 and not one["summary"]["parsing_errors"] for one in reports)
    failed = {(check["check_id"], check["resource"]) for one in reports for check in one["results"]["failed_checks"]}
    unexplained = [
        (check, resource)
        for check, resource in sorted(failed)
        if not any(one in ("", resource) for one in ACCEPTED.get(check, ()))
    ]
    assert unexplained == []
    assert ACCEPTED.keys() == {check for check, _ in failed}, "an exception that is not needed any more"


def test_hadolint_has_no_objection_to_the_dockerfile() -> None:
    """Not even a hint."""
    command = [need_program("hadolint"), str(CHART.parent / "Dockerfile")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout + done.stderr == ""
    assert done.returncode == 0
