"""Who may come in: the bearer token, and from which pages of browsers."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from pathlib import Path

import structlog

from bridge.errors import ConfigurationError
from bridge.masking import Secrets
from bridge.settings import ServeSettings
from bridge.settings.values import bearer_token
from bridge.telemetry.listening import is_loopback

__all__ = ["TokenKeeper", "check_openness", "cors_headers"]

log = structlog.get_logger()

_PREFLIGHT_SECONDS = 600


def check_openness(settings: ServeSettings) -> None:
    """Raises ConfigurationError where streams would be open to others without a token, and nobody asked for it."""
    if settings.token or settings.token_file or settings.anonymous or is_loopback(settings.host):
        return
    raise ConfigurationError(
        f"serve.host (BRIDGE_SERVE__HOST): {settings.host} lets others read every stream without a token; set "
        "serve.token_file (BRIDGE_SERVE__TOKEN_FILE), or serve.anonymous (BRIDGE_SERVE__ANONYMOUS) if that is meant"
    )


class TokenKeeper:
    """The token that is valid now. Of a file, what it holds now; where it cannot be read, what it held before."""

    def __init__(self, settings: ServeSettings, secrets: Secrets) -> None:
        self._file = settings.token_file
        self._secrets = secrets
        self._digest = _digest(settings.token.get_secret_value()) if settings.token else None
        self._seen: tuple[int, ...] | None = None
        self._told = ""
        if self._file:
            self._digest = self._read(self._file, _state_of(self._file))

    @property
    def asked(self) -> bool:
        """Whether a token is asked for at all."""
        return self._digest is not None

    def takes(self, given: str | None) -> bool:
        """Whether this is the token. How long that takes tells nothing of it."""
        if self._file:
            self._look(self._file)
        if self._digest is None:
            return True
        return given is not None and hmac.compare_digest(_digest(given), self._digest)

    def _look(self, file: Path) -> None:
        try:
            state = _state_of(file)
            if state != self._seen:
                self._digest = self._read(file, state)
                self._told = ""
                log.info("token.read", file=str(file))
        except ConfigurationError as error:
            if self._told != str(error):
                log.error("token.unread", error=str(error), hint="the token that was valid before stays valid")
            self._told = str(error)

    def _read(self, file: Path, state: tuple[int, ...]) -> bytes:
        """Raises ConfigurationError."""
        try:
            text = bearer_token(file.read_text(encoding="utf-8").strip())
        except UnicodeDecodeError:
            raise ConfigurationError(_bad(file, "not UTF-8 text")) from None
        except OSError as error:
            raise ConfigurationError(_bad(file, str(error.strerror))) from error
        except ValueError as error:
            raise ConfigurationError(_bad(file, str(error))) from None
        self._secrets.add(text, "serve.token_file")
        self._seen = state
        return _digest(text)


def cors_headers(settings: ServeSettings, asked: Mapping[str, str], *, preflight: bool) -> dict[str, str]:
    """What a browser has to be told so that a page of another origin may read the answer; nothing for any other."""
    if not settings.cors_origins:
        return {}
    headers = {} if "*" in settings.cors_origins else {"Vary": "Origin"}
    origin = asked.get("Origin", "")
    if "*" in settings.cors_origins:
        headers["Access-Control-Allow-Origin"] = "*"
    elif origin.lower() in settings.cors_origins:
        headers["Access-Control-Allow-Origin"] = origin
    else:
        return headers
    if preflight:
        headers["Access-Control-Allow-Methods"] = "GET"
        headers["Access-Control-Allow-Headers"] = "Authorization, Cache-Control, Last-Event-ID"
        headers["Access-Control-Max-Age"] = str(_PREFLIGHT_SECONDS)
    return headers


def _state_of(file: Path) -> tuple[int, ...]:
    """Another one when the file is: also where a symbolic link leads elsewhere, as in Kubernetes."""
    try:
        found = file.stat()
    except OSError as error:
        raise ConfigurationError(_bad(file, str(error.strerror))) from error
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size


def _bad(file: Path, reason: str) -> str:
    return f"serve.token_file (BRIDGE_SERVE__TOKEN_FILE): {file}: {reason}"


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode(errors="surrogateescape")).digest()
