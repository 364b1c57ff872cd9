"""Draws what `lens-bridge doctor` says of a first installation with a few mistakes: real ones, on this machine.

`python -m tests.support.doctor_picture FILE.svg`, as `make picture` does. The lens writes to the other channel, one
session id is mistyped, Redis evicts and keeps nothing on disk.
"""

from __future__ import annotations

import asyncio
import os
import pty
import re
import sys
from pathlib import Path

from rich.text import Text

from bridge.lab.demo.screen import picture
from bridge.lab.redis_server import RedisServer
from bridge.lab.simulator import Profile, Simulator
from bridge.masking import Secrets
from bridge.telemetry import log
from tests.support.worker import KEY, ROOT, python_environment

WIDTH = 118
COMMAND = "$ lens-bridge doctor --sessions camera-1=lsn-250313,camera-2=lsn-250314"
SAVED = re.compile(r"(?<=127\.0\.0\.1:)\d+")  # ports of this run, which nobody need see change


async def drawn() -> str:
    """Run it on a terminal, and keep what it shows."""
    log.configure("warning", "auto", Secrets())
    memory = ["--maxmemory", "64mb", "--maxmemory-policy", "allkeys-lru"]
    async with RedisServer(arguments=memory) as server, Simulator() as simulator:
        session = simulator.create_session("lsn-250313")
        session.change(mailbox_only=True, heartbeat_interval_seconds=1)
        session.play(Profile.ACTIVITY, rate=2)
        simulator.create_session("lsn-250341")
        settings = {"SOURCE__API_KEY": KEY, "SOURCE__BASE_URL": simulator.base_url, "REDIS__URL": server.url}
        shown = await _on_a_terminal(COMMAND.split()[2:], {f"BRIDGE_{name}": text for name, text in settings.items()})
    ports = {str(server.port): "6379"}
    shown = SAVED.sub(lambda found: ports.get(found[0], "8089"), shown)
    return picture(Text(COMMAND, "bold"), Text.from_ansi(shown), width=WIDTH, title="lens-bridge doctor")


async def _on_a_terminal(arguments: list[str], settings: dict[str, str]) -> str:
    ours, theirs = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bridge", *arguments),
        env=python_environment() | settings | {"COLUMNS": str(WIDTH), "TERM": "xterm"},
        cwd=ROOT,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=theirs,
    )
    os.close(theirs)
    shown = await asyncio.to_thread(_all_of, ours)
    code = await process.wait()
    assert code == 3, f"the doctor ended with {code}:\n{shown}"
    return shown.replace("\r\n", "\n")


def _all_of(descriptor: int) -> str:
    parts = []
    try:
        while part := os.read(descriptor, 65_536):
            parts.append(part)
    except OSError:  # the other end of a terminal was closed
        pass
    finally:
        os.close(descriptor)
    return b"".join(parts).decode()


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(asyncio.run(drawn()))
