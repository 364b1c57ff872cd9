"""What every command has in common, walked through mechanically: an example, its exit codes, JSON that can be read."""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Iterator

import pytest

from bridge.cli.main import _parser
from bridge.lab.simulator import Poison, Poisoning
from tests.support.steering import steer
from tests.support.worker import DEADLINE_SECONDS, KEY, ROOT, python_environment, until
from tests.support.worker_rig import Rig

WITHOUT_JSON = {
    "run": "it prints nothing: what it does is logged, as JSON where standard error is no terminal",
    "serve": "as run does",
    "config schema": "it is JSON",
    "config contract": "it is JSON",
    "config asyncapi": "it is a document in YAML",
    "config defaults": "it is a file in YAML",
}
ELSEWHERE = {"demo": "takes long; its JSON is read by test_demo"}
LONG = {"tail": ["--from-start"], "simulate": ["--port", "0"]}
"""Those that go on until they are stopped: JSON a line."""

SHORT = {
    "doctor": [],
    "verify": [],
    "config show": ["--origins"],
    "sessions list": [],
    "sessions add": ["yard=lsn-yard"],
    "sessions pause": ["yard"],
    "sessions resume": ["yard"],
    "sessions rewind": ["yard", "--to-live"],
    "sessions move": ["cam", "--to", "worker-2"],
    "sessions remove": ["yard"],
    "drain": ["worker-1"],
    "dead-letters list": [],
    "dead-letters show": ["LETTER"],
    "dead-letters replay": ["--reason", "rejected"],
    "dead-letters purge": ["--all", "--yes"],
}
"""In an order that makes sense, with what each is given."""


Words = tuple[str, ...]


def commands() -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Each command that does something, by what one types."""

    def within(
        parser: argparse.ArgumentParser, words: tuple[str, ...]
    ) -> Iterator[tuple[str, argparse.ArgumentParser]]:
        families = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
        if not families:
            yield " ".join(words), parser
        for family in families:
            for name, one in family.choices.items():
                yield from within(one, (*words, name))

    return within(_parser(), ())


ALL = dict(commands())


@pytest.mark.parametrize("name", ALL)
def test_the_help_of_every_command_has_an_example_and_its_exit_codes(name: str) -> None:
    """An example is a line that begins with the command, or sets a variable before it."""
    text = ALL[name].format_help()
    _, examples, rest = text.partition("examples:\n")
    assert examples, f"{name} has no examples"
    assert re.search(rf"^  (?:\S+=\S+ )?lens-bridge {name}\b", rest, re.MULTILINE), f"no example of {name}"
    assert re.search(r"^exit codes: 0\b", rest, re.MULTILINE), f"{name} does not tell its exit codes"


def test_every_command_that_prints_data_prints_it_as_json_too() -> None:
    """Those that do not are named here with the reason; and each of the others is run below."""
    with_json = {name for name, parser in ALL.items() if "--json" in parser._option_string_actions}
    assert ALL.keys() - with_json == WITHOUT_JSON.keys()
    assert with_json == SHORT.keys() | LONG.keys() | ELSEWHERE.keys()


async def test_what_every_command_prints_as_json_can_be_read(rig: Rig) -> None:
    """At a bridge that runs, exit code 0; and nothing but JSON is on standard output."""
    cam, _ = (rig.simulator.create_session(f"lsn-{name}") for name in ("cam", "yard"))
    listed = "cam=lsn-cam"
    for worker in [rig.worker(listed) for _ in range(2)]:
        await (await worker.start()).wait_ready()
    cam.generate(5)
    Poisoning(kind=Poison.INVALID_JSON).apply(cam)

    async def set_aside() -> bool:
        return bool(await rig.raw_entries("lens:{cam}:dead-letter"))

    await until(set_aside, "a dead letter is there")
    letter = (await rig.raw_entries("lens:{cam}:dead-letter"))[0][0].decode()
    for name, arguments in SHORT.items():
        given = [letter if one == "LETTER" else one for one in arguments]
        told = await steer(rig, *name.split(), *given, "--json", sessions=listed)
        assert isinstance(told.value, dict), name
    for name, arguments in LONG.items():
        line = await _first_line(rig, [*name.split(), *arguments, "--json"], listed)
        assert isinstance(json.loads(line), dict), name


async def _first_line(rig: Rig, arguments: list[str], listed: str) -> bytes:
    settings = {"BRIDGE_REDIS__URL": rig.server.url, "BRIDGE_SESSIONS": listed, "ATAI_API_KEY": KEY}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bridge", *arguments),
        env=python_environment() | settings,
        cwd=ROOT,
        stdin=DEVNULL,
        stdout=PIPE,
        stderr=PIPE,
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(DEADLINE_SECONDS):
            line = await process.stdout.readline()
            process.send_signal(signal.SIGINT)
            await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return line
