"""What no worker could run with is refused at installation, in a line that names the value and says what to do."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from bridge.errors import ConfigurationError
from bridge.settings import Settings
from bridge.settings.loading import load
from tests.deploy.chart import ValuesError, render, with_values
from tests.deploy.chart_schema import OWNED, REFUSED

SECRET = "s3cr3t-0f-the-test"
KEY = "atai_live_key"
LONG = "n" * 129

GOOD_APIS = ("http://lens", "https://lens.example:8443/v0.5/", "HTTPS://lens.example/v0.5", "http://[::1]:8099/v0.5")
BAD_APIS = (
    "", "lens.example/v0.5", "ftp://lens.example", "https://", "https:///v0.5", "https://user:word@lens.example",
    "https://lens.example/v0.5?key=1", "https://lens.example#a", "https://lens.example:99999", "https://lens.example:0",
    "https://lens example", "https://lens.example:http/", "https://[::1/v0.5",
)  # fmt: skip
GOOD_PROXIES = ("http://proxy.example:3128", "https://proxy.example", "HTTP://[fd00::1]:3128/", None)
BAD_PROXIES = (
    "", "proxy.example:3128", "socks5://proxy.example:1080", "http://", "http://proxy.example:0", "http://proxy:99999",
    "http://proxy.example/path", "http://proxy.example?a=1", "http://proxy example",
)  # fmt: skip
GOOD_KEYS = (
    "lens:{<name>}:events",
    "events",
    "lens:<session_id>",
    "a{<name>:<session_id>}",
    "{a}{",
    "{lens}:<name>",
    "a{{b}",
)
BAD_KEYS = (
    "", "<name>", "<name>:events", "lens:<nam>", "lens:<>", "lens:{<name>}:<stream>", "lens:{}:events", "lens:}",
    "lens:sessions", "lens:workers", "lens:{<name>}:dead-letter", "lens:{<name>}:state:<session_id>",
    "lens:{<name>}:lease:<session_id>", "lens:{a}:seen:<session_id>",
)  # fmt: skip
GOOD_SESSIONS: tuple[Any, ...] = (
    [], {}, ["lsn-1"], ["a=lsn-1", "b=lsn-1"], ["a = lsn-1"], {"a": "lsn-1", "b": "lsn-1"}, [{"session_id": "lsn-1"}],
    [{"session_id": "lsn-1", "name": "a"}, "lsn-1"], {"1e5": "0123", "on": "null"}, ["n" * 128],
    {"a": {"session_id": "lsn-1"}, "b": "lsn-1"},
)  # fmt: skip
BAD_SESSIONS: tuple[Any, ...] = (
    ["a=lsn-1", "a=lsn-2"], ["lsn-1", "lsn-1"], ["lsn-1=lsn-2", "lsn-1"],
    [{"session_id": "lsn-1"}, {"session_id": "lsn-1"}],
    ["a b"], ["=lsn-1"], ["a="], [""], [LONG], ["a=b=c"], ["a/b"], [1], [True], [["lsn-1"]], [{}], [{"name": "a"}],
    [{"session_id": 7}], [{"session_id": "lsn-1", "name": ""}], [{"session_id": "lsn-1", "nam": "a"}],
    {"a b": "lsn-1"}, {"a": "lsn 1"}, {"a": ""}, {"a": 7}, {"a": {}}, {"a": {"session_id": 7}},
    {"a": {"session_id": "lsn-1", "name": "a"}}, {"a": {"session_id": "lsn-1", "nam": "b"}}, {"a": ["lsn-1"]},
    {"a": None}, {"a b": {"session_id": "lsn-1"}}, "lsn-1=", 7,
)  # fmt: skip


def worker_refuses(values: dict[str, Any], directory: Path) -> str:
    """What the worker says to a file with the same settings; empty where it would run."""
    file = directory / "bridge.yaml"
    config = copy.deepcopy(values.get("config", {}))
    config["sessions"] = values["sessions"]
    if "url" in values.get("redis", {}):
        config.setdefault("redis", {})["url"] = values["redis"]["url"]
    file.write_text(yaml.safe_dump(config))
    try:
        load(file, environment={})
    except ConfigurationError as error:
        return str(error)
    return ""


def chart_refuses(values: dict[str, Any]) -> str:
    """What Helm says; empty where it would install."""
    try:
        render(values)
    except ValuesError as error:
        return str(error)
    return ""


def case(values: dict[str, Any], path: str, refused: bool) -> Any:
    """One row: values, the path that the message must name, and whether there is a message."""
    return pytest.param(values, path, refused, id=f"{path}={_at(values, path)!r}"[:80])


def _at(values: dict[str, Any], path: str) -> Any:
    place: Any = values
    for name in path.split("."):
        place = place[name]
    return place


CASES = [
    case(with_values(**{path.replace(".", "__"): value}), path, refused)
    for path, good, bad in (
        ("config.source.base_url", GOOD_APIS, BAD_APIS),
        ("config.source.proxy", GOOD_PROXIES, BAD_PROXIES),
        ("config.stream.key", GOOD_KEYS, BAD_KEYS),
        ("sessions", GOOD_SESSIONS, BAD_SESSIONS),
    )
    for refused, values in ((False, good), (True, bad))
    for value in values
]


@pytest.mark.parametrize(("values", "path", "refused"), CASES)
def test_the_chart_refuses_what_the_worker_refuses_and_nothing_else(
    values: dict[str, Any], path: str, refused: bool, tmp_path: Path
) -> None:
    """Each address, template and way to write sessions: both agree, and the chart names the value."""
    assert bool(worker_refuses(values, tmp_path)) == refused, worker_refuses(values, tmp_path)
    said = chart_refuses(values)
    assert bool(said) == refused, said
    assert path in said or not refused


@pytest.mark.parametrize("sessions", [["a=lsn-1", "b=lsn-1"], {"a": "lsn-1", "b": "lsn-1"}], ids=["list", "mapping"])
@pytest.mark.parametrize(
    ("key", "refused"),
    [("lens:{all}:<name>", True), ("lens:all", True), ("lens:{<name>}", False), ("lens:<name>", False)],
)
def test_one_session_under_two_names_needs_places_that_differ(
    sessions: Any, key: str, refused: bool, tmp_path: Path
) -> None:
    """Two readers of one session would overwrite each other's place."""
    values = with_values(sessions=sessions, config__stream__key=key)
    assert bool(worker_refuses(values, tmp_path)) == refused
    said = chart_refuses(values)
    assert ("the same place" in said) == refused == bool(said)


@pytest.mark.parametrize("key", ["lens:{name}:events", "lens:{{ .name }}", "lens:{all}", "lens:{name}:<name>"])
@pytest.mark.parametrize("sessions", [{"gate": "lsn-1", "dock": "lsn-2"}, ["gate=lsn-1"]], ids=["two", "one"])
def test_sessions_share_a_stream_only_where_the_template_is_meant_so(key: str, sessions: Any, tmp_path: Path) -> None:
    """Chart and worker know the same placeholders of other tools."""
    values = with_values(sessions=sessions, config__stream__key=key)
    assert bool(worker_refuses(values, tmp_path)) == bool(chart_refuses(values))


def test_a_template_that_goes_wrong_with_one_name_only_is_refused(tmp_path: Path) -> None:
    """The session's own keys stand where the events would go."""
    values = with_values(sessions=["workers=lsn-1"], config__stream__key="lens:<name>")
    assert worker_refuses(values, tmp_path)
    assert "lens:workers" in chart_refuses(values)


DEFAULTS = Settings().model_dump()
SOURCE, REDIS, COMMIT, LEASE = (DEFAULTS[name] for name in ("source", "redis", "commit", "lease"))


@pytest.mark.parametrize(
    ("section", "fits", "too_much"),
    [
        ("source", {"backoff_initial_seconds": SOURCE["backoff_max_seconds"]}, {"backoff_initial_seconds": 3600}),
        ("source", {"backoff_max_seconds": SOURCE["backoff_initial_seconds"]}, {"backoff_max_seconds": 0.01}),
        ("redis", {"backoff_initial_seconds": REDIS["backoff_max_seconds"]}, {"backoff_initial_seconds": 3600}),
        ("redis", {"backoff_max_seconds": REDIS["backoff_initial_seconds"]}, {"backoff_max_seconds": 0.001}),
        (
            "redis",
            {"timeout_seconds": REDIS["durability_timeout_seconds"]},
            {"timeout_seconds": REDIS["durability_timeout_seconds"], "durability": "replicated"},
        ),
        (
            "redis",
            {"durability": "fsynced", "durability_timeout_seconds": REDIS["timeout_seconds"] - 0.1},
            {"durability": "fsynced", "durability_timeout_seconds": REDIS["timeout_seconds"]},
        ),
        ("commit", {"buffer_events": COMMIT["max_events"]}, {"buffer_events": COMMIT["max_events"] - 1}),
        ("commit", {"max_events": 7, "buffer_events": 7}, {"max_events": 7, "buffer_events": 6}),
        ("commit", {"max_bytes": COMMIT["buffer_bytes"]}, {"max_bytes": COMMIT["buffer_bytes"] + 1}),
        ("commit", {"buffer_bytes": COMMIT["max_bytes"]}, {"buffer_bytes": COMMIT["max_bytes"] - 1}),
        (
            "stream",
            {"keep_unread": True, "max_length": 2000000, "hard_max_length": 2000000},
            {"keep_unread": True, "max_length": 2000000, "hard_max_length": 1999999},
        ),
        ("stream", {"keep_unread": True, "hard_max_length": 1000000}, {"hard_max_length": 1000000}),
        ("lease", {"ttl_seconds": 3 * LEASE["poll_seconds"] + 0.1}, {"ttl_seconds": 3 * LEASE["poll_seconds"]}),
        ("lease", {"poll_seconds": LEASE["ttl_seconds"] / 3 - 0.1}, {"poll_seconds": LEASE["ttl_seconds"] / 3}),
    ],
    ids=str,
)
def test_settings_that_contradict_each_other_are_refused_also_where_one_is_the_default(
    section: str, fits: dict[str, Any], too_much: dict[str, Any], tmp_path: Path
) -> None:
    """On both sides of the limit chart and worker agree, and both settings are named."""
    allowed, refused = (with_values(**{f"config__{section}": values}) for values in (fits, too_much))
    assert worker_refuses(allowed, tmp_path) == chart_refuses(allowed) == ""
    assert worker_refuses(refused, tmp_path)
    (line,) = chart_refuses(refused).splitlines()
    assert line.count(f"config.{section}.") >= 2


@pytest.mark.parametrize("path", REFUSED["never"])
def test_a_value_of_another_name_is_told_what_it_is_called_here(path: str) -> None:
    """Not "additional properties": the line names the value and what to set, and repeats no secret."""
    with pytest.raises(ValuesError) as refused:
        render(with_values(**{path.replace(".", "__"): SECRET}))
    assert f"{path}: {REFUSED['never'][path]}" in str(refused.value)
    assert "additional" not in str(refused.value).lower()
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize("path", REFUSED["mappings"])
def test_a_text_in_the_place_of_a_mapping_is_told_what_belongs_into_it(path: str) -> None:
    """`apiKey: atai_…` is what comes to mind first, so it is not repeated either."""
    with pytest.raises(ValuesError) as refused:
        render(with_values(**{path.replace(".", "__"): SECRET}))
    assert f"{path}: {REFUSED['mappings'][path]}" in str(refused.value)
    assert SECRET not in str(refused.value)


def test_a_setting_outside_of_config_is_told_where_it_belongs() -> None:
    """The worker's sections at the top, and its settings beside the chart's own values of the same section."""
    for section, settings in Settings().model_dump().items():
        for name in settings if isinstance(settings, dict) else ():
            chart_has_it = section == "redis" and name in OWNED["redis"]
            if chart_has_it:
                continue
            said = chart_refuses(with_values(**{f"{section}__{name}": "x"}))
            wanted = f"config.{section}.{name}" if section in OWNED else f"{section}: set config.{section} instead"
            secret = {"source.api_key": "apiKey", "serve.token": "serve.token"}.get(f"{section}.{name}")
            assert wanted in said or (secret and f"{secret}.existingSecret" in said), f"{section}.{name}: {said}"
            assert "additional" not in said.lower()


def test_all_problems_are_told_at_once() -> None:
    """Nobody wants to install five times to learn of five mistakes."""
    said = chart_refuses({"redis": {"url": "http://redis"}, "sessions": ["a=lsn-1", "a=lsn-2"]})
    for words in (
        "set image.repository",
        "set apiKey.existingSecret",
        "redis.url: ",
        "sessions[1]: the name a is given twice",
    ):
        assert words in said


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"redis__url": f"redis://:{SECRET}@redis:6379/0"}, r"redis\.url: .*redis\.password\.existingSecret"),
        ({"redis__url": f"redis://bridge:{SECRET}@redis"}, r"redis\.url: must hold no user or password"),
        (
            {"config__source__proxy": f"http://u:{SECRET}@proxy:3128"},
            r"config\.source\.proxy: must hold no user or password; set BRIDGE_SOURCE__PROXY in extraEnv",
        ),
        ({"redis__url": f"redis+sentinel://u:{SECRET}@a,b/p"}, r"redis\.url: must hold no user or password"),
        ({"redis__url": f"unix://u:{SECRET}@/run/a"}, r"redis\.url: must hold no user or password"),
        ({"redis__url": "redis+sentinel://s:26379"}, r"redis\.url: must name the service that the Sentinels watch"),
        ({"redis__url": "redis+cluster://a,b/2"}, r"redis\.url: must end after the hosts"),
        ({"redis__url": "redis://a,b"}, r"redis\.url: names several hosts; for several write redis\+sentinel"),
        (
            {"redis__sentinel__username": "watcher"},
            r"redis\.sentinel\.username: needs redis\.sentinel\.password\.existingSecret",
        ),
        (
            {"redis": {"url": "rediss://a"}, "config": {"redis": {"cert_file": "/c"}}},
            r"config\.redis\.cert_file and config\.redis\.key_file: one is of no use without the other",
        ),
        (
            {"redis__clientCertificate__existingSecret": "s", "config__redis": {"cert_file": "/c", "key_file": "/k"}},
            r"redis\.clientCertificate\.existingSecret and config\.redis\.cert_file: set only one",
        ),
        (
            {"redis__sentinel__password__existingSecret": "s", "config__redis": {"sentinel_password_file": "/p"}},
            r"redis\.sentinel\.password\.existingSecret and config\.redis\.sentinel_password_file: set only one",
        ),
        ({"redis__trial": {"enabled": True, "server": "keydb"}}, r"redis.*trial.*server"),
        (
            {"extraEnv": [{"name": "BRIDGE_REDIS__SENTINEL_PASSWORD", "value": SECRET}]},
            r"BRIDGE_REDIS__SENTINEL_PASSWORD .* valueFrom",
        ),
        ({"sessions": [{"name": "a"}]}, r"sessions\[0\]: session_id is required"),
        ({"sessions": ["a=lsn-1", {"session_id": "b", "nam": "c"}]}, r"sessions\[1\]: nam is unknown"),
        ({"sessions": ["lsn-1", 42]}, r"sessions\[1\]: session_id must be text"),
        ({"sessions": {"gate": 42}}, r"sessions\.gate: session_id must be text"),
        ({"redis__username": "bridge"}, r"redis\.username: needs redis\.password\.existingSecret"),
        ({"image__repository": ""}, r"set image\.repository to where you pushed the image"),
        ({"image__repository": "registry.example:5000/bridge:1"}, r"image\.repository: .* set image\.tag"),
        ({"image__repository": "registry.example/bridge@sha256:0"}, r"image\.repository: .* image\.digest"),
        (
            {"config__source": {"api_key_file": "/key"}},
            r"apiKey\.existingSecret and config\.source\.api_key_file: set only one",
        ),
        ({"extraEnv": [{"name": "ATAI_API_KEY", "value": SECRET}]}, r"extraEnv: ATAI_API_KEY .* valueFrom"),
        ({"extraEnv": [{"name": "BRIDGE_SOURCE__API_KEY", "value": SECRET}]}, r"BRIDGE_SOURCE__API_KEY .* valueFrom"),
        ({"extraEnv": [{"name": "BRIDGE_LOG__LEVEL", "value": "debug"}]}, r"BRIDGE_LOG__LEVEL .* below config"),
        ({"extraEnv": [{"name": "BRIDGE_CONFIG", "value": "/x"}]}, r"extraEnv: BRIDGE_CONFIG .* below config"),
        (
            {"extraEnv": [{"name": "ATAI_API_KEY", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]},
            r"apiKey\.existingSecret and extraEnv with ATAI_API_KEY: set only one",
        ),
        (
            {"redis": {"password": {"existingSecret": "s"}}, "config": {"redis": {"password_file": "/p"}}},
            r"redis\.password\.existingSecret and config\.redis\.password_file: set only one",
        ),
        (
            {"redis": {"ca": {"existingSecret": "s"}}, "config": {"redis": {"ca_file": "/p"}}},
            r"redis\.ca\.existingSecret and config\.redis\.ca_file: set only one",
        ),
        (
            {"source": {"ca": {"existingSecret": "s"}}, "config": {"source": {"ca_file": "/p"}}},
            r"source\.ca\.existingSecret and config\.source\.ca_file: set only one",
        ),
        ({"extraVolumes": [{"name": "secrets", "emptyDir": {}}]}, "extraVolumes: secrets is a volume of the chart's"),
        (
            {"extraVolumeMounts": [{"name": "v", "mountPath": "/etc/lens-bridge/secrets/more"}]},
            r"extraVolumeMounts: /etc/lens-bridge/secrets/more .* another mountPath",
        ),
        ({"initContainers": [{"name": "worker", "image": "i"}]}, "worker is the chart's own container"),
        ({"extraContainers": [{"name": "worker", "image": "i"}]}, "worker is the chart's own container"),
        ({"metrics__prometheusRule__runbookPrefix": "helm/"}, r"runbookPrefix: must begin with https"),
        ({"terminationMarginSeconds": 4}, "terminationMarginSeconds"),
        ({"sessions": {"gate": {"name": "a", "session_id": "b"}}}, r"sessions\.gate: the name stands in front already"),
        ({"sessions": {"gate": {"id": "lsn-1"}}}, r"sessions\.gate: session_id is required"),
        ({"dnsPolicy": "None"}, r"dnsPolicy: None needs dnsConfig\.nameservers"),
        ({"dnsConfig": {"ndots": 2}}, "ndots"),
        ({"hostAliases": [{"ip": "192.0.2.7"}]}, "hostnames"),
        ({"lifecycle": {"preStop": {"sleep": {"seconds": 1}, "exec": {"command": ["true"]}}}}, "preStop"),
        ({"strategy__type": "OnDelete"}, "strategy"),
        ({"strategy__rollingUpdate": {"maxSurge": "0%"}}, r"strategy\.rollingUpdate: .* must not both be 0"),
        ({"autoscaling": {"enabled": True, "minReplicas": 6}}, r"autoscaling\.minReplicas \(6\) and .* \(5\)"),
        ({"autoscaling__enabled": True, "resources": {"requests": {"cpu": None}}}, r"needs resources\.requests\.cpu"),
        ({"autoscaling__behavior": {"scaledown": {}}}, "scaledown"),
        ({"metrics": {one: {"enabled": True} for one in ("podMonitor", "serviceMonitor")}}, "every series is .* twice"),
        ({"metrics__serviceMonitor__scrapeTimeout": "1m"}, r"scrapeTimeout \(1m\) and .*interval \(30s\)"),
        ({"metrics__podMonitor": {"scrapeTimeout": "1m1ms", "interval": "60s"}}, r"metrics\.podMonitor\.scrapeTimeout"),
        ({"metrics__podMonitor__scrapeTimeout": "ten"}, "scrapeTimeout"),
    ],
    ids=str,
)  # fmt: skip
def test_what_would_stop_the_pod_is_refused_with_what_to_do(changes: dict[str, Any], words: str) -> None:
    """Before anything is installed, and without a word of a secret."""
    with pytest.raises(ValuesError, match=words) as refused:
        render(with_values(**changes))
    assert SECRET not in str(refused.value)
