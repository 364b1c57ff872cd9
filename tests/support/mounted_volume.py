"""A directory of files as the kubelet mounts a ConfigMap or a Secret, and as it swaps what is in it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

__all__ = ["MountedVolume"]


class MountedVolume:
    """Each file is a link into `..data`, itself a link to a directory that is made anew for each version."""

    def __init__(self, directory: Path, files: Mapping[str, str]) -> None:
        self.directory = directory
        self._version = 0
        directory.mkdir()
        self.swap(files)

    def swap(self, files: Mapping[str, str]) -> None:
        """Write all files of a new version, and let one rename show them all at once, as the kubelet does."""
        self._version += 1
        made = self.directory / f"..version-{self._version}"
        made.mkdir()
        for name, text in files.items():
            (made / name).write_text(text)
        beside = self.directory / "..data_tmp"
        beside.symlink_to(made.name)
        beside.replace(self.directory / "..data")
        for name in files:
            link = self.directory / name
            if not link.is_symlink():
                link.symlink_to(os.path.join("..data", name))
        for old in self.directory.glob("..version-*"):
            if old != made:
                for file in old.iterdir():
                    file.unlink()
                old.rmdir()

    def __truediv__(self, name: str) -> Path:
        return self.directory / name
