"""What ``lens-bridge serve`` is told. Nothing of it concerns a worker."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, StringConstraints

from bridge.settings.kinds import COUNTED, KIB, MIB, Seconds, Section, SomeGlobs, globs, secret
from bridge.settings.values import ORIGIN_PATTERN, bearer_token, web_origin, word_list

__all__ = ["ServeSettings"]

_Origin = Annotated[str, StringConstraints(pattern=rf"^{ORIGIN_PATTERN}$")]
_OriginText = Annotated[str, StringConstraints(pattern=rf"^\s*({ORIGIN_PATTERN}\s*(,\s*{ORIGIN_PATTERN}\s*)*)?$")]


class ServeSettings(Section):
    """`lens-bridge serve`: streams as Server-Sent Events, for browsers and for those who have no Redis. Nothing of it
    concerns a worker."""

    host: str = "127.0.0.1"
    """Address to listen on; `0.0.0.0` means every address of this machine. Beyond the loopback it takes a token, or
    `anonymous`. It speaks HTTP: TLS is for what stands in front of it."""
    port: int = Field(default=8081, ge=0, le=65_535)
    """Port of the streams; 0 takes a free one and logs it."""
    admin_port: int = Field(default=8082, ge=0, le=65_535)
    """Port of `/livez`, `/readyz` and `/metrics`, on `admin.host`; 0 takes a free one and logs it. Not that of the
    streams, so that who may read those sees nothing else."""
    token: Annotated[SecretStr, secret(bearer_token)] | None = None
    """What a reader has to send as `Authorization: Bearer …`; 16 characters or more. Better a file (`token_file`)."""
    token_file: Path | None = None
    """A file that holds the token; read again when it changes, so it can be rotated. What is open stays open."""
    token_in_query: bool = False
    """Take the token also as `?access_token=…`, since EventSource of a browser sends no header. Off, since addresses
    get into the logs of proxies and into histories."""
    anonymous: bool = False
    """Listen beyond the loopback without a token: who can reach the port reads everything."""
    streams: Annotated[tuple[str, ...], Field(min_length=1), globs(SomeGlobs)] = ("*",)
    """Which streams are given, by globs on the name: a list, or in the environment also `a,b`."""
    cors_origins: Annotated[
        tuple[Annotated[str, AfterValidator(web_origin)], ...],
        BeforeValidator(word_list, json_schema_input_type=_OriginText | list[_Origin]),
    ] = ()
    """Origins whose pages may read, e.g. `https://app.example.com`, or `*` for all; in the environment also `a,b`."""
    heartbeat_seconds: Annotated[float, Field(ge=0.1, le=3600)] = 15.0
    """After how much silence a comment is sent: proxies close what is silent, often after a minute."""
    retry_seconds: Annotated[float, Field(ge=0.1, le=3600)] = 2.0
    """When a reader that was cut off should come again: each is told this much to twice as much, at random."""
    write_timeout_seconds: Seconds = 30.0
    """How long a reader may take for 64 KiB. Then its connection is closed; it goes on where it stood."""
    max_stream_seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """End each stream after this long, in good order: the reader comes again, with the token that is valid then."""
    max_connections: int = Field(default=1000, ge=1, le=100_000)
    """Connections at once. More are closed at once, which makes an EventSource try again."""
    max_connections_per_address: int = Field(default=100, ge=1, le=100_000)
    """The same of one client address. Behind a proxy all come from its address: set it to `max_connections` there."""
    buffer_events: int = Field(default=2_000, ge=1, le=COUNTED)
    """How many of the newest entries of a stream are kept for all its readers; who is further behind reads Redis."""
    buffer_bytes: int = Field(default=4 * MIB, ge=KIB, le=COUNTED)
    """The same in bytes; the newest entry is kept however large it is."""
