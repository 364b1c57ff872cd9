"""`lens-bridge run`: the worker."""

from __future__ import annotations

import argparse
import asyncio
from typing import Any

from bridge.cli.options import ExitCode, add_settings, command, configuration_of, number

__all__ = ["add_run_command"]

_RUN = """\
It reads every configured session into its Redis stream and commits its place in the same step. Run as many as you
like: they share the sessions, and take over from each other. What it does is logged on standard error.
Ctrl-C or SIGTERM stops it in good order; a second one stops it at once. Either way nothing is lost.

examples:
  ATAI_API_KEY=... lens-bridge run --sessions camera-1=lsn-250313 --redis-url redis://localhost:6379
  lens-bridge run --config bridge.yaml
  lens-bridge run --until-ended            for a batch: ends with 0 once all sessions have ended

/livez, /readyz, /metrics and /status are served on --port; / is the same for eyes.
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

    configuration = configuration_of(options)
    settings = configuration.settings
    secrets = known_secrets(settings)
    log.configure(settings.log.level, settings.log.format, secrets)
    for warning in configuration.warnings:
        structlog.get_logger().warning("config.warned", detail=warning)
    asyncio.run(serve(settings, secrets, until_ended=options.until_ended))
    return ExitCode.DONE
