"""What the chart gives the worker, loaded by the worker's own settings."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from redis.asyncio import Redis

from bridge.lab.redis_server import RedisServer, find_redis_server
from bridge.model.place import Session
from bridge.settings import Settings
from bridge.settings.loading import load
from bridge.settings.reference import SETTINGS
from bridge.telemetry.metrics import Metrics
from bridge.telemetry.status import WorkerStatus
from bridge.worker.reload.changes import LIVE
from tests.deploy.chart import EXAMPLES, Release, render, with_values
from tests.deploy.chart_schema import OWNED
from tests.deploy.chart_values import CHART
from tests.support.configuration import AUTHORITY
from tests.support.deploy.needs import need_module, need_program
from tests.support.topology.certificates import Authority


def loaded(release: Release, directory: Path) -> Settings:
    """The settings of a worker with exactly the file and the variables of its pod; ``directory`` is what is mounted."""
    container = release.worker["spec"]["containers"][0]
    variables = {one["name"]: one["value"] for one in container["env"]}
    text = on_this_machine(release.settings_file, release, directory)
    for authority in re.findall(r"ca_file: (\S+)", text):  # a worker reads them at its start
        Path(authority).write_text(AUTHORITY)
    if found := re.search(r"cert_file: (?P<cert>\S+)\n *key_file: (?P<key>\S+)", text):
        for source, target in zip(Authority(directory / "authority").vouch_for("worker"), found.groups(), strict=True):
            shutil.copy(source, target)
    file = directory / "bridge.yaml"
    file.write_text(text)
    assert variables["BRIDGE_CONFIG"] == mount_path(container, "config") + "/bridge.yaml"
    return load(environment={**variables, "BRIDGE_CONFIG": str(file)})


def on_this_machine(text: str, release: Release, directory: Path) -> str:
    """What the worker sees in its mounts stands in one directory here."""
    for mount in release.worker["spec"]["containers"][0]["volumeMounts"]:
        text = text.replace(mount["mountPath"], str(directory))
    return text


def mount_path(container: dict[str, Any], volume: str) -> str:
    """Where a volume is seen."""
    (found,) = (one["mountPath"] for one in container["volumeMounts"] if one["name"] == volume)
    return str(found)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_the_worker_understands_what_the_chart_writes(example: Path, tmp_path: Path) -> None:
    """Each example loads, and every value below `config` arrives."""
    values = yaml.safe_load(example.read_text())
    release = render(values)
    settings = loaded(release, tmp_path).model_dump(mode="json")
    config = yaml.safe_load(on_this_machine(yaml.safe_dump(values.get("config", {})), release, tmp_path))
    for section, wanted in config.items():
        for name, value in wanted.items():
            assert settings[section][name] == value, f"{section}.{name}"
    assert len(settings["sessions"]) == len(values["sessions"])


def test_every_setting_of_the_worker_can_be_set(tmp_path: Path) -> None:
    """All of them at their defaults pass the schema of the values and come back the same."""
    config: dict[str, dict[str, Any]] = {}
    defaults = Settings().model_dump(mode="json")
    for path in SETTINGS:
        section, _, name = path.partition(".")
        if name and name not in OWNED.get(section, ()) and defaults[section][name] is not None:
            config.setdefault(section, {})[name] = defaults[section][name]
    settings = loaded(render(with_values(config=config)), tmp_path).model_dump(mode="json")
    assert sum(map(len, config.values())) > 30
    for section, values in config.items():
        assert settings[section].items() >= values.items()


def test_large_numbers_stay_numbers(tmp_path: Path) -> None:
    """Helm holds numbers as floats; 268435456 must not become 2.68435456e+08, which YAML reads as text."""
    values = with_values(config={"source": {"max_event_bytes": 268435456}, "stream": {"max_length": 123456789}})
    settings = loaded(render(values), tmp_path)
    assert settings.source.max_event_bytes == 268435456
    assert settings.stream.max_length == 123456789


@pytest.mark.parametrize("session", ["0123", "1e5", "null", "true", "on=off", "0x1F", "12:30:45", "a=12:30"])
def test_a_session_that_yaml_could_take_for_something_else_stays_text(session: str, tmp_path: Path) -> None:
    """Names and ids are quoted where YAML needs it."""
    (one,) = loaded(render(with_values(sessions=[session])), tmp_path).sessions
    name, equals, session_id = session.partition("=")
    assert (one.name, one.session_id) == (name, session_id if equals else name)


def test_secrets_are_files_where_the_worker_looks_for_them(tmp_path: Path) -> None:
    """The paths in the configuration are those of the mounted Secrets, and the Secrets those that were named."""
    values = with_values(
        apiKey={"existingSecret": "keys", "key": "lens"},
        redis={
            "url": "rediss://redis:6380/0",
            "username": "bridge",
            "password": {"existingSecret": "keys", "key": "word"},
            "ca": {"existingSecret": "redis-ca"},
        },
        source={"ca": {"existingSecret": "proxy-ca"}},
    )
    release = render(values)
    settings = loaded(release, tmp_path)
    spec = release.worker["spec"]
    (volume,) = (one["projected"] for one in spec["volumes"] if one["name"] == "secrets")
    files = {
        f"{tmp_path}/{item['path']}": (one["secret"]["name"], item["key"])
        for one in volume["sources"]
        for item in one["secret"]["items"]
    }
    assert {path: files.pop(str(path)) for path in map(str, files.copy())} == {
        str(settings.source.api_key_file): ("keys", "lens"),
        str(settings.source.ca_file): ("proxy-ca", "ca.crt"),
        str(settings.redis.password_file): ("keys", "word"),
        str(settings.redis.ca_file): ("redis-ca", "ca.crt"),
    }
    assert settings.redis.username == "bridge"


def test_secrets_are_mounted_so_that_a_rotation_arrives() -> None:
    """A whole directory, never a `subPath`, which would keep the first version for ever."""
    for container in render().worker["spec"]["containers"]:
        assert not any("subPath" in one for one in container["volumeMounts"])


@pytest.mark.parametrize("grace", [0.5, 20, 45.5, 600])
def test_kubernetes_waits_longer_than_the_worker_takes_to_stop(grace: float, tmp_path: Path) -> None:
    """A worker that still commits is never killed."""
    release = render(with_values(config__worker__grace_period_seconds=grace))
    assert loaded(release, tmp_path).worker.grace_period_seconds == grace
    assert release.worker["spec"]["terminationGracePeriodSeconds"] >= grace + 10


def test_by_default_kubernetes_waits_longer_than_the_worker_takes_to_stop(tmp_path: Path) -> None:
    """Also where the chart does not name the time, and the worker's own default counts."""
    release = render()
    grace = loaded(release, tmp_path).worker.grace_period_seconds
    assert release.worker["spec"]["terminationGracePeriodSeconds"] == grace + 10


def pod_template(**values: Any) -> Any:
    """What Kubernetes compares: where it differs, it makes new pods."""
    return render(with_values(**values)).worker


def test_a_change_of_settings_rolls_the_workers_and_a_change_of_scale_does_not() -> None:
    """The checksum is of what the worker reads at its start alone."""
    assert pod_template() != pod_template(config__lease__ttl_seconds=30)
    assert pod_template() == pod_template(replicas=3)


def test_another_list_of_sessions_restarts_no_pod() -> None:
    """Nor does one that is written otherwise; the ConfigMap has the new list all the same, for the workers that run."""
    sessions = [{"name": "camera-1", "session_id": "lsn-1"}]
    more = [*sessions, {"name": "camera-2", "session_id": "lsn-2"}]
    assert pod_template(sessions=sessions) == pod_template(sessions=more)
    assert pod_template(sessions=more) == pod_template(sessions={"camera-1": "lsn-1"}) == pod_template(sessions=[])
    listed = yaml.safe_load(render(with_values(sessions=more)).settings_file)["sessions"]
    assert listed == more


def test_the_sessions_reach_a_worker_that_runs() -> None:
    """Kubernetes never brings a new ConfigMap to a file that is mounted with subPath."""
    (container,) = pod_template()["spec"]["containers"]
    (mount,) = (one for one in container["volumeMounts"] if one["name"] == "config")
    assert "subPath" not in mount
    assert "subPathExpr" not in mount


def test_a_setting_rolls_the_workers_exactly_where_one_that_runs_cannot_take_it_up() -> None:
    """The chart and the worker agree on which those are. The chart's own template is asked, by an object that is filled
    in: not every setting may stand in the values."""
    data = {f"{path}-{text}": _checksum_of(path, text) for path in SETTINGS for text in ("first", "second")}
    asking = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "asking"}, "data": data}
    release = render(with_values(extraObjects=[asking]))
    (told,) = (one["data"] for one in release.all("ConfigMap") if one["metadata"]["name"] == "asking")
    of_serve = {path for path in SETTINGS if path.startswith("serve.")}  # of another process, in pods of its own
    assert {path for path in SETTINGS if told[f"{path}-first"] == told[f"{path}-second"]} == LIVE | of_serve


def _checksum_of(path: str, text: str) -> str:
    section, _, name = path.partition(".")
    given = f'"{section}" (dict "{name}" "{text}" "other" 1)' if name else f'"{section}" (list "{text}")'
    return f'{{{{ include "lens-bridge.checksum" (dict "unknown" 1 {given}) }}}}'


def test_probes_service_and_monitor_ask_where_the_worker_listens(tmp_path: Path) -> None:
    """One port, whatever it is set to, and the pages that the worker has."""
    release = render(with_values(config__admin__port=9090, metrics__podMonitor__enabled=True))
    (container,) = release.worker["spec"]["containers"]
    (port,) = container["ports"]
    assert port["containerPort"] == loaded(release, tmp_path).admin.port == 9090
    probes = {name: container[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness", "readiness")}
    assert {one["port"] for one in probes.values()} == {port["name"]}
    assert {name: one["path"] for name, one in probes.items()} == {
        "startup": "/livez", "liveness": "/livez", "readiness": "/readyz"
    }  # fmt: skip
    assert release.one("Service")["spec"]["ports"][0]["targetPort"] == port["name"]
    assert release.one("PodMonitor")["spec"]["podMetricsEndpoints"][0]["port"] == port["name"]


def test_the_defaults_of_port_and_base_url_are_those_of_the_worker() -> None:
    """The chart repeats them to open the right ports."""
    release, settings = render(), Settings()
    assert release.worker["spec"]["containers"][0]["ports"][0]["containerPort"] == settings.admin.port
    assert settings.source.base_url.startswith("https://")
    assert egress_ports(release) == [53, 53, 6379, 443]


@pytest.mark.parametrize(
    ("url", "base_url", "ports"),
    [
        ("rediss://redis.example:6380/3", "https://lens.example/v0.5", [6380, 443]),
        ("redis://redis", "http://lens.example/v0.5", [6379, 80]),
        ("redis://10.0.0.7:7000", "http://[::1]:8099/v0.5", [7000, 8099]),
        ("redis://[fd00::12]:7000/0", "HTTP://[fd00::12]/v0.5", [7000, 80]),
        ("redis://[fd00::12]/0", "https://[fd00::12]", [6379, 443]),
        ("redis://redis:06380", "https://lens.example:08443", [6380, 8443]),
        ("redis+sentinel://a,b:26380,c:26379/p", "https://lens.example", [26379, 26380, 6379, 443]),
        ("rediss+sentinel://[fd00::1]:5000/p/0", "https://lens.example", [5000, 6379, 443]),
        ("redis+cluster://a,b:7000,[fd00::1]:7001", "https://lens.example", [6379, 7000, 7001, 443]),
        ("valkeys+cluster://a:6380/0", "https://lens.example", [6380, 443]),
        ("unix:///run/redis.sock", "https://lens.example", [443]),
        ("redis://redis:6379/0", "https://lens.example:8443", [6379, 8443]),
    ],
)
def test_the_network_policy_opens_the_ports_of_the_addresses(url: str, base_url: str, ports: list[int]) -> None:
    """What the worker is told to reach it may reach."""
    release = render(with_values(redis__url=url, config__source__base_url=base_url))
    assert egress_ports(release) == [53, 53, *ports]


@pytest.mark.parametrize(
    ("variables", "ports"),
    [
        ({"HTTPS_PROXY": "http://proxy.example:3128"}, [3128]),
        ({"https_proxy": "http://user:word@proxy.example:8080/", "NO_PROXY": "10.0.0.0/8"}, [8080]),
        ({"HTTP_PROXY": "proxy.example:3128", "HTTPS_PROXY": "http://proxy.example:3128"}, [3128]),
        ({"HTTPS_PROXY": "https://[fd00::1]", "HTTP_PROXY": "http://proxy.example"}, [443, 80]),
        ({"HTTPS_PROXY": "", "TZ": "UTC"}, []),
    ],
    ids=str,
)
def test_the_network_policy_opens_the_port_of_the_proxy(variables: dict[str, str], ports: list[int]) -> None:
    """A proxy that the worker is told to use is no use where it can't be reached."""
    given = [{"name": name, "value": value} for name, value in variables.items()]
    peers = [{"ipBlock": {"cidr": "192.0.2.0/24"}}]
    release = render(with_values(extraEnv=given, networkPolicy__proxyTo=peers))
    assert egress_ports(release) == [53, 53, 6379, 443, *ports]
    if ports:
        assert release.one("NetworkPolicy")["spec"]["egress"][-1]["to"] == peers


@pytest.mark.parametrize(
    ("proxy", "port"), [("http://proxy.example:3128", 3128), ("http://proxy.example/", 80), ("HTTPS://[fd00::1]", 443)]
)
def test_the_network_policy_opens_the_port_of_the_proxy_in_the_settings(proxy: str, port: int, tmp_path: Path) -> None:
    """The worker gets it, and reaches it; the same proxy in a variable as well opens nothing more."""
    release = render(with_values(config__source__proxy=proxy))
    found = loaded(release, tmp_path).source.proxy
    assert found is not None
    assert found.get_secret_value() == proxy
    twice = render(with_values(config__source__proxy=proxy, extraEnv=[{"name": "HTTPS_PROXY", "value": proxy}]))
    assert egress_ports(release) == egress_ports(twice) == [53, 53, 6379, 443, port]


def egress_ports(release: Release) -> list[int]:
    """All ports that the worker may connect to."""
    rules = release.one("NetworkPolicy")["spec"]["egress"]
    return [port["port"] for rule in rules for port in rule["ports"]]


def test_the_trial_redis_is_where_the_worker_writes(tmp_path: Path) -> None:
    """Its Service, its port, and no password or certificate of the real one."""
    values = with_values(redis__trial__enabled=True, redis__url="redis://real:6379/0", redis__username="real")
    release = render(values | {"apiKey": {"existingSecret": "k"}})
    settings = loaded(release, tmp_path)
    (service,) = (one for one in release.all("Service") if "trial" in one["metadata"]["name"])
    assert settings.redis.url.get_secret_value() == f"redis://{service['metadata']['name']}:6379/0"
    assert settings.redis.username is None
    assert "TRIAL" in release.notes
    args = release.one("StatefulSet")["spec"]["template"]["spec"]["containers"][0]["args"]
    assert args[args.index("--appendonly") + 1] == "yes"


def test_readme_tells_the_commands_that_the_tests_run() -> None:
    """The installation in the README passes the values that are tested here as the least."""
    text = (CHART / "README.md").read_text()
    assert "--set apiKey.existingSecret=lens-bridge" in text
    assert "--set 'sessions={camera-1=lsn-250313c2177253cbaa7a73542edd90}'" in text


def test_the_values_for_traces_in_the_readme_reach_the_worker_and_open_the_way(tmp_path: Path) -> None:
    """As they stand there: the setting, OpenTelemetry's own variables, and the collector's port."""
    section = (CHART / "README.md").read_text().partition("## Traces\n")[2].partition("\n## ")[0]
    (text,) = re.findall(r"```yaml\n(.*?)```", section, re.DOTALL)
    release = render(with_values(**yaml.safe_load(text)))
    assert loaded(release, tmp_path).tracing.enabled
    variables = {one["name"]: one["value"] for one in release.worker["spec"]["containers"][0]["env"]}
    assert variables["OTEL_EXPORTER_OTLP_ENDPOINT"] == "http://collector.observability:4318"
    assert {"OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG"} <= variables.keys()
    assert [{"port": 4318}] in [rule.get("ports") for rule in release.one("NetworkPolicy")["spec"]["egress"]]


@pytest.mark.parametrize("kind", ["redis", "valkey"])
async def test_a_server_takes_the_arguments_of_the_trial(kind: str, tmp_path: Path) -> None:
    """It starts with them, keeps every write on disk, and refuses writes rather than drop streams when it is full."""
    release = render(with_values(redis__trial={"enabled": True, "server": kind}))
    (container,) = release.one("StatefulSet")["spec"]["template"]["spec"]["containers"]
    assert container["command"] == [f"{kind}-server"]
    assert container["image"].partition(":")[0] == {"redis": "redis", "valkey": "valkey/valkey"}[kind]
    assert kind.title() in release.notes
    executable = find_redis_server() if kind == "redis" else Path(need_program("valkey-server"))
    arguments = [str(tmp_path) if one == "/data" else one for one in container["args"]]
    async with RedisServer(arguments=arguments, executable=executable) as server, Redis.from_url(server.url) as client:
        await client.xadd("key", {"field": "value"})
        assert (await client.config_get("maxmemory-policy"))["maxmemory-policy"] == "noeviction"
        assert (await client.config_get("appendfsync"))["appendfsync"] == "always"
    assert list(tmp_path.glob("appendonlydir/*.incr.aof"))  # noqa: ASYNC240  nothing else runs here


def test_keda_asks_for_metrics_that_the_worker_has() -> None:
    """The query parses, and each name in it is on the worker's page."""
    promql = need_module("promql_parser", "promql-parser")
    values = with_values(
        keda__enabled=True, keda__prometheusAddress="http://p", metrics__podMonitor__enabled=True, sessions=["a=lsn-1"]
    )
    release = render(values, namespace="streams")
    (query,) = (
        one["metadata"]["query"] for one in release.one("ScaledObject")["spec"]["triggers"] if one["type"] != "cpu"
    )
    promql.parse(query)
    worker = WorkerStatus(worker_id="w", version="1")
    worker.session(Session(name="a", session_id="lsn-1"), "key")
    page = Metrics(worker).render()[0].decode()
    names = set(re.findall(r"lens_bridge_\w+", query))
    assert len(names) == 2
    for name in names:
        assert re.search(rf'^{name}{{.*stream="a"', page, re.MULTILINE)
    monitor = release.one("PodMonitor")["metadata"]
    assert set(re.findall(r'job="([^"]*)"', query)) == {f"{monitor['namespace']}/{monitor['name']}"}
