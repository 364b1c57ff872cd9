"""The command line. Exit codes: 0 done, 1 failed, 2 bad configuration, 3 the check found a fault."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NoReturn

from bridge.errors import BridgeError, ConfigurationError

__all__ = ["main"]

DONE, FAILED, BAD_CONFIGURATION, FAULT_FOUND = 0, 1, 2, 3

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


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run one command and exit."""
    options = _parser().parse_args(arguments)
    try:
        code = options.command(options)
    except ConfigurationError as error:
        code = _complain(error, BAD_CONFIGURATION)
    except BridgeError as error:
        code = _complain(error, FAILED)
    except KeyboardInterrupt:
        code = 130
    except BrokenPipeError:  # `lens-bridge tail | head`
        sys.stderr.close()
        code = DONE
    sys.exit(code)


def _complain(error: BridgeError, code: int) -> int:
    for line in str(error).splitlines():
        print(f"lens-bridge: {line}", file=sys.stderr)
    return code


# Each command imports what it needs when it runs: a worker should not carry the simulator in its memory.


def _run(options: argparse.Namespace) -> int:
    from bridge import log
    from bridge.service import known_secrets, serve

    settings = _load(options)
    secrets = known_secrets(settings)
    log.configure(settings.log.level, settings.log.format, secrets)
    if not settings.sessions:
        print("lens-bridge: no sessions are configured (BRIDGE_SESSIONS); standing by", file=sys.stderr)
    asyncio.run(serve(settings, secrets, until_ended=options.until_ended))
    return DONE


def _load(options: argparse.Namespace, **extra: Any) -> Any:
    from bridge.configuration import load

    flags: dict[str, Any] = {
        path: getattr(options, name, None)
        for name, path in {
            "redis_url": "redis.url",
            "base_url": "source.base_url",
            "sessions": "sessions",
            "log_level": "log.level",
            "log_format": "log.format",
            "port": "admin.port",
        }.items()
    }
    return load(options.config, flags | extra)


def _config_show(options: argparse.Namespace) -> int:
    from bridge.configuration import masked

    print(json.dumps(masked(_load(options)), indent=2, default=str))
    return DONE


def _config_schema(options: argparse.Namespace) -> int:
    from bridge.configuration import schema

    print(json.dumps(schema(), indent=2))
    return DONE


def _config_defaults(options: argparse.Namespace) -> int:
    from bridge.configuration import render_yaml

    print(render_yaml(), end="")
    return DONE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lens-bridge", description=_OVERVIEW, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"lens-bridge {version('lens-bridge')}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    run = _command(commands, "run", _run, "the worker: reads sessions into Redis until it is stopped")
    _add_settings(run)
    run.add_argument("--until-ended", action="store_true", help="exit with 0 once all sessions have ended")
    run.add_argument("--port", type=int, help="port of /metrics, /livez, /readyz and /status (default 8080)")

    config = commands.add_parser("config", help="see the configuration", description="See the configuration.")
    views = config.add_subparsers(title="views", required=True, metavar="VIEW")
    _add_settings(_command(views, "show", _config_show, "the merged configuration, secrets masked"))
    _command(views, "schema", _config_schema, "the JSON schema of the configuration file")
    _command(views, "defaults", _config_defaults, "a configuration file with every setting, its default and reason")
    return parser


def _command(commands: Any, name: str, run: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
    added: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    added.set_defaults(command=run)
    return added


def _add_settings(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("settings", "Each overrides its environment variable and the file.")
    group.add_argument("--config", type=Path, metavar="FILE", help="YAML file (or BRIDGE_CONFIG)")
    group.add_argument("--redis-url", metavar="URL", help="redis.url; pass a password by environment or file instead")
    group.add_argument("--base-url", metavar="URL", help="source.base_url")
    group.add_argument("--sessions", metavar="NAME=ID,...", help="sessions to read")
    group.add_argument("--log-level", choices=("debug", "info", "warning", "error"))
    group.add_argument("--log-format", choices=("auto", "json", "console"))
