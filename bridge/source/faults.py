"""What can go wrong between us and the lens API, in words for a person."""

from __future__ import annotations

import ssl

import aiohttp
import httpx

from bridge.errors import BridgeError
from bridge.model.labels import ConnectOutcome
from bridge.model.outcomes import Refused

__all__ = ["NETWORK_ERRORS", "SourceFault", "describe", "refusal_of"]

NETWORK_ERRORS = (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, aiohttp.ClientError, OSError, ValueError)
"""Not every failure is an httpx.TransportError: encoding and URL errors are ValueErrors, TLS errors OSErrors."""


class SourceFault(BridgeError):
    """The lens API did not give what was asked, or a connection to it broke. ``refused`` is what to tell of it."""

    def __init__(self, refused: Refused) -> None:
        super().__init__(refused.detail)
        self.refused = refused


def refusal_of(error: BaseException, base: str, proxy: str | None) -> Refused:
    """What a request that brought no answer comes to. ``proxy``: the address of one that was used, for the words."""
    via = f" via proxy {proxy}" if proxy else ""
    cause = error if isinstance(error, aiohttp.ClientError) else error.__cause__  # httpx names only the kind
    match cause:
        case aiohttp.ClientHttpProxyError(status=407):
            detail = f"proxy {proxy} refuses our credentials (407) - check user and password of the proxy's address"
            return Refused(outcome=ConnectOutcome.UNAUTHORIZED, status=407, detail=detail)
        case aiohttp.ClientHttpProxyError(status=status, message=message):
            words = " ".join(str(message).split())
            detail = f"proxy {proxy} refuses to connect to {base}: {status} {words} - ask who runs it, or set NO_PROXY"
        case aiohttp.ClientProxyConnectionError():
            detail = f"proxy {proxy} cannot be reached: {describe(error)} - check its address and the network"
        case aiohttp.ClientResponseError(message=message):
            words = " ".join(str(message).split())
            detail = f"{base}{via} answers with what cannot be read as HTTP: {words}"
        case _ if isinstance(error, httpx.ReadTimeout):
            detail = f"{base}{via} does not answer: no byte came for source.idle_timeout_seconds"
            return Refused(outcome=ConnectOutcome.TIMEOUT, detail=detail)
        case _:
            late = isinstance(error, httpx.TimeoutException | TimeoutError) and not _was_refused(error)
            detail = f"{base} cannot be reached{via}: {describe(error)} - check source.base_url and the network"
            return Refused(outcome=ConnectOutcome.TIMEOUT if late else ConnectOutcome.REFUSED, detail=detail)
    return Refused(outcome=ConnectOutcome.REFUSED, detail=detail)


def describe(error: BaseException) -> str:
    """An exception in one line, by its cause: many have no text, and some speak of what is not there."""
    cause = error.__cause__ if isinstance(error.__cause__, aiohttp.ClientError | OSError) else error
    if isinstance(cause, aiohttp.ClientConnectorError) and not isinstance(cause, ssl.SSLError):
        cause = cause.os_error  # its own text speaks of ssl:default where there is no TLS
    if isinstance(cause, aiohttp.ClientPayloadError):
        return "the connection broke off in the middle of the stream"  # its own text speaks of HTTP chunks
    text = " ".join(str(cause).split())
    if "WRONG_VERSION_NUMBER" in text or "RECORD_LAYER_FAILURE" in text:  # OpenSSL's words, before and since 3.5
        text += " - it does not speak TLS: is it http://?"
    if "CERTIFICATE_VERIFY_FAILED" in text:
        text += " - name its authority in source.ca_file"
    return f"{type(cause).__name__}: {text}" if text else type(cause).__name__


def _was_refused(error: BaseException) -> bool:
    # The transport reports a refused or hung-up connection as a time-out; the cause tells the truth.
    return isinstance(error.__cause__, aiohttp.ClientConnectionError) and not isinstance(error.__cause__, TimeoutError)
