"""A configuration as a user meets it: loaded from what a test gives, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bridge.errors import ConfigurationError
from bridge.settings import Settings
from bridge.settings.loading import load, read

__all__ = ["AUTHORITY", "KEY", "problems", "warnings", "without_worker_id"]

KEY = "sk-0123456789abcdef"

AUTHORITY = """\
-----BEGIN CERTIFICATE-----
MIIBiDCCAS+gAwIBAgIUTue7NqiqeQL2UKtLu21WV44JcXowCgYIKoZIzj0EAwIw
GTEXMBUGA1UEAwwOVGVzdCBhdXRob3JpdHkwIBcNMjYxMTI1MDQzNDE3WhgPMjEy
NjExMDEwNDM0MTdaMBkxFzAVBgNVBAMMDlRlc3QgYXV0aG9yaXR5MFkwEwYHKoZI
zj0CAQYIKoZIzj0DAQcDQgAEAzglLFTX0yRsOpO3SKPK2/NS7zCAqttCZSdvyJli
5O/m65GheL+PpQKLgXL1qsM+XbYOGZ8ZeE9VScoFLxyax6NTMFEwHQYDVR0OBBYE
FFLYe1//+4+7D1nFQueyBpWMJCMPMB8GA1UdIwQYMBaAFFLYe1//+4+7D1nFQuey
BpWMJCMPMA8GA1UdEwEB/wQFMAMBAf8wCgYIKoZIzj0EAwIDRwAwRAIgAwhQTz29
fmF8DoVS5kz7V6bncPsZTpN7XNCDcFW2lQYCIHvX6d23494Wu0OfxS6Ifi2784F3
sFXVnRIrUAPx7yIG
-----END CERTIFICATE-----
"""
"""A certificate of nobody's, in PEM; its key was thrown away."""


def problems(
    environment: dict[str, str] | None = None, flags: dict[str, Any] | None = None, file: Path | None = None
) -> list[str]:
    """The lines that a user sees; the configuration must be wrong."""
    with pytest.raises(ConfigurationError) as caught:
        load(file, flags, environment or {})
    return str(caught.value).splitlines()


def warnings(environment: dict[str, str], file: Path | None = None) -> list[str]:
    """The lines that a user sees of a configuration that is good but for them, which has a key and a session."""
    return list(read(file, {}, {"ATAI_API_KEY": KEY, "BRIDGE_SESSIONS": "a=lsn-a", **environment}).warnings)


def without_worker_id(settings: Settings) -> dict[str, Any]:
    """All values but the one that is random."""
    values = settings.model_dump()
    del values["worker"]["id"]
    return values
