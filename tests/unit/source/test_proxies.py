"""Which proxy a connection goes through, as every other program on the machine has it."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import ConfigurationError
from bridge.source.proxies import ProxyChoice, bypasses, choose_proxy

API = "https://api.example.com/v0.5"


def address(base_url: str = API, configured: str | None = None, **environ: str) -> str | None:
    """The address of the proxy that is chosen."""
    chosen = choose_proxy(base_url, configured, environ)
    return chosen.address if chosen else None


def test_without_a_setting_and_variables_there_is_none() -> None:
    """And an empty variable is none."""
    assert address() is None
    assert address(HTTPS_PROXY="", https_proxy=" ") is None


def test_the_variable_goes_by_the_scheme_of_the_api() -> None:
    """And one for all of them is the last resort."""
    variables = {"HTTP_PROXY": "http://plain:1", "HTTPS_PROXY": "http://tls:2", "ALL_PROXY": "http://any:3"}
    assert address(API, **variables) == "http://tls:2"
    assert address("http://api.example.com", **variables) == "http://plain:1"
    assert address(API, HTTP_PROXY="http://plain:1") is None
    assert address(API, ALL_PROXY="http://any:3") == "http://any:3"


def test_small_letters_come_first() -> None:
    """As curl reads them."""
    assert address(https_proxy="http://small:1", HTTPS_PROXY="http://large:2") == "http://small:1"
    assert address(HTTPS_PROXY="http://p:1", no_proxy="other", NO_PROXY="example.com") == "http://p:1"
    assert address(HTTPS_PROXY="http://p:1", NO_PROXY="example.com") is None


def test_the_setting_counts_whatever_the_variables_say() -> None:
    """An empty one means a direct connection."""
    variables = {"HTTPS_PROXY": "http://other:1", "NO_PROXY": "*"}
    assert address(configured="http://mine:2", **variables) == "http://mine:2"
    assert address(configured="", HTTPS_PROXY="http://other:1") is None


@pytest.mark.parametrize("host", ["localhost", "lens.localhost", "127.0.0.1", "127.8.9.1", "[::1]", "LOCALHOST"])
def test_this_machine_needs_no_proxy(host: str) -> None:
    """The demo and the simulator have to work where the variables are set; a setting is believed."""
    assert address(f"http://{host}:8000/v0.5", HTTP_PROXY="http://p:1") is None
    assert address(f"http://{host}:8000/v0.5", "http://p:1") == "http://p:1"


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("proxy.example:3128", "http://proxy.example:3128"),
        ("http://proxy.example", "http://proxy.example:80"),
        ("https://proxy.example", "https://proxy.example:443"),
        ("HTTP://Proxy.Example:8080/", "http://proxy.example:8080"),
        ("http://[2001:db8::1]:3128", "http://[2001:db8::1]:3128"),
        ("http://user:word@proxy.example:3128", "http://proxy.example:3128"),
    ],
)
def test_an_address_may_be_short(value: str, found: str) -> None:
    """As other programs take it; what may be shown is without credentials."""
    assert address(HTTPS_PROXY=value) == found


def test_credentials_are_decoded_and_not_shown() -> None:
    """Characters that an address can't hold are percent-encoded in it."""
    chosen = choose_proxy(API, "http://an%40user:p%3Ass%C3%A9@proxy:3128", {})
    assert chosen == ProxyChoice(
        address="http://proxy:3128", origin="source.proxy (BRIDGE_SOURCE__PROXY)", credentials=("an@user", "p:ss\u00e9")
    )
    assert "ss\u00e9" not in repr(chosen)
    assert choose_proxy(API, "http://user@proxy:3128", {}) == ProxyChoice(
        address="http://proxy:3128", origin="source.proxy (BRIDGE_SOURCE__PROXY)", credentials=("user", "")
    )


@pytest.mark.parametrize(
    "value", ["http://", "://", "socks5://user:hunter22@proxy:1080", "http://u:hunter22@proxy:port", "http://[::1:80"]
)
def test_an_address_that_is_none_is_a_configuration_error(value: str) -> None:
    """It names the setting or the variable, and never a password."""
    for configured, environ, name in ((value, {}, "source.proxy"), (None, {"all_proxy": value}, "all_proxy")):
        with pytest.raises(ConfigurationError, match=name) as caught:
            choose_proxy(API, configured, environ)
        assert "hunter22" not in str(caught.value)


@pytest.mark.parametrize(
    ("host", "no_proxy", "direct"),
    [
        ("api.example.com", "*", True),
        ("api.example.com", "example.com", True),
        ("api.example.com", ".example.com", True),
        ("api.example.com", "*.example.com", True),
        ("api.example.com", "API.Example.COM", True),
        ("api.example.com", "other, example.com", True),
        ("api.example.com", "other example.com", True),
        ("api.example.com", "example.com:443", True),
        ("api.example.com", "example.com:8443", False),
        ("api.example.com", "ple.com", False),
        ("api.example.com", "notexample.com", False),
        ("api.example.com", "www.api.example.com", False),
        ("api.example.com", "", False),
        ("api.example.com", ", .", False),
        ("api.example.com", "10.0.0.0/8", False),
        ("10.1.2.3", "10.0.0.0/8", True),
        ("10.1.2.3", "10.1.2.9/8", True),
        ("10.1.2.3", "10.1.2.3", True),
        ("10.1.2.3", "10.1.2.3:443", True),
        ("10.1.2.3", "10.1.2.3:80", False),
        ("10.1.2.3", "192.168.0.0/16", False),
        ("10.1.2.3", "2.3", False),
        ("10.1.2.3", "nonsense/99", False),
        ("2001:db8::1", "2001:db8::/32", True),
        ("2001:db8::1", "[2001:db8::1]", True),
        ("2001:db8::1", "[2001:db8::1]:443", True),
        ("2001:db8::1", "2001:DB8:0::1", True),
        ("2001:db8::1", "2001:db9::/32", False),
    ],
)
def test_no_proxy_names_domains_addresses_and_blocks(host: str, no_proxy: str, direct: bool) -> None:
    """By whole labels, whatever their case; with a port where one is given."""
    assert bypasses(host, 443, no_proxy) == direct


@given(st.text(), st.text())
def test_no_value_of_a_variable_is_more_than_an_error_of_the_configuration(proxy: str, no_proxy: str) -> None:
    """Whatever stands in it."""
    with suppress(ConfigurationError):
        choose_proxy(API, None, {"https_proxy": proxy, "no_proxy": no_proxy})
