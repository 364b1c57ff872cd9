"""Whether files have changed, however they are changed: written over, replaced, or by links that lead elsewhere.

Looked at again and again rather than watched: Kubernetes swaps a link two directories up, of which a watch on the file
hears nothing, and a look costs some microseconds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Contents", "Look", "contents", "look"]

Look = Mapping[str, object]
"""What a look saw of each file, by name: unequal where it may have changed."""

Contents = Mapping[str, str]
"""A digest of what stands in each file, by name; "" where it cannot be read."""


@dataclass(frozen=True, slots=True)
class _Stamp:
    """Of the file that a path leads to at last."""

    device: int
    inode: int
    size: int
    changed_ns: int  # also of its permissions


def look(files: Mapping[str, Path]) -> Look:
    """What can be seen without reading. A directory is its files."""
    return {name: _look_at(file) for name, file in files.items()}


def contents(files: Mapping[str, Path]) -> Contents:
    """What stands in them."""
    return {name: _digest(file) for name, file in files.items()}


def _look_at(file: Path) -> object:
    try:
        if file.is_dir():
            return {one.name: _stamp(one) for one in file.iterdir()}
        return _stamp(file)
    except OSError as error:
        return error.errno


def _stamp(file: Path) -> _Stamp | int | None:
    try:
        told = file.stat()
    except OSError as error:
        return error.errno  # a link that leads nowhere, in the middle of a swap
    return _Stamp(told.st_dev, told.st_ino, told.st_size, told.st_ctime_ns)


def _digest(file: Path) -> str:
    digest = hashlib.sha256()
    try:
        # A pipe is left alone: it would be empty afterwards.
        found = [one for one in (sorted(file.iterdir()) if file.is_dir() else (file,)) if one.is_file()]
        for one in found:
            digest.update(one.name.encode() + b"\0" + one.read_bytes() + b"\0")
    except OSError:
        return ""
    return digest.hexdigest() if found else ""
