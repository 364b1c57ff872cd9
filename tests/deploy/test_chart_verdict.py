"""The chart's verdict and the worker's own, side by side: for every setting at and around its limits, and for what
nobody thought of. Where they differ, `helm install` either lets a pod crash or refuses what would run."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from bridge.settings.loading import schema
from bridge.settings.reference import SETTINGS
from tests.deploy.chart import with_values
from tests.deploy.chart_schema import OWNED
from tests.deploy.test_chart_refusals import chart_refuses, worker_refuses

pytestmark = pytest.mark.timeout(900)  # many installations are rendered, on a machine that may be busy

SECTIONS: dict[str, Any] = schema()["$defs"]
many = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))


def agree(values: dict[str, Any], *, of_its_type: bool = True) -> None:
    """Both take them, or both refuse them; of another type the chart takes less: texts are for variables."""
    with tempfile.TemporaryDirectory() as directory:
        worker = worker_refuses(values, Path(directory))
    chart = chart_refuses(values)
    alike = bool(chart) == bool(worker) if of_its_type else bool(chart) >= bool(worker)
    assert alike, f"{values}\nworker: {worker or 'would run'}\nchart: {chart or 'would install'}"


def one(path: str, value: object) -> dict[str, Any]:
    """The least that installs, with one setting."""
    section, _, name = path.partition(".")
    return with_values(config={section: {name: value}})


def limits_of(path: str) -> dict[str, Any]:
    """What the worker's own schema says of a setting, with the limits of a type that may also be null."""
    section, _, name = path.partition(".")
    model = {"$ref": ""} | schema()["properties"][section]
    field: dict[str, Any] = SECTIONS[model["$ref"].rpartition("/")[2]]["properties"][name]
    if "$ref" in field:
        field = SECTIONS[field["$ref"].rpartition("/")[2]]
    for choice in field.get("anyOf", ()):
        if choice.get("type") != "null":
            return {**field, **choice}
    return field


def of_the_type(limits: dict[str, Any], value: object) -> bool:
    """As JSON schema sees it."""
    types: dict[str, tuple[type, ...]] = {"integer": (int, float), "number": (int, float), "boolean": (bool,)}
    return isinstance(value, types.get(limits.get("type", ""), (str,))) and (
        isinstance(value, bool) == (limits.get("type") == "boolean")
    )


def around(limits: dict[str, Any]) -> Iterator[object]:
    """Values at the limits, just inside and just outside, and of every other type."""
    yield from (None, True, False, "", "x", "1", "1.5", "NaN", 0, 1, -1, 1.5, 1e300, [], [1], {}, {"a": 1})
    step = 1 if limits.get("type") == "integer" else 1e-3
    for name in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"):
        if name in limits:
            yield from (limits[name], limits[name] - step, limits[name] + step)
    for word in limits.get("enum", ()):
        yield from (word, word.upper(), f" {word}", f"{word}s")


CHOSEN = [
    path
    for path in SETTINGS
    if "." in path
    and path.partition(".")[2] not in OWNED.get(path.partition(".")[0], ())
    and not path.endswith("_file")
]


@pytest.mark.parametrize("path", CHOSEN)
def test_of_each_setting_both_take_and_refuse_the_same(path: str) -> None:
    """At its limits, beyond them, of another type: a pod that ends with exit code 2 was refused before."""
    limits = limits_of(path)
    for value in around(limits):
        if value != 0 or path not in (
            "admin.port",
            "serve.port",
            "serve.admin_port",
        ):  # the chart wants to know the port
            agree(one(path, value), of_its_type=of_the_type(limits, value))


def test_every_setting_is_looked_at() -> None:
    """So that a new one is, too."""
    assert len(CHOSEN) > 30
    assert any("maximum" in limits_of(path) for path in CHOSEN)
    assert any("enum" in limits_of(path) for path in CHOSEN)


names = st.text(alphabet="ab=:{}<>/ .-_1é\n", max_size=4) | st.sampled_from(["a", "b", "lsn-1", "lsn-2", "null", "1e5"])
odd = st.none() | st.booleans() | st.integers() | names
mappings = st.dictionaries(st.sampled_from(["name", "session_id", "nam"]), odd, max_size=2)
sessions = st.lists(names | mappings | odd, max_size=3) | st.dictionaries(names, names | mappings | odd, max_size=3)


@many
@given(sessions)
@example({"a": {"session_id": "lsn-1"}, "b": {"session_id": "lsn-1"}})
def test_of_any_sessions_both_take_and_refuse_the_same(written: Any) -> None:
    """Texts, mappings, what YAML makes of a forgotten quote."""
    agree(with_values(sessions=written))


def made_of(*words: str, most: int) -> st.SearchStrategy[str]:
    """Texts put together from words that mean something there."""
    return st.lists(st.sampled_from(words), max_size=most).map("".join)


templates = made_of(
    "lens", ":", "{", "}", "<name>", "<session_id>", "<x>", "{name}", "{<name>}", "sessions", "workers", "dead-letter",
    "state:", "seen:", "lease:", "events", "<", ">", " ", most=6,
)  # fmt: skip


@many
@given(templates, st.sampled_from([["a=lsn-1"], ["a=lsn-1", "b=lsn-2"], ["a=lsn-1", "b=lsn-1"], ["workers=lsn-1"]]))
def test_of_any_stream_key_both_take_and_refuse_the_same(template: str, written: list[str]) -> None:
    """Hash tags, placeholders, the bridge's own keys; with sessions that may get into each other's way."""
    agree(with_values(config={"stream": {"key": template}}, sessions=written))


route_globs = st.sampled_from(["a", "a*", "*", "log.*", "log.i", "lo?.x", "a b", "a,b", "[ab]", ""])
route_keys = made_of("lens:", "{<name>}", ":x", ":events", ":seen:a", "{<session_id>}", "{all}", ":dead-letter", most=3)
route_keys |= st.sampled_from(["lens:{<name>}:x", "lens:{<name>}:y", "<name>", "lens:{<nam>}:x", "a b", ""])
route_pairs = st.dictionaries(route_globs, route_keys, max_size=2)


@many
@given(route_pairs | st.lists(route_pairs, max_size=3))
@example({f"t{n}": f"lens:{{<name>}}:{n}" for n in range(13)})
@example([{"log.info": "lens:{<name>}:x"}, {"log.*": "lens:{<name>}:y"}])
@example([{"log.*": "lens:{<name>}:x"}, {"log.info": "lens:{<name>}:y"}])
@example({"log.*": "lens:{<name>}:x", "log.info": "lens:{<name>}:y"})
def test_of_any_routes_both_take_and_refuse_the_same(routes: Any) -> None:
    """Slots, the bridge's own keys, what is never reached; Helm sorts what is a mapping."""
    given = [dict(sorted(one.items())) for one in routes] if isinstance(routes, list) else dict(sorted(routes.items()))
    agree(one("stream.routes", given))


@many
@given(made_of("<session_id>", "<lens_id>", "<name>", "a", "n" * 101, "-", "é", " ", "{", "/", most=3))
@example("<session_id>" + "n" * 100)
@example("<lens_id>" + "n" * 101)
def test_of_any_name_for_found_sessions_both_take_and_refuse_the_same(template: str) -> None:
    """One that tells them apart, of characters that a key may hold."""
    agree(one("discovery.name", template))


# Mostly right, so that what is wrong is seldom hidden behind something else that is. Without users and passwords: those
# the worker takes and the chart does not, since an address is no secret.
hosts = st.builds(
    "".join,
    st.tuples(
        st.sampled_from(
            ["a", "redis.example", "10.0.0.1", "[::1]", "[fd00::7]", "[::1", "a]", "", "a b", "é", "a%20b"]
        ),
        st.sampled_from(["", "", ":6379", ":1", ":65535", ":65536", ":0", ":00001", ":x", ":", ":1:2"]),
    ),
)
tails = made_of("/", "/0", "/0", "/1", "/mymaster", "/x", "?db=1", "?", "#", " ", "\n", "..", most=2)


@many
@given(
    made_of("redis", "rediss", "valkeys", "unix", "http", "REDIS", most=1),
    st.sampled_from(["", "", "+sentinel", "+sentinel", "+cluster", "+Cluster", "+"]),
    st.sampled_from(["://", "://", "://", ":///", ":", ""]),
    st.lists(hosts, min_size=1, max_size=2).map(",".join), tails,
)  # fmt: skip
@example("redis", "", "://", "a:65535", "/0")
@example("redis", "", "://", "a:65536", "/0")
@example("redis", "+sentinel", "://", "a,b:1", "/mymaster/0")
@example("unix", "", "://", "/run/redis.sock", "?db=1")
def test_of_any_address_of_redis_both_take_and_refuse_the_same(
    server: str, topology: str, between: str, named: str, tail: str
) -> None:
    """One server, Sentinels, clusters, sockets, and what is none of them."""
    agree(with_values(redis__url=f"{server}{topology}{between}{named}{tail}"))


@many
@given(
    st.sampled_from(["source.base_url", "source.proxy"]),
    st.sampled_from(["http://", "https://", "HTTPS://", "http://", "ftp://", "//", ""]), hosts, tails,
)  # fmt: skip
@example("source.proxy", "http://", "a:65535", "/")
@example("source.proxy", "http://", "a:65536", "/")
@example("source.base_url", "http://", "a:", "")
@example("source.proxy", "https://", "a:", "/")
def test_of_any_address_of_the_api_and_its_proxy_both_take_and_refuse_the_same(
    path: str, scheme: str, host: str, tail: str
) -> None:
    """As Python splits a URL, and as the chart's patterns do."""
    agree(one(path, f"{scheme}{host}{tail}"))


few = st.sampled_from([1.0, 1.5, 2.0, 3.0, 4.5, 6.0])  # so that two are often equal, or one thrice the other
WAITS = ("backoff_initial_seconds", "backoff_max_seconds", "durability_timeout_seconds", "timeout_seconds")


@many
@example({"buffer_events": 1000}, {}, {}, "memory")
@example({"buffer_events": 999}, {}, {}, "memory")
@example({}, {"ttl_seconds": 3.0, "poll_seconds": 1.0}, {}, "memory")
@example({}, {"ttl_seconds": 2.95, "poll_seconds": 1.0}, {}, "memory")
@example({}, {}, {"durability_timeout_seconds": 5.0}, "replicated")
@given(
    st.dictionaries(st.sampled_from(["max_events", "buffer_events"]), st.sampled_from([1, 2, 999, 1000, 1500, 2000])),
    st.dictionaries(st.sampled_from(["ttl_seconds", "poll_seconds"]), few),
    st.dictionaries(st.sampled_from([*WAITS]), few),
    st.sampled_from(["memory", "replicated", "fsynced"]),
)  # fmt: skip
def test_of_settings_that_may_contradict_each_other_both_take_and_refuse_the_same(
    commit: dict[str, int], lease: dict[str, float], redis: dict[str, float], durability: str
) -> None:
    """Also where one of a pair is the default."""
    agree(with_values(config={"commit": commit, "lease": lease, "redis": {**redis, "durability": durability}}))
