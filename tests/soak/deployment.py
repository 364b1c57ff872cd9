"""How a deployment is told what to do: a file with its configuration, and its secrets, as they change under workers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from tests.support.mounted_volume import MountedVolume

__all__ = ["ENDED_SECONDS", "FOUND_LENS", "REDIS_USER", "Deployment"]

FOUND_LENS = "lns-found"
REDIS_USER = "bridge"
ENDED_SECONDS = 25.0
"""Longer than all that one fault may hold up or take back: what is let go of by then stands in Redis for good."""

_FILE = "bridge.yaml"
_KEY, _PASSWORD = "api-key", "redis-password"


class Deployment:
    """``listed`` are the sessions in its file; besides it discovers those of the lens `FOUND_LENS`.

    ``mounted``: the file is a ConfigMap, whose links the kubelet swaps. Otherwise it is written over as it is.
    """

    def __init__(self, directory: Path, name: str, listed: Sequence[str], *, mounted: bool) -> None:
        self.name = name
        self.listed = list(listed)
        self.discovers = True
        self._wanted = list(listed)
        self._plain = None if mounted else directory / f"{name}.yaml"
        self._secrets = MountedVolume(directory / f"{name}-secrets", {_KEY: "none yet", _PASSWORD: "none yet"})
        self._volume = MountedVolume(directory / f"{name}-config", {_FILE: self._text()})
        self.write()

    @property
    def file(self) -> Path:
        """What ``--config`` is given."""
        return self._plain or self._volume / _FILE

    def write(self, text: str | None = None) -> None:
        """Show this, or what holds: while it is written over a reader may find half of it."""
        shown = self._text() if text is None else text
        if self._plain:
            self._plain.write_text(shown)
        else:
            self._volume.swap({_FILE: shown})

    def write_all(self) -> None:
        """All that it began with is listed again, and it discovers."""
        self.listed, self.discovers = list(self._wanted), True
        self.write()

    def give_secrets(self, key: str, password: str) -> None:
        """Rotate them."""
        self._secrets.swap({_KEY: key, _PASSWORD: password})

    def _text(self) -> str:
        settings: dict[str, Any] = {
            "sessions": self.listed,
            "source": {"api_key_file": str(self._secrets / _KEY)},
            "redis": {"username": REDIS_USER, "password_file": str(self._secrets / _PASSWORD)},
            "discovery": {"enabled": self.discovers, "interval_seconds": 1, "lens_ids": [FOUND_LENS]},
            "retention": {"ended_seconds": ENDED_SECONDS},
        }
        return yaml.safe_dump(settings)
