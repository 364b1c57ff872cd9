"""The API key: from the settings or from a file that may change while we run."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from bridge.masking import Secrets
from bridge.settings import SourceSettings

__all__ = ["ApiKey", "KeyUnavailableError"]

_USABLE = re.compile(r"[\x21-\x7e]+")  # what may stand in a header, without spaces


class KeyUnavailableError(Exception):
    """There is no usable key right now; the text says why and never holds the key."""


class ApiKey:
    """Reads the key anew at each use, so that a rotated secret needs no restart.

    A file is read again each time rather than watched: Kubernetes swaps symlinks, which watchers miss, and a
    connection is opened seldom.
    """

    def __init__(
        self,
        settings: SourceSettings,
        secrets: Iterable[Secrets],
        on_read: Callable[[str | None], None] = lambda fault: None,
    ) -> None:
        self.use(settings)
        self._secrets = tuple(secrets)
        self._on_read = on_read  # hears at each use of a file why it is of no use, or None
        self._last: str | KeyUnavailableError | None = None
        self.version = 0
        """Counts the keys that were found, each time that it was another one; none at all and no file count too."""

    def use(self, settings: SourceSettings) -> None:
        """Take the key, or its file, from these from now on."""
        self._fixed = settings.api_key.get_secret_value().strip() if settings.api_key else None
        self._file = settings.api_key_file

    @property
    def configured(self) -> bool:
        """Whether the settings name a key at all."""
        return self._file is not None or self._fixed is not None

    def changed(self, since: int) -> bool:
        """Whether the key is another one now than that of version ``since``. A file that cannot be read is none."""
        try:
            self._find()
        except KeyUnavailableError:
            return False
        return self.version != since

    def headers(self) -> dict[str, str]:
        """The Authorization header; none where no key is configured. Raises KeyUnavailableError."""
        try:
            key = self._find()
            if key is None:
                return {}
            for secrets in self._secrets:
                secrets.add(key, "source.api_key")
            if not _USABLE.fullmatch(key):
                where = f"source.api_key_file {self._file}" if self._file else "source.api_key"
                raise KeyUnavailableError(f"{where} is empty or holds characters that no key has")
        except KeyUnavailableError as error:
            self._on_read(str(error))
            raise
        if self._file is not None:
            self._on_read(None)
        return {"Authorization": f"Bearer {key}"}

    def _find(self) -> str | None:
        try:
            key = self._read()
        except KeyUnavailableError as error:
            if not isinstance(self._last, KeyUnavailableError):
                self._last, self.version = error, self.version + 1
            raise
        if key != self._last:
            self._last, self.version = key, self.version + 1
        return key

    def _read(self) -> str | None:
        if self._file is None:
            return self._fixed
        try:
            return self._file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not text"
            raise KeyUnavailableError(f"source.api_key_file {self._file} cannot be read: {reason}") from error
