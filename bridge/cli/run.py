"""`lens-bridge run`: the worker."""

from __future__ import annotations

import argparse
import asyncio
from typing import Any

from bridge.cli.options import ExitCode, add_settings, command, number, places_of

__all__ = ["add_run_command"]

_RUN = """\
It reads every configured session into its Redis stream and commits its place in the same step. Run as many as you
like: they share the sessions, and take over from each other. What it does is logged on standard error.
Ctrl-C, SIGTERM or the end of its terminal stops it in good order; a second Ctrl-C or SIGTERM stops it at once. Either
way nothing is lost.

SIGHUP makes it read its configuration again; so does a change of its file, of a file that it names, or of
BRIDGE_SECRETS_DIR, within 3 s. Sessions come and go, and no other one is touched. What takes a restart is named in the
log (config.needs_restart); a configuration with a mistake is refused there (config.refused), and the old one stays.

examples:
  ATAI_API_KEY=... lens-bridge run --sessions camera-1=lsn-250313 --redis-url redis://localhost:6379
  lens-bridge run --config bridge.yaml
  kill -HUP PID                            read the configuration again, now
  lens-bridge run --until-ended            for a batch: ends with 0 once all sessions have ended

/livez, /readyz, /metrics and /status are served on --port; / is the same for eyes.

exit codes: 0 stopped in good order, or all sessions have ended (--until-ended), 1 one of them was never there
(--until-ended), 2 bad configuration, or the port is taken, 130 and 143 stopped at once by a second signal
"""


def add_run_command(commands: Any) -> None:
    """Add it."""
    run = command(commands, "run", _run, "the worker: reads sessions into Redis until it is stopped", _RUN)
    run.add_argument("--until-ended", action="store_true", help="exit with 0 once all sessions have ended")
    run.add_argument(
        "--port", type=number(int, 0, 65_535), help="port of /metrics, /livez, /readyz and /status (default 8080)"
    )
    add_settings(run)


def _run(options: argparse.Namespace) -> ExitCode:
    import structlog

    from bridge.telemetry import log
    from bridge.worker.service import known_secrets, serve

    places = places_of(options)
    configuration = places.read()
    settings = configuration.settings
    secrets = known_secrets(settings)
    log.configure(settings.log.level, settings.log.format, secrets)
    for warning in configuration.warnings:
        structlog.get_logger().warning("config.warned", detail=warning)
    asyncio.run(serve(configuration, places, secrets, until_ended=options.until_ended))
    return ExitCode.DONE
