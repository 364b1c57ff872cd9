"""The command line. Exit codes: 0 done, 1 failed, 2 bad configuration, 3 the check found a fault."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import NoReturn

from bridge.cli_demo import add_demo_commands
from bridge.cli_options import ExitCode, Parser, add_settings, command, settings_of
from bridge.cli_streams import add_stream_commands
from bridge.errors import BridgeError, ConfigurationError

__all__ = ["main"]

_OVERVIEW = """\
Reads the SSE streams of Archetype AI lens sessions and appends every event to Redis Streams, once and in order.

first steps:
  lens-bridge demo                          see it survive kills and dropped connections; needs nothing
  export ATAI_API_KEY=...                   your key
  export BRIDGE_SESSIONS=camera-1=lsn-...   what to read: name=session id, ...
  export BRIDGE_REDIS__URL=redis://...      where to
  lens-bridge run                           the worker
  lens-bridge tail                          watch events land
  lens-bridge verify                        prove that nothing is missing and nothing came twice

Every setting: config/bridge.yaml, or `lens-bridge config show`. Exit codes: 0 done, 1 failed, 2 bad configuration,
3 a check found a fault.
"""

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

_CONFIG = """\
examples:
  lens-bridge config show                  what is in force, from flags, environment, files and defaults
  lens-bridge config defaults > bridge.yaml
                                           a file to begin with: every setting, its default and the reason for it
  lens-bridge config schema                for editors and for checks of a file before it is deployed
"""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run one command and exit."""
    options = _parser().parse_args(arguments)
    try:
        code = options.command(options)
        sys.stdout.flush()  # what cannot be written should be known here
    except ConfigurationError as error:
        code = _complain(error, ExitCode.BAD_CONFIGURATION)
    except BridgeError as error:
        code = _complain(error, ExitCode.FAILED)
    except KeyboardInterrupt:
        code = ExitCode.INTERRUPTED
    except BrokenPipeError:  # `lens-bridge tail | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python complains when it exits
        code = ExitCode.DONE
    sys.exit(code)


def _complain(error: BridgeError, code: ExitCode) -> ExitCode:
    for line in str(error).splitlines():
        print(f"lens-bridge: {line}", file=sys.stderr)
    return code


# Each command imports what it needs when it runs: a worker should not carry the simulator in its memory.


def _run(options: argparse.Namespace) -> ExitCode:
    from bridge import log
    from bridge.service import known_secrets, serve

    settings = settings_of(options)
    secrets = known_secrets(settings)
    log.configure(settings.log.level, settings.log.format, secrets)
    if not settings.sessions:
        print("lens-bridge: no sessions are configured (BRIDGE_SESSIONS); standing by", file=sys.stderr)
    asyncio.run(serve(settings, secrets, until_ended=options.until_ended))
    return ExitCode.DONE


def _config_show(options: argparse.Namespace) -> ExitCode:
    from bridge.configuration import masked

    print(json.dumps(masked(settings_of(options)), indent=2, default=str))
    return ExitCode.DONE


def _config_schema(options: argparse.Namespace) -> ExitCode:
    from bridge.configuration import schema

    print(json.dumps(schema(), indent=2))
    return ExitCode.DONE


def _config_defaults(options: argparse.Namespace) -> ExitCode:
    from bridge.configuration import render_yaml

    print(render_yaml(), end="")
    return ExitCode.DONE


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="lens-bridge", description=_OVERVIEW, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--version", action="version", version=f"lens-bridge {version('lens-bridge')}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    run = command(commands, "run", _run, "the worker: reads sessions into Redis until it is stopped", _RUN)
    run.add_argument("--until-ended", action="store_true", help="exit with 0 once all sessions have ended")
    run.add_argument("--port", type=int, help="port of /metrics, /livez, /readyz and /status (default 8080)")
    add_settings(run)

    add_demo_commands(commands)
    add_stream_commands(commands)

    config = command(commands, "config", _config_show, "see the configuration", _CONFIG)
    views = config.add_subparsers(title="views", required=True, metavar="VIEW")
    add_settings(command(views, "show", _config_show, "the merged configuration, secrets masked"))
    command(views, "schema", _config_schema, "the JSON schema of the configuration file")
    command(views, "defaults", _config_defaults, "a configuration file with every setting, its default and reason")
    return parser
