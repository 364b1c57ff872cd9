"""Containers that runc runs, whoever asked for them: a pod, a compose file, or a whole machine."""

from __future__ import annotations

import asyncio
import json
import secrets
from asyncio.subprocess import Process
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["MASKED", "READ_ONLY", "RuncContainer", "Wishes", "bound", "namespaces", "runtime_config"]

SECCOMP = Path("/usr/share/containers/seccomp.json")  # what container runtimes call their default
NAMESPACES = ("pid", "ipc", "uts", "mount", "cgroup")
MASKED = ["/proc/kcore", "/proc/keys", "/proc/timer_list"]
READ_ONLY = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]


def bound(source: Path, destination: str) -> dict[str, Any]:
    """A file or directory of this machine, to be read only."""
    return {"destination": destination, "type": "bind", "source": str(source), "options": ["rbind", "ro"]}


def namespaces() -> list[dict[str, str]]:
    """All but the network's, so that a container reaches the simulator and Redis on loopback."""
    return [{"type": one} for one in NAMESPACES]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What a manifest asks for, once its defaults and those of the image are filled in."""

    root: Path
    arguments: Sequence[str]
    environment: Sequence[str]
    """`NAME=value` each."""
    user: Mapping[str, Any]
    mounts: Mapping[str, Path]
    """By the place in the container."""
    memory_bytes: int
    read_only: bool
    no_new_privileges: bool
    all_dropped: bool
    """No capability at all."""


def runtime_config(wishes: Wishes) -> dict[str, Any]:
    """The same for runc, with the seccomp profile that runtimes use by themselves."""
    kept = [] if wishes.all_dropped else ["CAP_NET_BIND_SERVICE"]
    return {
        "ociVersion": "1.0.2",
        "hostname": "worker",
        "root": {"path": str(wishes.root), "readonly": wishes.read_only},
        "process": {
            "args": [*wishes.arguments],
            "cwd": "/",
            "env": [*wishes.environment],
            "user": {**wishes.user},
            "noNewPrivileges": wishes.no_new_privileges,
            "capabilities": dict.fromkeys(("bounding", "effective", "permitted", "inheritable", "ambient"), kept),
        },
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
            *(bound(what, where) for where, what in wishes.mounts.items()),
        ],
        "linux": {
            "namespaces": namespaces(),
            "resources": {"memory": {"limit": wishes.memory_bytes}},
            "seccomp": _seccomp(),
            "maskedPaths": MASKED,
            "readonlyPaths": READ_ONLY,
        },
    }


class RuncContainer:
    """One container. ``config``: what it asks for, as the OCI runtime specification words it; set before ``start``."""

    config: dict[str, Any]

    def __init__(self, directory: Path) -> None:
        self.name = f"lens-bridge-{secrets.token_hex(4)}"
        self.log = directory / f"{self.name}.log"
        self.bundle = directory / self.name
        self.bundle.mkdir()
        self._process: Process | None = None

    async def start(self) -> None:
        """Start it; what it says goes to ``log``."""
        (self.bundle / "config.json").write_text(json.dumps(self.config))
        with self.log.open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                "runc", "run", "--bundle", str(self.bundle), self.name, stdin=asyncio.subprocess.DEVNULL,
                stdout=log, stderr=log,
            )  # fmt: skip

    async def terminate(self, signal_name: str) -> None:
        """Send the signal that the image asks for, to the first process in it."""
        await self._runc("kill", self.name, signal_name.removeprefix("SIG"))

    async def exit_code(self, timeout: float = 60.0) -> int:
        """Wait for its end."""
        assert self._process is not None
        async with asyncio.timeout(timeout):
            return await self._process.wait()

    async def kernel_status(self) -> dict[str, str]:
        """What the kernel says of its first process: user, capabilities, memory."""
        pid = int(json.loads(await self._runc("state", self.name))["pid"])
        text = await asyncio.to_thread(Path(f"/proc/{pid}/status").read_text)
        return {name: value.strip() for name, _, value in (line.partition(":") for line in text.splitlines())}

    async def execute(self, *command: str) -> tuple[int, str]:
        """Run a command beside it, as its user. Exit code, and all that it said."""
        process = await asyncio.create_subprocess_exec(
            "runc", "exec", self.name, *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        said, _ = await process.communicate()
        assert process.returncode is not None
        return process.returncode, said.decode()

    async def close(self) -> None:
        """End and forget it."""
        if self._process is not None:
            if self._process.returncode is None:
                await self._runc("kill", self.name, "KILL")
                await self._process.wait()
            await self._runc("delete", "--force", self.name)

    def said(self) -> str:
        """The log so far."""
        return self.log.read_text(errors="replace")

    async def _runc(self, *arguments: str) -> str:
        process = await asyncio.create_subprocess_exec(
            "runc", *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
        )
        said, _ = await process.communicate()
        return said.decode()


def _seccomp() -> dict[str, Any] | None:
    """The runtimes' own default profile, for a process without capabilities."""
    if not SECCOMP.exists():
        return None
    whole = json.loads(SECCOMP.read_text())
    rules = [
        {name: one[name] for name in ("names", "action", "args", "errnoRet") if one.get(name) is not None}
        for one in whole["syscalls"]
        if not one.get("includes", {}).get("caps")
        and "amd64" in one.get("includes", {}).get("arches", ["amd64"])
        and "amd64" not in one.get("excludes", {}).get("arches", [])
    ]
    chosen = {"defaultAction": whole["defaultAction"], "architectures": ["SCMP_ARCH_X86_64"], "syscalls": rules}
    return chosen | ({"defaultErrnoRet": whole["defaultErrnoRet"]} if "defaultErrnoRet" in whole else {})
