"""`lens-bridge demo` and `lens-bridge simulate`: the commands that need no account."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bridge.cli_options import ExitCode, command, number
from bridge.errors import ConfigurationError

if TYPE_CHECKING:
    from bridge.simulator import ServeOptions, Simulator

__all__ = ["add_demo_commands"]

_DEMO = """\
It starts a Redis, a simulated lens API that drops connections at random, and two workers. While events flow it kills
one worker, pauses one for longer than its lease, and kills one again; the other worker takes over each time. Then it
compares every entry in Redis with what the API has sent. Nothing leaves this machine, nothing is left behind.
It needs a redis-server on the PATH, or: pip install 'lens-bridge[demo]'

examples:
  lens-bridge demo                         about half a minute; the last line is the verdict
  lens-bridge demo --keep                  stays up afterwards, with addresses and commands to try
  lens-bridge demo --seconds 10 --json     a report for a program; progress goes to standard error

exit codes: 0 exactly once, 1 could not run, 3 not exactly once (the offending entries are listed)
"""

_SIMULATE = """\
It serves the consumer endpoint and the session endpoints of the lens API on this machine, keeps a record of all it
has sent, and misbehaves when told to through its control API. It prints its addresses and runs until Ctrl-C.

examples:
  lens-bridge simulate                                     one session that says something each second
  lens-bridge simulate --port 8089 --control-port 8090 --sessions lsn-a,lsn-b --profile machine_state --rate 50
  lens-bridge simulate --switch cursor=tail --switch heartbeat_interval_seconds=30
  lens-bridge simulate --list-switches                     every way in which it can differ
  curl -X POST localhost:8090/control/faults -d '{"fault": "drop"}'
                                                           cut all connections now
"""

# As `bridge.simulator.Profile` has them; not imported, since a worker should not carry the simulator in its memory.
PROFILES = ("activity", "machine_state", "embeddings", "sized")


def add_demo_commands(commands: Any) -> None:
    """Add both."""
    demo = command(commands, "demo", _demo, "see it survive kills and dropped connections; needs nothing", _DEMO)
    duration, port, rate = number(float, 5, 3600), number(int, 0, 65_535), number(float, 0, 1_000_000)
    demo.add_argument("--seconds", type=duration, default=30.0, help="about how long events flow (default 30)")
    demo.add_argument("--seed", type=int, help="repeat a run's dropped connections and choice of victims")
    demo.add_argument("--keep", action="store_true", help="leave it running after the verdict, until Ctrl-C")
    demo.add_argument("--json", action="store_true", help="the report as JSON on standard output")
    demo.add_argument("--record", type=Path, metavar="FILE.svg", help="draw the last screen into a file")

    simulate = command(commands, "simulate", _simulate, "the simulated lens API alone", _SIMULATE)
    simulate.add_argument("--host", default="127.0.0.1", help="address to listen on (default 127.0.0.1)")
    simulate.add_argument("--port", type=port, default=8089, help="of the lens API (default 8089; 0 takes a free one)")
    simulate.add_argument("--control-port", type=port, help="of the control API (default: the same port)")
    simulate.add_argument("--sessions", default="lsn-simulated", metavar="ID,...", help="default lsn-simulated")
    simulate.add_argument("--profile", choices=PROFILES, default="activity", help="what they say (default activity)")
    simulate.add_argument("--rate", type=rate, default=1.0, metavar="N", help="events a second of each; 0 for silence")
    simulate.add_argument("--switch", action="append", default=[], metavar="NAME=VALUE", help="may be repeated")
    simulate.add_argument("--list-switches", action="store_true", help="show all switches with their defaults")
    simulate.add_argument("--key", default="simulated-key", help="the API key to accept (default simulated-key)")
    simulate.add_argument("--seed", type=int, default=1, help="what the sessions say follows from it (default 1)")


def _demo(options: argparse.Namespace) -> ExitCode:
    from bridge.demo import DemoOptions, run_demo

    exact = run_demo(
        DemoOptions(
            seconds=options.seconds,
            seed=options.seed,
            keep=options.keep,
            as_json=options.json,
            picture=options.record,
        )
    )
    return ExitCode.DONE if exact else ExitCode.FAULT_FOUND


def _simulate(options: argparse.Namespace) -> ExitCode:
    from bridge import log
    from bridge.secrets import Secrets
    from bridge.simulator import Switches

    if options.list_switches:
        for name, value in asdict(Switches()).items():
            print(f"{name}={_as_typed(value)}")
        return ExitCode.DONE
    log.configure("warning", "auto", Secrets())
    asyncio.run(_serve(_serve_options(options)))
    return ExitCode.DONE


def _serve_options(options: argparse.Namespace) -> ServeOptions:
    from bridge.simulator import Profile, ServeOptions, SessionOptions, Switches, changed_switches

    changes = {}
    for text in options.switch:
        name, equals, value = text.partition("=")
        if not equals:
            raise ConfigurationError(f"--switch {text}: write it as name=value; all of them: --list-switches")
        changes[name] = None if value == "none" else value
    profile = Profile(options.profile) if options.rate else None
    sessions = [one.strip() for one in options.sessions.split(",") if one.strip()]
    return ServeOptions(
        host=options.host,
        port=options.port,
        control_port=options.control_port,
        api_key=options.key,
        seed=options.seed,
        switches=changed_switches(Switches(), changes, from_text=True),
        sessions=tuple(SessionOptions(session_id=one, profile=profile, rate=options.rate or 1.0) for one in sessions),
    )


async def _serve(options: ServeOptions) -> None:
    from bridge.simulator import serve

    stop = asyncio.Event()
    # Ctrl-C unwinds through asyncio; what a container runtime sends is a wish to end, not an interruption.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    try:
        await serve(options, stop, lambda simulator: _introduce(simulator, options))
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
        ports = " or ".join(str(port) for port in (options.port, options.control_port) if port)
        raise ConfigurationError(
            f"cannot listen on {options.host}, port {ports}: {reason}; "
            "name others with --port and --control-port, or 0 for a free one"
        ) from error


def _introduce(simulator: Simulator, options: ServeOptions) -> None:
    first = options.sessions[0].session_id if options.sessions else "SESSION_ID"
    consumer = f"{simulator.base_url}/lens/sessions/consumer/{first}"
    sessions = ",".join(one.session_id for one in options.sessions)
    print(f"lens API     {simulator.base_url}")
    print(f"control API  {simulator.control_url}")
    print(f"sessions     {sessions}")
    print(f"\nread one:    curl -N -H 'Authorization: Bearer {options.api_key}' {consumer}")
    print(f'cut it:      curl -X POST {simulator.control_url}/faults -d \'{{"fault": "drop"}}\'')
    run = f"lens-bridge run --base-url {simulator.base_url} --sessions {sessions}"
    print(f"bridge it:   ATAI_API_KEY={options.api_key} {run}")
    sys.stdout.flush()


def _as_typed(value: object) -> str:
    """A switch's value as it is written on the command line."""
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
