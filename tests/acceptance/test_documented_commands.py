"""What README, runbook and the other documents tell people to type does what they say, typed at a bridge that runs.

A command that is new in a document has to stand here: with its exit code in `STEPS`, or with the reason in `NOT_RUN`.
Placeholders are replaced by rule (`Stage.typed`); `kubectl exec … --` and `docker compose exec …` are left out, as the
command runs where the worker does, and what is typed at `redis-cli` is sent to Redis as it stands.
"""

from __future__ import annotations

import asyncio
import re
import shlex
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial

from bridge.lab.simulator import Poison, Poisoning, Profile, SimulatedSession
from tests.support.documented import commands_in, documents, inside
from tests.support.managed_redis import UNLOVED, managed_redis
from tests.support.steering import Told, steer
from tests.support.worker import DEADLINE_SECONDS, KEY, ROOT, Worker, python_environment, until
from tests.support.worker_rig import Rig

NOT_RUN = {
    "lens-bridge demo": "takes half a minute; run by test_demo",
    "lens-bridge serve": "it listens for readers; run, read from and killed by the tests of serve",
    "lens-bridge dead-letters": "a family, named as such: its members are run",
    "lens-bridge sessions rewind": "a command, named without what it is to do: it is run with that",
    "kubectl create secret generic lens-bridge --from-file=api-key=./api-key": "no Kubernetes here",
    "kubectl create secret generic lens-bridge --from-file=api-key=./api-key --dry-run=client -o yaml"
    " | kubectl apply -f -": "no Kubernetes here; a rotated key is taken up in test_reload",
    "kubectl logs lens-bridge-test -c doctor": "no Kubernetes here",
    "helm install lens-bridge ./helm --set image.repository=registry.example/lens-bridge"
    " --set apiKey.existingSecret=lens-bridge --set 'sessions={camera-1=lsn-250313c2177253cbaa7a73542edd90}'"
    " --set redis.url=redis://redis:6379/0": "no cluster here; tests/deploy renders the chart with Helm's own engine",
    "helm test lens-bridge": "no cluster here; tests/deploy looks at what it would run",
    "docker build --tag lens-bridge ../../..": "no Docker here; tests/deploy/test_image builds the image by its rules",
    "docker compose up --detach --build": "no Docker here; tests/deploy/test_docker checks the file",
    "docker compose ps": "no Docker here",
    "docker compose logs --follow worker": "no Docker here",
    "systemctl daemon-reload": "no systemd runs here; tests/deploy/test_systemd verifies and starts the unit's command",
    "systemctl enable --now lens-bridge": "no systemd runs here",
    "journalctl --unit lens-bridge --follow": "no systemd runs here",
}
NOT_RUN_FROM_ITS_BEGINNING = {
    "docker run --detach --name lens-bridge ": "no Docker here; tests/deploy/test_docker checks each flag of it"
}


EVENTS, LETTERS = "lens:{camera-1}:events", "lens:{camera-1}:dead-letter"


@dataclass
class Stage:
    """A bridge that runs: Redis, the lens API, two workers that read camera-1, and what placeholders stand for."""

    rig: Rig
    camera: SimulatedSession
    other: SimulatedSession
    settings: dict[str, str]
    workers: list[Worker]
    placeholders: dict[str, str] = field(default_factory=dict)

    def typed(self, text: str) -> str:
        """The command as a person would type it here."""
        for placeholder, meant in self.placeholders.items():
            text = re.sub(rf"(?<!\w){re.escape(placeholder)}(?!\w)", meant, text)
        return text

    async def type(self, text: str) -> Told:
        """Run it to its end."""
        program, *arguments = shlex.split(self.typed(text))
        if program == "redis-cli":
            answer = await self.rig.client.execute_command(*arguments)  # type: ignore[no-untyped-call]
            return Told(code=0, output=repr(answer), errors="")
        assert program == "lens-bridge", text
        return await steer(self.rig, *arguments, code=None, **self.settings)


Act = Callable[[Stage], Awaitable[object]]


@dataclass(frozen=True)
class Step:
    """``text`` as it is documented, or, where it is ``beside``, as the documents imply; ``before``: what leads to it.

    ``shows``: what its output has to hold.
    """

    text: str
    code: int = 0
    shows: str = ""
    beside: bool = False
    before: Act | None = None


async def run_worker(stage: Stage) -> None:
    """`lens-bridge run`, on two machines."""
    for worker in stage.workers:
        await (await worker.start()).wait_ready()
    await _there(stage, EVENTS, 5)


async def other_is_read(stage: Stage) -> None:
    """The session that was added at run time."""
    await until(lambda: bool(stage.other.readers), "what was added is read")
    stage.other.generate(5)
    key = EVENTS.replace("camera-1", "camera-9")
    await _there(stage, key, 5)
    stage.placeholders["--to ID"] = f"--to {(await stage.rig.raw_entries(key))[-1][1][b'id'].decode()}"


async def _there(stage: Stage, key: str, entries: int) -> None:
    async def there() -> bool:
        return len(await stage.rig.raw_entries(key)) >= entries

    await until(there, f"{entries} entries in {key}")


async def letters_are_there(stage: Stage) -> None:
    """One that is no event, and one that Redis has refused."""
    Poisoning(kind=Poison.INVALID_JSON).apply(stage.camera)
    stage.camera.emit({"type": "t", "is": UNLOVED.decode()})
    await _there(stage, LETTERS, 2)
    stage.placeholders["LETTER"] = (await stage.rig.raw_entries(LETTERS))[0][0].decode()


async def a_group_reads(stage: Stage) -> None:
    """And leaves something pending."""
    await stage.rig.client.xgroup_create(EVENTS, "my-service", id="0")
    await stage.rig.client.xreadgroup("my-service", "my-service-1", {EVENTS: ">"}, count=3)
    stage.placeholders |= {"GROUP": "my-service", "CONSUMER": "my-service-2"}


async def the_file_is_bad(stage: Stage) -> None:
    """As LensBridgeConfigReloadFailed finds it."""
    file = stage.rig.directory / "bad.yaml"
    file.write_text("sessions: [camera-1=lsn-a]\nlog: {level: loud}\nlease: {ttl: 5}\n")
    stage.settings["config"] = str(file)


async def the_file_is_good(stage: Stage) -> None:
    """Again."""
    del stage.settings["config"]


async def quiet(stage: Stage) -> None:
    """For the judge."""
    for session in (stage.camera, stage.other):
        session.pause()


UNDONE = Step("lens-bridge drain WORKER --undo", beside=True)
STEPS = (
    Step("lens-bridge config defaults", shows="ttl_seconds: 15"),
    Step("lens-bridge config show", shows='"sessions"'),
    Step("lens-bridge doctor", shows="the first frame came"),
    Step("lens-bridge run", before=run_worker),
    Step("lens-bridge doctor", shows="is read by the worker"),
    Step("lens-bridge doctor --no-api", shows="redis.permissions"),
    Step("lens-bridge doctor --no-redis", shows="api.key"),
    Step("lens-bridge doctor --session NAME --wait 60", shows="camera-1: lens events flow"),
    Step("lens-bridge sessions list", shows="camera-1"),
    Step("lens-bridge tail", code=130, shows="camera-1"),
    Step("lens-bridge simulate", shows="lens API"),
    Step("lens-bridge sessions add camera-9=lsn-250313..."),
    Step("lens-bridge sessions add camera-9=lsn-…", before=other_is_read),
    Step("lens-bridge sessions pause camera-9"),
    Step("lens-bridge sessions resume camera-9", beside=True),
    Step("lens-bridge sessions rewind camera-9 --to-start"),
    Step("lens-bridge sessions rewind camera-9 --to ID", beside=True),
    Step("lens-bridge sessions rewind camera-9 --to-live", beside=True),
    Step("lens-bridge sessions move camera-9 --to WORKER", shows="worker-2"),
    Step("lens-bridge drain WORKER", shows="has given"),
    UNDONE,
    Step("lens-bridge drain POD", shows="worker-2"),
    UNDONE,
    Step("lens-bridge dead-letters list", shows="rejected", before=letters_are_there),
    Step("lens-bridge dead-letters show LETTER", shows="invalid_json"),
    Step("lens-bridge dead-letters replay --reason rejected", shows="1 published, 0 not"),
    Step("lens-bridge dead-letters purge --older-than 30d --yes", shows="0 removed"),
    Step("redis-cli XRANGE 'lens:{NAME}:events' - + COUNT 1", shows="b'seq': b'1'", before=a_group_reads),
    Step("redis-cli XINFO GROUPS 'lens:{NAME}:events'", shows="my-service"),
    Step("redis-cli XPENDING 'lens:{NAME}:events' GROUP", shows="my-service-1"),
    Step("redis-cli XINFO CONSUMERS 'lens:{NAME}:events' GROUP", shows="my-service-1"),
    Step("redis-cli XAUTOCLAIM 'lens:{NAME}:events' GROUP CONSUMER 600000 0"),
    Step("redis-cli XGROUP DESTROY 'lens:{NAME}:events' GROUP", shows="1"),
    Step("lens-bridge config show", code=2, before=the_file_is_bad),
    Step("lens-bridge sessions remove camera-9", beside=True, before=the_file_is_good),
    Step("lens-bridge verify", before=quiet),
)


def test_every_command_in_the_documents_is_run_here_or_named_with_the_reason_why_not() -> None:
    """And nothing is kept here that no document says any more."""
    found = {inside(one.text): one.where for path in documents(ROOT) for one in commands_in(path)}
    assert len(found) > 40
    run = {step.text for step in STEPS if not step.beside}

    def beginning(text: str) -> str | None:
        return next((start for start in NOT_RUN_FROM_ITS_BEGINNING if text.startswith(start)), None)

    unknown = {text: where for text, where in found.items() if not (text in run | NOT_RUN.keys() or beginning(text))}
    assert unknown == {}, "a command that is neither in STEPS nor in NOT_RUN"
    assert (run | NOT_RUN.keys()) - found.keys() == set(), "no document says this any more"
    assert {beginning(text) for text in found} - {None} == set(NOT_RUN_FROM_ITS_BEGINNING)


async def test_the_documents_commands_do_what_the_documents_say(rig: Rig) -> None:
    """From the first look at a new installation to the last verdict."""
    camera, other = (rig.simulator.create_session(name) for name in ("lsn-camera", "lsn-250313"))
    camera.play(Profile.SIZED, rate=5)
    async with managed_redis(rig.server.port) as service:
        listed = f"camera-1={camera.session_id}"
        workers = [rig.worker(listed, redis__url=service.url) for _ in range(2)]
        stage = Stage(rig, camera, other, {"sessions": listed}, workers)
        stage.placeholders = {
            "lsn-250313...": other.session_id,
            "lsn-…": other.session_id,
            "WORKER": "worker-2",
            "POD": "worker-2",
            "NAME": "camera-1",
        }
        for step in STEPS:
            if step.before:
                await step.before(stage)
            told = await _SPECIAL.get(step.text, partial(_type, step.text))(stage)
            print(f"$ {stage.typed(step.text)}\n{told.output}{told.errors}")
            assert told.code == step.code, (step.text, told)
            assert step.shows in told.output, (step.text, told)
            assert told.code != 2 or told.errors.startswith("lens-bridge: "), told
        for worker in workers:
            worker.terminate()
            assert await worker.exit_code() == 0


async def _type(text: str, stage: Stage) -> Told:
    return await stage.type(text)


async def _runs_already(stage: Stage) -> Told:
    return Told(code=0, output="", errors="")


async def _until_it_shows(arguments: tuple[str, ...], end: signal.Signals, stage: Stage) -> Told:
    """Of a command that goes on: its first line, and how it ends."""
    settings = {"REDIS__URL": stage.rig.server.url, "SESSIONS": stage.settings["sessions"], "SOURCE__API_KEY": KEY}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bridge", *arguments),
        env=python_environment() | {f"BRIDGE_{name}": value for name, value in settings.items()},
        cwd=ROOT,
        stdin=DEVNULL,
        stdout=PIPE,
        stderr=PIPE,
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(DEADLINE_SECONDS):
            first = await process.stdout.readline()
            process.send_signal(end)
            rest, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert b"Traceback" not in errors, errors
    return Told(code=process.returncode, output=(first + rest).decode(), errors=errors.decode())


_SPECIAL: dict[str, Callable[[Stage], Awaitable[Told]]] = {
    "lens-bridge run": _runs_already,
    "lens-bridge tail": partial(_until_it_shows, ("tail",), signal.SIGINT),
    # Another one may listen on its own port here.
    "lens-bridge simulate": partial(_until_it_shows, ("simulate", "--port", "0"), signal.SIGTERM),
}
