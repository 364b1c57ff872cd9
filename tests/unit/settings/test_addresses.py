"""The URLs of the API, of a proxy and of Redis: which are refused, and in which words."""

from __future__ import annotations

import pytest

from bridge.settings.loading import load, read
from tests.support.configuration import problems, warnings


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis+cluster://h", "redis+cluster:// is not supported in this version; use redis:// or rediss://"),
        ("redis+sentinel://h/s", "redis+sentinel:// is not supported in this version; use redis:// or rediss://"),
        ("http://h", "must look like redis://host:6379/0, or rediss:// for TLS"),
        ("unix:///run/redis.sock", "must look like redis://host:6379/0, or rediss:// for TLS"),
        ("redis://h:70000", "has a bad host or port (1 to 65535); special characters must be percent-encoded"),
        ("redis://h:0", "has a bad port: 0; it must be 1 to 65535"),
        ("redis://:hidden-pa/ss@h", "has a bad host or port (1 to 65535); special characters must be percent-encoded"),
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
