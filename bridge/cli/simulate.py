"""`lens-bridge simulate`: the simulated lens API as a process of its own."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
from typing import TYPE_CHECKING, Any

from bridge.cli.options import ExitCode, command, number
from bridge.errors import ConfigurationError

if TYPE_CHECKING:
    from bridge.lab.simulator import Simulator, Switches

__all__ = ["PROFILES", "add_simulate_command"]

_SIMULATE = """\
It serves the consumer endpoint and the session endpoints of the lens API on this machine, keeps a record of all it
has sent, and misbehaves when told to through its control API. It prints its addresses and runs until Ctrl-C.

examples:
  lens-bridge simulate                                     one session that says something each second
  lens-bridge simulate --port 8089 --control-port 8090 --sessions lsn-a,lsn-b --profile machine_state --rate 50
  lens-bridge simulate --switch cursor=tail --switch heartbeat_interval_seconds=30
  lens-bridge simulate --list-switches                     every way in which it can differ or go wrong
  curl -X POST localhost:8090/control/faults -d '{"fault": "drop"}'
                                                           cut all connections now
  curl localhost:8089/                                     the same explanations, of one that runs
  lens-bridge simulate --port 0 --json                     its addresses as a line of JSON, for a script

exit codes: 0 stopped by SIGTERM, 2 a wrong switch, or its port is taken, 130 Ctrl-C
"""

# As `bridge.lab.simulator.Profile` has them; not imported, since a worker should not carry the simulator in its memory.
PROFILES = ("activity", "machine_state", "embeddings", "sized")


def add_simulate_command(commands: Any) -> None:
    """Add it."""
    port, rate = number(int, 0, 65_535), number(float, 0, 1_000_000)
    simulate = command(commands, "simulate", _simulate, "the simulated lens API alone", _SIMULATE)
    simulate.add_argument("--host", default="127.0.0.1", help="address to listen on (default 127.0.0.1)")
    simulate.add_argument("--port", type=port, default=8089, help="of the lens API (default 8089; 0 takes a free one)")
    simulate.add_argument("--control-port", type=port, help="of the control API (default: the same port)")
    simulate.add_argument("--sessions", default="lsn-simulated", metavar="ID,...", help="default lsn-simulated")
    simulate.add_argument("--profile", choices=PROFILES, default="activity", help="what they say (default activity)")
    simulate.add_argument("--rate", type=rate, default=1.0, metavar="N", help="events a second of each; 0 for silence")
    simulate.add_argument("--switch", action="append", default=[], metavar="NAME=VALUE", help="may be repeated")
    simulate.add_argument("--list-switches", action="store_true", help="explain every switch and every fault")
    simulate.add_argument("--json", action="store_true", help="what it prints as JSON: its addresses in one line")
    simulate.add_argument("--key", default="simulated-key", help="the API key to accept (default simulated-key)")
    simulate.add_argument("--seed", type=int, default=1, help="what the sessions say follows from it (default 1)")


def _simulate(options: argparse.Namespace) -> ExitCode:
    from bridge.lab.simulator import manual_json, manual_text
    from bridge.masking import Secrets
    from bridge.telemetry import log

    if options.list_switches:
        text = manual_text("http://localhost:8089/control")
        print(json.dumps(manual_json(), indent=2) if options.json else text.rstrip("\n"))
        return ExitCode.DONE
    log.configure("warning", "auto", Secrets())
    asyncio.run(_serve(options))
    return ExitCode.DONE


async def _serve(options: argparse.Namespace) -> None:
    from bridge.lab.simulator import Profile, Simulator

    simulator = Simulator(
        _switches(options.switch),
        api_key=options.key,
        host=options.host,
        port=options.port,
        control_port=options.control_port,
        seed=options.seed,
    )
    stop = asyncio.Event()
    # Ctrl-C unwinds through asyncio; what a container runtime sends is a wish to end, not an interruption.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    try:
        async with simulator:
            for session_id in filter(None, map(str.strip, options.sessions.split(","))):
                session = simulator.create_session(session_id)
                if options.rate:
                    session.play(Profile(options.profile), rate=options.rate)
            _introduce(simulator, as_json=options.json)
            await stop.wait()
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
        ports = " or ".join(str(port) for port in (options.port, options.control_port) if port)
        raise ConfigurationError(
            f"cannot listen on {options.host}, port {ports}: {reason}; "
            "name others with --port and --control-port, or 0 for a free one"
        ) from error


def _switches(texts: list[str]) -> Switches:
    from bridge.lab.simulator import Switches, changed_switches

    changes = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise ConfigurationError(f"--switch {text}: write it as name=value; all of them: --list-switches")
        changes[name] = value
    return changed_switches(Switches(), changes, from_text=True)


def _introduce(simulator: Simulator, *, as_json: bool) -> None:
    sessions, (key, *_) = ",".join(simulator.sessions), simulator.api_keys
    if as_json:
        told = {"base_url": simulator.base_url, "control_url": simulator.control_url}
        print(json.dumps(told | {"sessions": list(simulator.sessions), "key": key}), flush=True)
        return
    consumer = f"{simulator.base_url}/lens/sessions/consumer/{next(iter(simulator.sessions), 'SESSION_ID')}"
    print(f"lens API     {simulator.base_url}")
    print(f"control API  {simulator.control_url}")
    print(f"sessions     {sessions}")
    print(f"\nread one:    curl -N -H 'Authorization: Bearer {key}' {consumer}")
    print(f'cut it:      curl -X POST {simulator.control_url}/faults -d \'{{"fault": "drop"}}\'')
    print(f"what else:   curl {simulator.control_url.removesuffix('/control')}/")
    print(f"bridge it:   ATAI_API_KEY={key} lens-bridge run --base-url {simulator.base_url} --sessions {sessions}")
    sys.stdout.flush()
