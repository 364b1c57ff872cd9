"""`serve.enabled`: pods of its own that give streams to others, and may do no more than that takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bridge.settings.loading import load
from tests.deploy.chart import Release, ValuesError, render, with_values

SERVED = {"serve__enabled": True, "serve__token__existingSecret": "tokens"}


def _served(**values: Any) -> Release:
    return render(with_values(**{**SERVED, **values}))


def _component(release: Release, kind: str) -> Any:
    (found,) = (
        one for one in release.all(kind) if one["metadata"]["labels"].get("app.kubernetes.io/component") == "serve"
    )
    return found


def _files(template: Any) -> dict[str, str]:
    """What is mounted as a secret, and of which Secret."""
    sources = [one for volume in template["spec"]["volumes"] for one in volume.get("projected", {}).get("sources", [])]
    return {item["path"]: one["secret"]["name"] for one in sources for item in one["secret"]["items"]}


def test_without_a_word_there_is_nothing_of_it() -> None:
    """Streams leave Redis only where somebody asked for that."""
    assert not [one for one in render().manifests if one["metadata"]["name"].endswith("-serve")]


def test_its_pods_read_redis_and_have_no_api_key() -> None:
    """The token is a file, and what leads to Redis is as the worker has it."""
    release = _served(
        redis__password={"existingSecret": "redis", "key": "word"},
        extraEnv=[{"name": "ATAI_API_KEY", "valueFrom": {"secretKeyRef": {"name": "api", "key": "key"}}}],
        apiKey={"existingSecret": ""},
    )
    (container,) = release.serve["spec"]["containers"]
    assert container["args"] == ["serve"]
    assert _files(release.serve) == {"serve-token": "tokens", "redis-password": "redis"}
    variables = {one["name"]: one.get("value") for one in container["env"]}
    assert variables == {
        "BRIDGE_CONFIG": "/etc/lens-bridge/config/bridge.yaml",
        "BRIDGE_SERVE__HOST": "0.0.0.0",
        "BRIDGE_SERVE__TOKEN_FILE": "/etc/lens-bridge/secrets/serve-token",
    }
    assert "api-key" in _files(_served().worker)
    assert "api-key" not in _files(_served().serve)
    assert "serve-token" not in _files(_served().worker)


def test_its_pods_are_as_restricted_as_the_workers() -> None:
    """No token of Kubernetes, no root, no writing."""
    release = _served()
    worker, serve = release.worker["spec"], release.serve["spec"]
    assert serve["securityContext"] == worker["securityContext"]
    assert serve["containers"][0]["securityContext"] == worker["containers"][0]["securityContext"]
    assert serve["automountServiceAccountToken"] is False


def test_no_selector_of_one_finds_pods_of_the_other() -> None:
    """Neither Service, nor budget, nor policy."""
    release = _served(serve__replicas=3)
    assert _component(release, "Deployment")["spec"]["replicas"] == 3
    labels = release.serve["metadata"]["labels"]
    worker = release.worker["metadata"]["labels"]
    for kind in ("Deployment", "Service", "PodDisruptionBudget", "NetworkPolicy"):
        for one in release.all(kind):
            spec = one["spec"]
            selector = spec.get("podSelector") or spec["selector"]
            chosen = selector.get("matchLabels", selector)
            own = one["metadata"]["labels"].get("app.kubernetes.io/component") == "serve"
            assert (chosen.items() <= labels.items(), chosen.items() <= worker.items()) == (own, not own)


def test_it_is_reached_where_it_listens_and_reaches_redis_alone() -> None:
    """Streams by those who are named, probes and metrics by those who may ask the worker; not the lens API."""
    ingress = [{"namespaceSelector": {"matchLabels": {"name": "ingress"}}}]
    release = _served(
        config={"serve": {"port": 9000, "admin_port": 9001}},
        serve__ingressFrom=ingress,
        redis__url="rediss://redis.example:6390/0",
    )
    ports = {one["name"]: one["containerPort"] for one in release.serve["spec"]["containers"][0]["ports"]}
    assert ports == {"streams": 9000, "http": 9001}
    (served,) = _component(release, "Service")["spec"]["ports"]
    assert (served["port"], served["targetPort"]) == (8081, "streams")
    policy = _component(release, "NetworkPolicy")["spec"]
    streams, probes = policy["ingress"]
    assert (streams["ports"][0]["port"], streams["from"]) == ("streams", ingress)
    assert (probes["ports"][0]["port"], "from" in probes) == ("http", False)
    assert {one["port"] for rule in policy["egress"] for one in rule["ports"]} == {53, 6390}


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"serve__enabled": True}, "serve.token.existingSecret: required with serve.enabled"),
        ({**SERVED, "config": {"serve": {"token_file": "/x"}}}, "set only one"),
        ({**SERVED, "config": {"serve": {"token": "0123456789abcdef"}}}, "no value holds a token"),
        ({**SERVED, "config": {"serve": {"host": "127.0.0.1"}}}, "config.serve.host: remove it"),
        ({**SERVED, "config": {"serve": {"admin_port": 8081}}}, "must differ"),
        ({"serve": True}, "serve: set serve.enabled instead"),
        ({"serve__token": "0123456789abcdef"}, "serve.token: no value holds a token"),
        ({"serve__cors_origins": ["*"]}, "serve.cors_origins: set config.serve.cors_origins instead"),
    ],
)
def test_what_would_not_work_or_be_open_to_all_is_refused_in_words(values: dict[str, Any], said: str) -> None:
    """At the installation, with what to do."""
    with pytest.raises(ValuesError) as caught:
        render(with_values(**values))
    assert said in str(caught.value)


def test_who_wants_it_open_says_so() -> None:
    """Or brings the token by a volume of its own."""
    for own in ({"anonymous": True}, {"token_file": "/run/token"}):
        release = render(with_values(serve__enabled=True, config={"serve": own}))
        assert "BRIDGE_SERVE__TOKEN_FILE" not in str(release.serve)


def test_the_configuration_that_its_pods_read_loads(tmp_path: Path) -> None:
    """The same file as the workers', which takes nothing from it."""
    release = _served(config={"serve": {"cors_origins": ["https://app.example.com"]}})
    file = tmp_path / "bridge.yaml"
    file.write_text(release.settings_file)
    settings = load(file, {}, {"BRIDGE_SERVE__HOST": "0.0.0.0"})
    assert settings.serve.cors_origins == ("https://app.example.com",)
    assert _served().worker == _served(config={"serve": {"retry_seconds": 5}}).worker
    assert _served().serve != _served(config={"serve": {"retry_seconds": 5}}).serve
