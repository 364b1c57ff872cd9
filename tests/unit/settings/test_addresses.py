"""The URLs of the API, of a proxy and of Redis: which are refused, and in which words."""

from __future__ import annotations

import pytest

from bridge.model.redis_address import Endpoint, RedisAddress, Topology, redis_address
from bridge.settings.loading import load, read
from tests.support.configuration import problems, warnings

SCHEMES = "must begin with redis://, rediss:// (TLS), redis+sentinel://, redis+cluster:// or unix://"
SENTINEL = "redis+sentinel://host:26379,host:26379/service/0, or rediss+sentinel:// for TLS"
BAD_PLACE = "has a bad host or port (1 to 65535); special characters must be percent-encoded"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://h", SCHEMES),
        ("redis+sentinels://h/s", SCHEMES),
        ("h:6379", SCHEMES),
        ("redis://", "must look like redis://host:6379/0, or rediss:// for TLS"),
        ("redis://hidden-pass@/0", "must look like redis://host:6379/0, or rediss:// for TLS"),
        ("redis://a,b", "names several hosts; for several write redis+sentinel:// or redis+cluster://"),
        ("redis://h:x", BAD_PLACE),
        ("redis+cluster://h:1,", BAD_PLACE),
        ("redis+cluster://h:1,[::1", BAD_PLACE),
        ("redis+sentinel://h:1,h:0/s", "has a bad port: 0; it must be 1 to 65535"),
        ("redis+cluster://h/1", "must end after the hosts: a cluster has database 0 only"),
        ("redis+sentinel://h", "must name the service that the Sentinels watch, as " + SENTINEL),
        ("redis+sentinel:///s", "must look like " + SENTINEL),
        (
            "redis+sentinel://h/s/zero",
            "must end with a database number, e.g. /0; a slash in a password must be written %2F",
        ),
        ("redis+sentinel://:hidden-pa/ss@h/s", "must name the service that the Sentinels watch, as " + SENTINEL),
        ("unix://run/redis.sock", "must look like unix:///run/redis.sock, with ?db=1 for another database than 0"),
        ("unix:///redis.sock?db=x", "must look like unix:///run/redis.sock, with ?db=1 for another database than 0"),
        ("redis://h:70000", "has a bad host or port (1 to 65535); special characters must be percent-encoded"),
        ("redis://h:0", "has a bad port: 0; it must be 1 to 65535"),
        (
            "redis://:hidden-pa/ss@h",
            "must end with a database number, e.g. /0; a slash in a password must be written %2F",
        ),
        ("redis://h/zero", "must end with a database number, e.g. /0; a slash in a password must be written %2F"),
        (
            "redis://h?password=hidden-pass",
            "takes no ? and no #; options are settings of their own, and a password must be percent-encoded",
        ),
        ("redis:// h", "must hold no spaces and no line breaks"),
    ],
)
def test_a_bad_redis_url_is_explained_and_not_repeated(url: str, expected: str) -> None:
    """It may hold a password."""
    assert problems({"BRIDGE_REDIS__URL": url}) == [f"redis.url (BRIDGE_REDIS__URL): {expected}"]
    assert "hidden" not in expected


SINGLE, WATCHED, CLUSTER = Topology.SINGLE, Topology.SENTINEL, Topology.CLUSTER


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://h", RedisAddress(topology=SINGLE, endpoints=(Endpoint("h", 6379),))),
        ("redis://H:1/", RedisAddress(topology=SINGLE, endpoints=(Endpoint("h", 1),))),
        (
            "rediss://bridge:pass%2Fword@[2001:db8::1]:6380/2",
            RedisAddress(
                topology=SINGLE,
                endpoints=(Endpoint("2001:db8::1", 6380),),
                tls=True,
                database=2,
                username="bridge",
                password="pass/word",
            ),
        ),
        ("unix:///run/redis.sock", RedisAddress(topology=SINGLE, endpoints=(Endpoint("/run/redis.sock", 0),))),
        (
            "unix://:word@/run/redis.sock?db=3",
            RedisAddress(topology=SINGLE, endpoints=(Endpoint("/run/redis.sock", 0),), database=3, password="word"),
        ),
        (
            "redis+sentinel://s-1:1,s-2,[::1]:3/the-primary",
            RedisAddress(
                topology=WATCHED,
                endpoints=(Endpoint("s-1", 1), Endpoint("s-2", 26379), Endpoint("::1", 3)),
                service="the-primary",
            ),
        ),
        (
            "rediss+sentinel://:a%40b@s-1/the-primary/4",
            RedisAddress(
                topology=WATCHED,
                endpoints=(Endpoint("s-1", 26379),),
                tls=True,
                service="the-primary",
                database=4,
                password="a@b",
            ),
        ),
        (
            "redis+cluster://n-1,n-2:7001,n-1/",
            RedisAddress(topology=CLUSTER, endpoints=(Endpoint("n-1", 6379), Endpoint("n-2", 7001))),
        ),
        (
            "rediss+cluster://n-1/0",
            RedisAddress(topology=CLUSTER, endpoints=(Endpoint("n-1", 6379),), tls=True),
        ),
    ],
)
def test_a_good_redis_url_says_which_servers_and_how_they_hang_together(url: str, expected: RedisAddress) -> None:
    """And with the other family's name, the same."""
    assert load(None, {}, {"BRIDGE_REDIS__URL": url}).redis.address == expected
    assert redis_address(
        url.replace("rediss", "valkeys").replace("redis:", "valkey:").replace("redis+", "valkey+")
    ) == (expected)


def test_an_endpoint_is_written_as_in_an_address() -> None:
    """It stands in every fault."""
    shown = [str(one) for one in (Endpoint("h", 1), Endpoint("::1", 2), Endpoint("/run/redis.sock", 0))]
    assert shown == ["h:1", "[::1]:2", "/run/redis.sock"]


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("api.example/v0.5", "must begin with http:// or https:// and name a host, not 'api.example/v0.5'"),
        ("https:///v0.5", "must begin with http:// or https:// and name a host, not 'https:///v0.5'"),
        ("https://h/v0.5?a=b", "must end with the path: no query and no fragment"),
        ("https://me:hidden@h", "must hold no user or password; the key goes into source.api_key_file"),
    ],
)
def test_a_bad_base_url_is_explained(url: str, expected: str) -> None:
    """And shown, unless it may hold a password."""
    assert problems({"BRIDGE_SOURCE__BASE_URL": url}) == [f"source.base_url (BRIDGE_SOURCE__BASE_URL): {expected}"]


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (
            "proxy.example:3128",
            "must look like http://proxy.example:3128, or https:// where the proxy itself speaks TLS",
        ),
        ("socks5://h:1", "must look like http://proxy.example:3128, or https:// where the proxy itself speaks TLS"),
        ("http://:3128", "must look like http://proxy.example:3128, or https:// where the proxy itself speaks TLS"),
        ("http://h/p", "must end after host and port; special characters in a password must be percent-encoded"),
        ("http://h:1#a", "must end after host and port; special characters in a password must be percent-encoded"),
        (
            "http://me:hid#den@h",
            "has a bad host or port (1 to 65535); special characters must be percent-encoded",
        ),
        ("http://h:0", "has a bad port: 0; it must be 1 to 65535"),
    ],
)
def test_a_bad_proxy_url_is_explained_and_not_repeated(url: str, expected: str) -> None:
    """It may hold a password."""
    assert problems({"BRIDGE_SOURCE__PROXY": url}) == [f"source.proxy (BRIDGE_SOURCE__PROXY): {expected}"]


def test_a_slash_at_the_end_of_the_base_url_does_not_matter() -> None:
    """It would double in every request."""
    assert load(None, {"source.base_url": "http://h:1/v0.5/"}, {}).source.base_url == "http://h:1/v0.5"


# Users and clear text


@pytest.mark.parametrize(
    ("environment", "where"),
    [
        ({"BRIDGE_REDIS__URL": "redis://bridge@h"}, "redis.url (BRIDGE_REDIS__URL)"),
        ({"BRIDGE_REDIS__USERNAME": "bridge"}, "redis.username (BRIDGE_REDIS__USERNAME)"),
        ({"BRIDGE_REDIS__URL": "redis+sentinel://bridge@a,b/s"}, "redis.url (BRIDGE_REDIS__URL)"),
    ],
)
def test_a_user_without_a_password_is_refused(environment: dict[str, str], where: str) -> None:
    """It would be logged in as the default user, with other rights than those that were meant."""
    assert problems(environment) == [
        f"{where}: user bridge has no password, and Redis would take the worker for its default user; set "
        "redis.password_file (BRIDGE_REDIS__PASSWORD_FILE) or redis.password (BRIDGE_REDIS__PASSWORD)"
    ]


@pytest.mark.parametrize(
    "environment",
    [
        {"BRIDGE_REDIS__URL": "redis://bridge:word@h"},
        {"BRIDGE_REDIS__URL": "redis://bridge@h", "BRIDGE_REDIS__PASSWORD": "word"},
        {"BRIDGE_REDIS__USERNAME": "bridge", "BRIDGE_REDIS__URL": "redis://:word@h"},
        {"BRIDGE_REDIS__USERNAME": "bridge", "BRIDGE_REDIS__PASSWORD_FILE": "/run/secrets/redis"},
        {"BRIDGE_REDIS__USERNAME": "default"},
        {"BRIDGE_REDIS__URL": "redis://:word@h"},
    ],
)
def test_a_user_with_a_password_from_anywhere_is_fine(environment: dict[str, str]) -> None:
    """In the URL, as a setting of its own, in a file; and the default user is who one is without a name."""
    assert warnings(environment) == []


def test_a_user_of_the_sentinels_without_a_password_is_refused() -> None:
    """They have users of their own, and so the same trap."""
    environment = {"BRIDGE_REDIS__URL": "redis+sentinel://a,b/s", "BRIDGE_REDIS__SENTINEL_USERNAME": "bridge"}
    assert problems(environment) == [
        "redis.sentinel_username (BRIDGE_REDIS__SENTINEL_USERNAME): user bridge has no password, and a Sentinel would "
        "take the worker for its default user; set redis.sentinel_password_file (BRIDGE_REDIS__SENTINEL_PASSWORD_FILE) "
        "or redis.sentinel_password (BRIDGE_REDIS__SENTINEL_PASSWORD)"
    ]
    assert warnings({**environment, "BRIDGE_REDIS__SENTINEL_PASSWORD": "word"}) == []
    both = {"BRIDGE_REDIS__SENTINEL_PASSWORD": "word", "BRIDGE_REDIS__SENTINEL_PASSWORD_FILE": "/run/word"}
    assert problems({**environment, **both}) == [
        "redis.sentinel_password (BRIDGE_REDIS__SENTINEL_PASSWORD) and redis.sentinel_password_file "
        "(BRIDGE_REDIS__SENTINEL_PASSWORD_FILE): set only one"
    ]


def test_what_sentinels_are_told_is_of_no_use_where_there_are_none() -> None:
    """A password that is sent nowhere is one that was meant for something."""
    assert warnings({"BRIDGE_REDIS__URL": "redis+cluster://a", "BRIDGE_REDIS__SENTINEL_PASSWORD": "word"}) == [
        "redis.sentinel_password (BRIDGE_REDIS__SENTINEL_PASSWORD): has no effect, since redis.url begins with "
        "redis+cluster://"
    ]


def test_entries_that_are_kept_without_an_end_are_told_of() -> None:
    """And nothing is said where there is a cap; but where there is no limit, there is nothing to keep them from."""
    keeping = {"BRIDGE_STREAM__KEEP_UNREAD": "true"}
    for limit in ("BRIDGE_STREAM__MAX_LENGTH", "BRIDGE_STREAM__MAX_AGE_SECONDS"):
        assert warnings({**keeping, limit: "100"}) == [
            "stream.keep_unread (BRIDGE_STREAM__KEEP_UNREAD): a consumer group that nobody reads any more keeps "
            "everything until Redis is full; set stream.hard_max_length (BRIDGE_STREAM__HARD_MAX_LENGTH) to what Redis "
            "can hold"
        ]
        assert warnings({**keeping, limit: "100", "BRIDGE_STREAM__HARD_MAX_LENGTH": "100"}) == []
    assert warnings({**keeping, "BRIDGE_STREAM__HARD_MAX_LENGTH": "100"}) == []
    assert warnings(keeping) == [
        "stream.keep_unread (BRIDGE_STREAM__KEEP_UNREAD): has no effect, since nothing is trimmed; set "
        "stream.max_length (BRIDGE_STREAM__MAX_LENGTH) or stream.max_age_seconds (BRIDGE_STREAM__MAX_AGE_SECONDS)"
    ]


@pytest.mark.parametrize("host", ["lens.example", "10.0.0.7", "[2001:db8::1]"])
def test_a_key_that_goes_in_clear_to_another_host_is_told_of(host: str) -> None:
    """Whoever stands between reads it."""
    assert warnings({"BRIDGE_SOURCE__BASE_URL": f"http://{host}:80/v0.5"}) == [
        f"source.base_url (BRIDGE_SOURCE__BASE_URL): the API key goes to {host.strip('[]')} in clear; use https://"
    ]


@pytest.mark.parametrize("host", ["localhost", "lens.localhost", "127.0.0.1", "127.1.2.3", "[::1]"])
def test_a_key_that_stays_on_this_machine_may_go_in_clear(host: str) -> None:
    """The simulator is there."""
    assert warnings({"BRIDGE_SOURCE__BASE_URL": f"http://{host}:8080/v0.5"}) == []


def test_a_worker_without_a_key_and_without_sessions_says_so() -> None:
    """Both are allowed: a simulator may want no key, and sessions may come later."""
    assert list(read(None, {}, {"BRIDGE_SOURCE__BASE_URL": "http://lens.example"}).warnings) == [
        "source.api_key (ATAI_API_KEY or BRIDGE_SOURCE__API_KEY): no API key is configured, and the lens API asks for "
        "one; set it, or source.api_key_file (BRIDGE_SOURCE__API_KEY_FILE)",
        "sessions (BRIDGE_SESSIONS): no sessions are configured; the worker stands by",
    ]
