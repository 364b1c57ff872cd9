"""Builds the Dockerfile without a daemon, on a Debian base of our own: the public base cannot be had everywhere."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.deploy.needs import need_program, need_root

__all__ = ["Image", "built_image"]

ROOT = Path(__file__).parents[3]
SUITE = "trixie"  # what python:3.13-slim is made of, with the same Python
BASE = f"localhost/lens-bridge-base:{SUITE}"
# The way to the registries on a machine that has its own: certificates, and where pip looks.
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
PIP = "[global]\ncert = /etc/ssl/certs/ca-certificates.crt\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """A built image, with its files laid out in ``root``."""

    root: Path
    config: dict[str, Any]
    base_bytes: int
    bytes: int


@contextmanager
def built_image(directory: Path) -> Iterator[Image]:
    """Build it, mount it, and take the mount away at the end. Skips where a tool is missing."""
    need_root()
    for program in ("buildah", "debootstrap", "runc"):
        need_program(program)
    _make_base(directory)
    tag = f"localhost/lens-bridge:{secrets.token_hex(4)}"
    pip = directory / "pip.conf"
    pip.write_text(PIP)
    _buildah(
        "build", "--build-arg", f"BASE={BASE}", "--tag", tag,
        *(f"--volume={one}:{where}:ro" for one, where in ((CERTIFICATES, CERTIFICATES), (pip, "/etc/pip.conf"))),
        str(ROOT),
    )  # fmt: skip
    container = _buildah("from", "--pull-never", tag)
    try:
        about = json.loads(_buildah("inspect", "--type", "image", tag))
        yield Image(
            root=Path(_buildah("mount", container)),
            config=about["OCIv1"]["config"],
            base_bytes=_size(BASE),
            bytes=_size(tag),
        )
    finally:
        _buildah("rm", container)
        _buildah("rmi", tag)


def _make_base(directory: Path) -> None:
    if BASE in _buildah("images", "--format", "{{.Name}}:{{.Tag}}").splitlines():
        return
    root = directory / "base"
    _run("debootstrap", "--variant=minbase", "--include=python3,python3-venv,ca-certificates", SUITE, str(root))
    for downloads in ("var/cache/apt/archives", "var/lib/apt/lists"):
        shutil.rmtree(root / downloads)
    container = _buildah("from", "scratch")
    _buildah("add", "--quiet", container, str(root), "/")
    _buildah("config", "--env", "PATH=/usr/local/bin:/usr/bin:/bin", container)
    _buildah("commit", "--quiet", container, BASE)
    _buildah("rm", container)
    shutil.rmtree(root)


def _size(image: str) -> int:
    (about,) = json.loads(_buildah("images", "--json", image))
    number, unit = about["size"].split()  # rounded, for people
    return round(float(number) * {"KB": 1e3, "MB": 1e6, "GB": 1e9}[unit])


def _buildah(*arguments: str) -> str:
    return _run("buildah", *arguments)


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=900, env=_environment())
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout.strip()


def _environment() -> dict[str, str]:
    return {"BUILDAH_ISOLATION": "chroot", "STORAGE_DRIVER": "overlay", **os.environ}
