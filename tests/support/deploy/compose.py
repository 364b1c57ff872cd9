"""Runs a service of a compose file with runc, with what it asks for: what Docker would do.

Not as with Docker: the network is this machine's own, so what the service finds by name is given by variables.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tests.support.deploy.image import Image
from tests.support.deploy.runc import RuncContainer, Wishes, runtime_config

__all__ = ["ServiceContainer", "health_command", "of_docker_run", "seconds"]

_UNITS = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
# A flag of `docker run`: what the same is called in a compose file, and of which kind it is there.
_FLAGS = {
    "name": ("container_name", "text"),
    "restart": ("restart", "text"),
    "stop-timeout": ("stop_grace_period", "seconds"),
    "memory": ("mem_limit", "text"),
    "pids-limit": ("pids_limit", "number"),
    "health-cmd": ("healthcheck.test", "shell"),
    "health-interval": ("healthcheck.interval", "text"),
    "health-timeout": ("healthcheck.timeout", "text"),
    "health-retries": ("healthcheck.retries", "number"),
    "health-start-period": ("healthcheck.start_period", "text"),
    "log-driver": ("logging.driver", "text"),
    "log-opt": ("logging.options", "mapping"),
    "env": ("environment", "mapping"),
    "volume": ("volumes", "list"),
    "publish": ("ports", "list"),
    "cap-drop": ("cap_drop", "list"),
    "security-opt": ("security_opt", "list"),
    "read-only": ("read_only", "switch"),
}


class ServiceContainer(RuncContainer):
    """One service. ``here``: where its relative paths begin; ``variables`` go before those of the file."""

    def __init__(
        self, image: Image, service: Mapping[str, Any], here: Path, variables: Mapping[str, str], directory: Path
    ) -> None:
        super().__init__(directory)
        environment = {**service["environment"], **variables}
        uid, gid = (int(one) for one in image.config["User"].split(":"))
        memory = service["mem_limit"]
        self.config = runtime_config(
            Wishes(
                root=image.root,
                arguments=[*image.config["Entrypoint"], *service.get("command", image.config["Cmd"])],
                environment=[*image.config["Env"], *(f"{name}={value}" for name, value in environment.items())],
                user={"uid": uid, "gid": gid},
                mounts={where: here / what for what, where in _mounts(service)},
                memory_bytes=int(memory[:-1]) * _UNITS[memory[-1]],
                read_only=service["read_only"],
                no_new_privileges="no-new-privileges:true" in service["security_opt"],
                all_dropped=service["cap_drop"] == ["ALL"],
            )
        )


def _mounts(service: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    """What of this directory is seen where."""
    for volume in service["volumes"]:
        what, where, mode = volume.split(":")
        assert mode == "ro"
        yield what, where
    for secret in service["secrets"]:
        yield secret, f"/run/secrets/{secret}"


def health_command(service: Mapping[str, Any]) -> list[str]:
    """What Docker runs in the container to see how it is."""
    kind, command = service["healthcheck"]["test"]
    assert kind == "CMD-SHELL"
    return ["/bin/sh", "-c", command]


def seconds(duration: str) -> float:
    """A duration of a compose file, e.g. 1m30s."""
    assert duration.endswith("s")
    minutes, _, rest = duration.rpartition("m")
    return float(minutes or 0) * 60 + float(rest.removesuffix("s"))


def of_docker_run(command: str) -> dict[str, Any]:
    """The same container as a service of a compose file. Raises KeyError for a flag that is not known here."""
    service: dict[str, Any] = {}
    docker, run, *rest = shlex.split(command)
    assert (docker, run) == ("docker", "run")
    words = (word for word in rest if word != "--detach")
    for word in words:
        if not word.startswith("--"):
            service["image"] = word
            continue
        path, kind = _FLAGS[word.removeprefix("--")]
        *sections, name = path.split(".")
        place = service
        for section in sections:
            place = place.setdefault(section, {})
        place[name] = _value(kind, "" if kind == "switch" else next(words), place.get(name))
    return service


def _value(kind: str, text: str, before: Any) -> Any:
    match kind:
        case "list":
            return [*(before or []), text]
        case "mapping":
            key, _, value = text.partition("=")
            return {**(before or {}), key: value}
        case "shell":
            return ["CMD-SHELL", text]
        case "seconds":
            return f"{text}s"
        case "number":
            return int(text)
        case "switch":
            return True
    return text
