"""A Redis client for the commands that only read. The worker's own connection is `bridge.store.link`."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from redis.asyncio import Redis
from redis.exceptions import RedisError

from bridge.errors import BridgeError, ConfigurationError
from bridge.settings import RedisSettings

__all__ = ["check_contact", "open_client"]


def open_client(settings: RedisSettings) -> Redis:
    """A client that answers in bytes; nothing is sent yet. Raises ConfigurationError for a bad password file."""
    options: dict[str, Any] = {
        "socket_timeout": settings.timeout_seconds,
        "socket_connect_timeout": settings.connect_timeout_seconds,
        "socket_keepalive": True,
        "decode_responses": False,
    }
    url = settings.url.get_secret_value()
    if settings.username:
        options["username"] = settings.username
    if password := _password(settings):
        options["password"] = password
    if settings.ca_file and url.startswith("rediss://"):
        options["ssl_ca_certs"] = str(settings.ca_file)
    return Redis.from_url(url, **options)


async def check_contact(client: Redis, settings: RedisSettings) -> None:
    """Raises BridgeError where Redis does not answer: one that was never there is a mistake, not an outage."""
    try:
        await client.ping()
    except (RedisError, OSError) as error:
        url = urlsplit(settings.url.get_secret_value())
        where = f"{url.scheme}://{url.hostname}:{url.port or 6379}"
        raise BridgeError(
            f"cannot read Redis at {where}: {str(error).rstrip('.') or type(error).__name__}"
            " - check redis.url (BRIDGE_REDIS__URL, --redis-url) and the password"
        ) from error


def _password(settings: RedisSettings) -> str | None:
    if settings.password_file is None:
        return settings.password.get_secret_value() if settings.password else None
    try:
        return settings.password_file.read_text(encoding="utf-8").strip()
    except UnicodeDecodeError:
        raise ConfigurationError(
            f"redis.password_file {settings.password_file}: not UTF-8 text - write the password into it as UTF-8"
        ) from None
    except OSError as error:
        raise ConfigurationError(f"redis.password_file {settings.password_file}: {error.strerror}") from error
