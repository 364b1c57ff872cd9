"""`lens-bridge serve`: streams as Server-Sent Events."""

from __future__ import annotations

import argparse
import asyncio
from typing import Any

from bridge.cli.options import ExitCode, add_settings, command, number, settings_of

__all__ = ["add_serve_command"]

_SERVE = """\
It reads Redis and writes nothing. Each entry comes once and in order, over any break: `id:` is its id in Redis, and a
reader that comes back with Last-Event-ID goes on behind it. What may be missing then (trimmed meanwhile, or lost by
Redis) is told as an event `bridge.hole`. Start as many as you like. The first Ctrl-C or SIGTERM ends all streams in
good order.

  GET /streams                  what there is, as JSON
  GET /streams/NAME             a session's stream; where several share one: its entries of it, or all under its key
    ?from=now|start|ENTRY-ID    where to begin without a place (default now)
    ?last_event_id=ID           the place, where no header can be sent
    ?type=inference.*,error     only these types, by globs; may be repeated. Markers have types too: bridge.*
    ?session=lsn-...            only this session, by name or id; may be repeated
    ?format=entry|data          each entry's fields as JSON (default), or the data alone under its own event name

examples:
  lens-bridge serve                                        on 127.0.0.1:8081, for programs of this machine
  BRIDGE_SERVE__TOKEN_FILE=token lens-bridge serve --host 0.0.0.0
  curl -N 'localhost:8081/streams/camera-1?from=start'
  curl -N -H "Authorization: Bearer $(cat token)" localhost:8081/streams/camera-1

/livez, /readyz and /metrics are on serve.admin_port (8082). A page for browsers: config/examples/browser.

exit codes: 0 stopped in good order, 2 bad configuration, or a port is taken
"""


def add_serve_command(commands: Any) -> None:
    """Add it."""
    serve = command(commands, "serve", _serve, "streams as Server-Sent Events, for browsers", _SERVE)
    serve.add_argument("--host", dest="serve_host", help="address to listen on (default 127.0.0.1)")
    serve.add_argument(
        "--port", dest="serve_port", type=number(int, 0, 65_535), help="port to listen on (default 8081)"
    )
    add_settings(serve)


def _serve(options: argparse.Namespace) -> ExitCode:
    from bridge.masking import Secrets
    from bridge.serve.service import serve
    from bridge.settings.loading import hide_secrets
    from bridge.telemetry import log

    settings = settings_of(options)
    secrets = Secrets()
    hide_secrets(settings, secrets)
    log.configure(settings.log.level, settings.log.format, secrets)
    asyncio.run(serve(settings, secrets))
    return ExitCode.DONE
