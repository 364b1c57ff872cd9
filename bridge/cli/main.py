"""The command line. Exit codes: 0 done, 1 failed, 2 bad configuration, 3 the check found a fault."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import NoReturn

from bridge.cli.config import add_config_commands
from bridge.cli.demo import add_demo_command
from bridge.cli.doctor import add_doctor_command
from bridge.cli.letters import add_letter_commands
from bridge.cli.options import ExitCode, Parser
from bridge.cli.run import add_run_command
from bridge.cli.serve import add_serve_command
from bridge.cli.sessions.parsers import add_drain_command, add_sessions_commands
from bridge.cli.simulate import add_simulate_command
from bridge.cli.tail import add_tail_command
from bridge.cli.verify import add_verify_command
from bridge.errors import BridgeError, ConfigurationError

__all__ = ["main"]

_OVERVIEW = """\
Reads the SSE streams of Archetype AI lens sessions and appends every event to Redis Streams, once and in order.

first steps:
  lens-bridge demo                          see it survive kills and dropped connections; needs no account
  export ATAI_API_KEY=...                   your key
  export BRIDGE_SESSIONS=camera-1=lsn-...   what to read: name=session id, ...
  export BRIDGE_REDIS__URL=redis://...      where to
  lens-bridge doctor                        is all there that a worker needs, and what to mend
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


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="lens-bridge", description=_OVERVIEW, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--version", action="version", version=f"lens-bridge {version('lens-bridge')}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    # Each command imports what it needs when it runs: a worker should not carry the simulator in its memory.
    add_run_command(commands)
    add_doctor_command(commands)
    add_demo_command(commands)
    add_simulate_command(commands)
    add_verify_command(commands)
    add_tail_command(commands)
    add_serve_command(commands)
    add_sessions_commands(commands)
    add_drain_command(commands)
    add_letter_commands(commands)
    add_config_commands(commands)
    return parser
