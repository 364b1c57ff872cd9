"""Runs a container of a rendered pod with runc, with what its manifest asks for: what a kubelet would do.

Not as in a cluster: the network is this machine's own, so that the pod reaches the simulator and Redis on loopback.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
from asyncio.subprocess import Process
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.deploy.chart import Release
from tests.support.deploy.image import Image

__all__ = ["Container", "SecretFiles"]

SECCOMP = Path("/usr/share/containers/seccomp.json")  # what container runtimes call RuntimeDefault
UNITS = {"Mi": 1 << 20, "Gi": 1 << 30}
NAMESPACES = ("pid", "ipc", "uts", "mount", "cgroup")


class SecretFiles:
    """Files as Kubernetes mounts a Secret: links into a directory that is swapped as a whole."""

    def __init__(self, directory: Path, files: Mapping[str, str], *, mode: int, group: int) -> None:
        self.directory = directory
        self._mode = mode
        self._group = group
        directory.mkdir()
        self.write(files)
        for name in files:
            (directory / name).symlink_to(f"..data/{name}")

    def write(self, files: Mapping[str, str]) -> None:
        """Replace all of them at once."""
        version = self.directory / f"..{secrets.token_hex(4)}"
        version.mkdir(mode=0o755)
        for name, text in files.items():
            file = version / name
            file.write_text(text)
            os.chown(file, 0, self._group)
            file.chmod(self._mode)
        link = self.directory / "..data_new"
        link.symlink_to(version.name)
        link.rename(self.directory / "..data")


class Container:
    """One container of a pod. ``volumes``: the directories that stand for the pod's volumes, by name."""

    def __init__(
        self,
        image: Image,
        release: Release,
        pod: Mapping[str, Any],
        container: Mapping[str, Any],
        volumes: Mapping[str, Path],
        directory: Path,
        hosts: str = "",
    ) -> None:
        self.name = f"lens-bridge-{secrets.token_hex(4)}"
        self.log = directory / f"{self.name}.log"
        self._bundle = directory / self.name
        self._bundle.mkdir()
        mounts = {one["mountPath"]: volumes[one["name"]] for one in container.get("volumeMounts", [])}
        if hosts:
            file = self._bundle / "hosts"
            file.write_text(hosts)
            mounts["/etc/hosts"] = file
        config = _runtime_config(image, pod["spec"], container, mounts)
        (self._bundle / "config.json").write_text(json.dumps(config))
        self._process: Process | None = None

    async def start(self) -> None:
        """Start it; what it says goes to ``log``."""
        with self.log.open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                "runc", "run", "--bundle", str(self._bundle), self.name, stdin=asyncio.subprocess.DEVNULL,
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


def _runtime_config(
    image: Image, pod: Mapping[str, Any], container: Mapping[str, Any], mounts: Mapping[str, Path]
) -> dict[str, Any]:
    """The pod's and the image's wishes in the words of the OCI runtime specification."""
    security = {**pod["securityContext"], **container["securityContext"]}
    kept = [] if security["capabilities"]["drop"] == ["ALL"] else ["CAP_NET_BIND_SERVICE"]
    environment = [*image.config["Env"], *(f"{one['name']}={one['value']}" for one in container.get("env", []))]
    memory = container["resources"]["limits"]["memory"]
    return {
        "ociVersion": "1.0.2",
        "hostname": "worker",
        "root": {"path": str(image.root), "readonly": security["readOnlyRootFilesystem"]},
        "process": {
            "args": _command(image, container),
            "cwd": "/",
            "env": environment,
            "user": {
                "uid": security["runAsUser"],
                "gid": security["runAsGroup"],
                "additionalGids": [security["fsGroup"]],
            },
            "noNewPrivileges": not security["allowPrivilegeEscalation"],
            "capabilities": dict.fromkeys(("bounding", "effective", "permitted", "inheritable", "ambient"), kept),
        },
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
            *(
                {"destination": where, "type": "bind", "source": str(what), "options": ["rbind", "ro"]}
                for where, what in mounts.items()
            ),
        ],
        "linux": {
            "namespaces": [{"type": one} for one in NAMESPACES],
            "resources": {"memory": {"limit": int(memory[:-2]) * UNITS[memory[-2:]]}},
            "seccomp": _seccomp(security["seccompProfile"]["type"]),
            "maskedPaths": ["/proc/kcore", "/proc/keys", "/proc/timer_list"],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
        },
    }


def _command(image: Image, container: Mapping[str, Any]) -> list[str]:
    """As Kubernetes does: `command` replaces the entry point, `args` the arguments."""
    entrypoint = container.get("command", image.config["Entrypoint"])
    arguments = container.get("args", [] if "command" in container else image.config["Cmd"])
    return [*entrypoint, *arguments]


def _seccomp(profile: str) -> dict[str, Any] | None:
    """The runtimes' own default profile, for a process without capabilities."""
    assert profile == "RuntimeDefault"
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
