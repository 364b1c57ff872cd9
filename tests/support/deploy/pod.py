"""Runs a container of a rendered pod with runc, with what its manifest asks for: what a kubelet would do.

Not as in a cluster: the network is this machine's own, so that the pod reaches the simulator and Redis on loopback.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.deploy.chart import Release
from tests.support.deploy.image import Image
from tests.support.deploy.runc import RuncContainer, Wishes, runtime_config

__all__ = ["Container", "SecretFiles"]

UNITS = {"Mi": 1 << 20, "Gi": 1 << 30}


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


class Container(RuncContainer):
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
        super().__init__(directory)
        mounts = {one["mountPath"]: volumes[one["name"]] for one in container.get("volumeMounts", [])}
        if hosts:
            file = self.bundle / "hosts"
            file.write_text(hosts)
            mounts["/etc/hosts"] = file
        self.config = runtime_config(_wishes(image, pod["spec"], container, mounts))


def _wishes(image: Image, pod: Mapping[str, Any], container: Mapping[str, Any], mounts: Mapping[str, Path]) -> Wishes:
    """The pod's and the image's."""
    security = {**pod["securityContext"], **container["securityContext"]}
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    memory = container["resources"]["limits"]["memory"]
    return Wishes(
        root=image.root,
        arguments=_command(image, container),
        environment=[*image.config["Env"], *(f"{one['name']}={one['value']}" for one in container.get("env", []))],
        user={
            "uid": security["runAsUser"],
            "gid": security["runAsGroup"],
            "additionalGids": [security["fsGroup"]],
        },
        mounts=mounts,
        memory_bytes=int(memory[:-2]) * UNITS[memory[-2:]],
        read_only=security["readOnlyRootFilesystem"],
        no_new_privileges=not security["allowPrivilegeEscalation"],
        all_dropped=security["capabilities"]["drop"] == ["ALL"],
    )


def _command(image: Image, container: Mapping[str, Any]) -> list[str]:
    """As Kubernetes does: `command` replaces the entry point, `args` the arguments."""
    entrypoint = container.get("command", image.config["Entrypoint"])
    arguments = container.get("args", [] if "command" in container else image.config["Cmd"])
    return [*entrypoint, *arguments]
