"""Which HTTP proxy a connection goes through, by the settings or by the variables that everybody uses. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import SplitResult, unquote, urlsplit

from bridge.errors import ConfigurationError

__all__ = ["ProxyChoice", "bypasses", "choose_proxy"]

_SETTING = "source.proxy (BRIDGE_SOURCE__PROXY)"
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyChoice:
    """A proxy to use. ``address`` is without credentials, so it may be shown; ``origin`` says who named it."""

    address: str
    origin: str
    credentials: tuple[str, str] | None = field(default=None, repr=False)  # user and password, percent-decoded


def choose_proxy(base_url: str, configured: str | None, environ: Mapping[str, str]) -> ProxyChoice | None:
    """The proxy for ``base_url``; None for a direct connection. Raises ConfigurationError for an address that is none.

    ``configured`` (``source.proxy``) always counts; an empty one means: none, whatever the variables say. Else
    ``https_proxy`` or ``http_proxy`` by the scheme, then ``all_proxy``, each in small letters first and in capitals
    after, as curl reads them; less what ``no_proxy`` names, and never for this machine itself, as Go has it.
    """
    if configured is not None:
        return _choice(configured, _SETTING) if configured.strip() else None
    target = urlsplit(base_url)
    host = (target.hostname or "").rstrip(".")
    for name in (f"{target.scheme}_proxy", "all_proxy"):
        origin, value = _variable(environ, name)
        if not value:
            continue
        port = target.port or _PORTS.get(target.scheme, 0)
        if _is_loopback(host) or bypasses(host, port, _variable(environ, "no_proxy")[1]):
            return None
        return _choice(value, origin)
    return None


def bypasses(host: str, port: int, no_proxy: str) -> bool:
    """Whether NO_PROXY names this host: ``*``, a domain with all below it, an address, a CIDR block, each with a port
    or without."""
    address = _address(host)
    for entry in no_proxy.replace(",", " ").lower().split():
        if entry == "*":
            return True
        if address is not None and (network := _network(entry)) is not None:
            if address in network:
                return True
            continue
        name, wanted_port = _with_port(entry)
        if wanted_port not in (None, port):
            continue
        if address is not None:
            if _address(name) == address:
                return True
            continue
        domain = name.removeprefix("*").strip(".")
        if domain and (host == domain or host.endswith(f".{domain}")):
            return True
    return False


def _variable(environ: Mapping[str, str], name: str) -> tuple[str, str]:
    for spelling in (name, name.upper()):
        if value := environ.get(spelling, "").strip():
            return spelling, value
    return name.upper(), ""


def _choice(value: str, origin: str) -> ProxyChoice:
    text = value.strip()
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    # Its value is not shown: it may hold a password.
    if not host:
        raise ConfigurationError(f"{origin} is no address of a proxy; write e.g. http://proxy.example:3128")
    if parts.scheme not in _PORTS:
        raise ConfigurationError(f"{origin}: a proxy is spoken to by http:// or https://, not {parts.scheme}://")
    shown = f"[{host}]" if ":" in host else host
    address = f"{parts.scheme}://{shown}:{port or _PORTS[parts.scheme]}"
    return ProxyChoice(address=address, origin=origin, credentials=_credentials(parts))


def _credentials(parts: SplitResult) -> tuple[str, str] | None:
    if parts.username is None:
        return None
    return unquote(parts.username), unquote(parts.password or "")


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text.strip("[]"))
    except ValueError:
        return None


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(text, strict=False) if "/" in text else None
    except ValueError:
        return None


def _with_port(entry: str) -> tuple[str, int | None]:
    if _address(entry) is not None:
        return entry, None
    name, _, port = entry.rpartition(":")
    return (name, int(port)) if name and port.isascii() and port.isdigit() else (entry, None)


def _is_loopback(host: str) -> bool:
    address = _address(host)
    return host == "localhost" or host.endswith(".localhost") or (address is not None and address.is_loopback)
