"""What a newcomer can try against a demo that was left running. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from rich.text import Text

from bridge.lab.demo.story import Tone

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
) -> Text:
    """Addresses and commands to copy, each on one line. ``session``: ``name=id`` of the session behind ``stream_key``.

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
    text = Text("\n").append("  Left running, at a tenth of the pace. Ctrl-C ends it.\n", Tone.BOLD)
    for name, url in addresses:
        text.append(f"\n  {name:<10}", Tone.DIM).append(url)
    for what, command in commands:
        text.append(f"\n\n  {what}", Tone.DIM).append(f"\n  {command}", Tone.ACCENT)
    return text
