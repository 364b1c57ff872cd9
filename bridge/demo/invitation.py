"""What a newcomer can try against a demo that was left running. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from bridge.demo.text import Line, Span, Tone

__all__ = ["GROUP", "invitation"]

GROUP = "demo"


def invitation(
    *,
    redis_url: str,
    base_url: str,
    control_url: str,
    admin_urls: Sequence[str],
    stream_key: str,
    session: str,
    python: str,
    bridge: str,
) -> list[Line]:
    """Addresses and commands to copy. ``session``: ``name=id`` of the session behind ``stream_key``.

    ``python`` and ``bridge``: how a shell finds an interpreter that has redis, and the command line.
    """
    port = urlsplit(redis_url).port
    reads = f"r.xreadgroup('{GROUP}', 'me', {{'{stream_key}': '>'}}, count=3)"
    program = f"import redis; r = redis.Redis(port={port}, decode_responses=True); print({reads})"
    check = f"{bridge} verify --redis-url {redis_url} --sessions {session} --simulator {control_url}"
    addresses = [
        ("Redis", redis_url),
        ("lens API", f"{base_url}  (faults at {control_url})"),
        *((f"worker-{n}", url) for n, url in enumerate(admin_urls, 1)),
    ]
    commands = [
        ("read as a consumer", f"redis-cli -p {port} XREADGROUP GROUP {GROUP} me COUNT 3 STREAMS '{stream_key}' '>'"),
        ("the same in Python", f'{python} -c "{program}"'),
        ("watch events land", f"{bridge} tail --redis-url {redis_url} --sessions {session}"),
        ("check it yourself", check),
    ]
    lines: list[Line] = [(), (Span("  Left running, at a tenth of the pace. Ctrl-C ends it.", Tone.BOLD),), ()]
    lines += [(Span(f"  {name:<10}", Tone.DIM), Span(url)) for name, url in addresses]
    for what, command in commands:
        lines += [(), (Span(f"  {what}", Tone.DIM),), (Span(f"  {command}", Tone.ACCENT),)]
    return lines
