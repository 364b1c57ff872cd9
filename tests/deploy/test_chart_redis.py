"""The ways to Redis that the chart knows: Sentinels, clusters, certificates, managed services, the trial."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from bridge.model.redis_address import Topology
from bridge.settings import RedisSettings
from tests.deploy.chart import Release, render, with_values
from tests.deploy.chart_values import CHART
from tests.deploy.test_chart_refusals import case, chart_refuses, worker_refuses
from tests.deploy.test_chart_settings import egress_ports, loaded

GOOD_URLS = (
    "redis://redis", "rediss://10.0.0.7:6380/15", "redis://[fd00::7]:6379/0", "redis://[::1]", "redis://a:05535/",
    "valkey://redis", "VALKEYS://redis:6380", "redis://[fe80::1%eth0]:6379", "redis://a:65535", "redis://a:00001",
    "redis+sentinel://a,b:26380,[::1]:1/the-primary", "rediss+sentinel://a/the%20primary/3", "redis+sentinel://a/p/",
    "Redis+Sentinel://a:26379,b/p", "redis+cluster://a", "rediss+cluster://a:7000,[fd00::1]:7001,b/", "redis+cluster://a/0",
    "valkeys+cluster://a,b", "valkey+sentinel://a/p/12345", "unix:///run/redis.sock", "unix:///run/redis.sock?db=12",
    "unix:///r?", "UNIX:///run/a-b",
)  # fmt: skip
BAD_URLS = (
    "http://redis", "redis:6379", "redis", "", "redis+ssl://redis", "redis+ssl+sentinel://redis/p", "redis://",
    "redis:///0", "redis://:6379/0", "redis://redis:0", "redis://redis:00000", "redis://redis:065535",
    "redis://redis:65536", "redis://redis:port", "redis://redis/zero", "redis://redis/0/1", "redis://redis/123456",
    "redis://redis?db=1", "redis://redis/0#1", "redis://re dis", "redis://redis/0\n", "redis://[::1", "redis://a:1:2/0",
    "redis://a,b", "redis://a:6379,b:6379/0", "valkey://", "unix+cluster:///a", "sentinel://a/p", "redis+sentinel://",
    "redis+sentinel:///p", "redis+sentinel://a", "redis+sentinel://a/", "redis+sentinel://a//0", "redis+sentinel://a,,b/p",
    "redis+sentinel://a/p/x", "redis+sentinel://a/p/0/1", "redis+sentinel://a:0/p", "redis+sentinel://a:65536/p",
    "redis+sentinel://a/p?x=1", "redis+cluster://", "redis+cluster://a/1", "redis+cluster://a/00", "redis+cluster://a,",
    "redis+cluster://a b", "redis+cluster://a:99999", "redis+cluster://a/0/", "unix://", "unix://run/redis.sock",
    "unix:///", "unix:///run/", "unix:///run/a?db=x", "unix:///run/a?x=1", "unix:///run/a#1", "unix:///run/a?db=123456",
)  # fmt: skip


def example(name: str) -> Release:
    """One of those in helm/ci."""
    return render(yaml.safe_load((CHART / "ci" / f"{name}.yaml").read_text()))


def mounted(release: Release, directory: Path) -> dict[str, tuple[str, str]]:
    """The Secret and the key of each file that a pod sees."""
    (volume,) = (one["projected"] for one in release.worker["spec"]["volumes"] if one["name"] == "secrets")
    return {
        f"{directory}/{item['path']}": (one["secret"]["name"], item["key"])
        for one in volume["sources"]
        for item in one["secret"]["items"]
    }


def files_of(redis: RedisSettings) -> dict[str, str]:
    """Those that the worker reads, by setting."""
    names = ("password_file", "sentinel_password_file", "ca_file", "cert_file", "key_file")
    return {name: str(getattr(redis, name)) for name in names if getattr(redis, name)}


def secrets_of(release: Release, redis: RedisSettings, directory: Path) -> dict[str, tuple[str, str]]:
    """By setting, what is mounted where the worker looks."""
    files = mounted(release, directory)
    return {name: files[path] for name, path in files_of(redis).items()}


def test_an_operators_redis_is_found_through_its_sentinels(tmp_path: Path) -> None:
    """Each by its name, with a password of their own, and a way through the policy to them and to the servers."""
    release = example("sentinel-operator")
    redis = loaded(release, tmp_path).redis
    assert (redis.address.topology, redis.address.service, redis.address.tls) == (Topology.SENTINEL, "mymaster", False)
    assert [one.port for one in redis.address.endpoints] == [26379] * 3
    assert secrets_of(release, redis, tmp_path) == {
        "password_file": ("redis-users", "lens-bridge"),
        "sentinel_password_file": ("redis-users", "sentinel"),
    }
    assert egress_ports(release) == [53, 53, 26379, 6379, 443]
    assert "26379, 6379" in release.notes


def test_a_cluster_that_asks_for_certificates_is_shown_the_one_of_the_secret(tmp_path: Path) -> None:
    """Certificate, key and authority out of one Secret, as cert-manager fills it."""
    release = example("cluster")
    redis = loaded(release, tmp_path).redis
    assert (redis.address.topology, redis.address.tls, len(redis.address.endpoints)) == (Topology.CLUSTER, True, 3)
    assert secrets_of(release, redis, tmp_path) == {
        "password_file": ("valkey-users", "lens-bridge"),
        "ca_file": ("lens-bridge-valkey", "ca.crt"),
        "cert_file": ("lens-bridge-valkey", "tls.crt"),
        "key_file": ("lens-bridge-valkey", "tls.key"),
    }
    certificate = release.one("Certificate")["spec"]
    assert certificate["secretName"] == "lens-bridge-valkey"
    assert egress_ports(release) == [53, 53, 6379, 443]


def test_a_managed_service_needs_no_authority_and_no_certificate(tmp_path: Path) -> None:
    """A user, a password, TLS; and where its nodes have ports of their own, a range of those is let through."""
    release = example("managed-service")
    redis = loaded(release, tmp_path).redis
    assert (redis.address.topology, redis.address.tls, redis.username) == (Topology.SINGLE, True, "lens-bridge")
    assert secrets_of(release, redis, tmp_path) == {"password_file": ("managed-redis", "access-key")}
    assert egress_ports(release) == [53, 53, 10000, 443, 8500]
    assert release.one("NetworkPolicy")["spec"]["egress"][-1]["ports"][0]["endPort"] == 8599


def test_all_secrets_together_come_from_where_they_are_named(tmp_path: Path) -> None:
    """Each value of its own, none in the place of another; users of servers and Sentinels stay apart."""
    release = example("everything")
    redis = loaded(release, tmp_path).redis
    assert (redis.username, redis.sentinel_username) == ("lens-bridge", "watcher")
    assert secrets_of(release, redis, tmp_path) == {
        "password_file": ("keys", "redis"),
        "sentinel_password_file": ("keys", "sentinel"),
        "ca_file": ("redis-ca", "tls.crt"),
        "cert_file": ("redis-client", "client.crt"),
        "key_file": ("redis-client", "client.key"),
    }
    assert egress_ports(release)[2:4] == [26380, 6380]


@pytest.mark.parametrize(
    ("values", "ports"),
    [
        ({"redis__url": "redis+sentinel://a:5000/p", "networkPolicy__redisPorts": [7000]}, [5000, 7000]),
        ({"redis__url": "redis+sentinel://a:5000/p", "networkPolicy__sentinelPorts": [26379]}, [26379, 6379]),
        ({"redis__url": "redis+sentinel://a:6379/p"}, [6379]),
        ({"redis__url": "redis+cluster://a:5000,b", "networkPolicy__redisPorts": [7000, 7001]}, [7000, 7001]),
        ({"redis__url": "redis://a", "networkPolicy__sentinelPorts": [26379]}, [6379]),
    ],
    ids=str,
)
def test_ports_of_pods_behind_a_service_can_be_named(values: dict[str, Any], ports: list[int]) -> None:
    """Those of Sentinels and of servers each on their own; those of Sentinels only where there are some."""
    assert egress_ports(render(with_values(**values))) == [53, 53, *ports, 443]


def test_redis_behind_a_unix_socket_opens_no_port() -> None:
    """An empty list of ports would be a rule that lets everything through."""
    release = render(with_values(redis__url="unix:///run/redis/redis.sock"))
    rules = release.one("NetworkPolicy")["spec"]["egress"]
    assert all(rule["ports"] for rule in rules)
    assert len(rules) == 2
    assert "A NetworkPolicy lets it reach Redis" not in release.notes


def test_sentinels_credentials_without_sentinels_are_noted() -> None:
    """Who sets them believes that there are some."""
    secret = {"password": {"existingSecret": "s"}}
    for url, noted in (("redis://redis", True), ("rediss+cluster://a", True), ("redis+sentinel://a/p", False)):
        notes = render(with_values(redis={"url": url, "sentinel": secret})).notes
        assert ("redis.sentinel has no effect" in notes) == noted


def test_the_trial_takes_no_way_to_another_redis(tmp_path: Path) -> None:
    """Whatever is set for the real one: no certificate is mounted, no Sentinel asked, no port of it opened."""
    values = yaml.safe_load((CHART / "ci" / "everything.yaml").read_text())
    values["redis"]["trial"]["enabled"] = True
    values["networkPolicy"] = {}
    release = render(values)
    redis = loaded(release, tmp_path).redis
    assert redis.address.topology is Topology.SINGLE
    assert files_of(redis) == {}
    assert set(mounted(release, tmp_path).values()) == {("keys", "lens"), ("proxy-ca", "ca.crt")}
    (rules,) = (one["spec"]["egress"] for one in release.all("NetworkPolicy") if "egress" in one["spec"])
    assert rules[1]["ports"] == [{"port": 6379, "protocol": "TCP"}]
    container = release.one("StatefulSet")["spec"]["template"]["spec"]["containers"][0]
    assert (container["image"], container["command"]) == ("registry.example/valkey:8", ["valkey-server"])


@pytest.mark.parametrize(
    ("values", "path", "refused"),
    [
        case(with_values(redis__url=url), "redis.url", refused)
        for refused, urls in ((False, GOOD_URLS), (True, BAD_URLS))
        for url in urls
    ],
)
def test_the_chart_takes_the_addresses_that_the_worker_takes_and_no_other(
    values: dict[str, Any], path: str, refused: bool, tmp_path: Path
) -> None:
    """Of each topology, with and without TLS, under both names."""
    assert bool(worker_refuses(values, tmp_path)) == refused, worker_refuses(values, tmp_path)
    said = chart_refuses(values)
    assert bool(said) == refused, said
    assert path in said or not refused
