"""The certificates that TLS trusts: a file that cannot serve is refused at the start, not at the first connection."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.configuration import AUTHORITY, problems, warnings

FILES = pytest.mark.parametrize(
    ("path", "environment"),
    [
        ("redis.ca_file (BRIDGE_REDIS__CA_FILE)", {"BRIDGE_REDIS__URL": "rediss://h"}),
        ("source.ca_file (BRIDGE_SOURCE__CA_FILE)", {"BRIDGE_SOURCE__BASE_URL": "https://h"}),
    ],
)


def naming(path: str, file: Path) -> dict[str, str]:
    """The variable of the setting, with a file."""
    return {path.partition("(")[2].rstrip(")"): str(file)}


@FILES
def test_a_missing_file_is_named_with_its_reason(path: str, environment: dict[str, str], tmp_path: Path) -> None:
    """Not the address, which is fine."""
    file = tmp_path / "ca.crt"
    assert problems({**environment, **naming(path, file)}) == [
        f"{path}: {file} cannot be read: No such file or directory"
    ]
    assert problems({**environment, **naming(path, tmp_path)}) == [f"{path}: {tmp_path} cannot be read: Is a directory"]


@FILES
@pytest.mark.parametrize(
    "content",
    ["", "not a certificate", AUTHORITY[:200], AUTHORITY.replace("M", "!"), AUTHORITY + AUTHORITY[:200]],
    ids=["empty", "text", "cut", "damaged", "second one cut"],
)
def test_a_broken_file_is_named_with_its_reason(
    path: str, environment: dict[str, str], content: str, tmp_path: Path
) -> None:
    """What OpenSSL says of it, less its line numbers."""
    file = tmp_path / "ca.crt"
    file.write_text(content)
    (line,) = problems({**environment, **naming(path, file)})
    said, _, reason = line.rpartition(": ")
    assert said == f"{path}: {file} is not a PEM file of certificates"
    assert reason
    assert "_" not in reason


@FILES
def test_a_good_file_is_taken_in_silence(path: str, environment: dict[str, str], tmp_path: Path) -> None:
    """One certificate, or several with words between."""
    file = tmp_path / "ca.crt"
    file.write_text(f"# ours\n{AUTHORITY}\n# theirs\n{AUTHORITY}")
    assert warnings({**environment, **naming(path, file)}) == []


def test_a_file_that_nothing_uses_is_told_of_and_not_read(tmp_path: Path) -> None:
    """TLS is what the address asks for, not what the file does."""
    file = str(tmp_path / "none.crt")
    assert warnings({"BRIDGE_REDIS__CA_FILE": file, "BRIDGE_REDIS__URL": "redis://h"}) == [
        "redis.ca_file (BRIDGE_REDIS__CA_FILE): has no effect, since redis.url begins with redis://; for TLS write "
        "rediss://"
    ]
    assert warnings({"BRIDGE_SOURCE__CA_FILE": file, "BRIDGE_SOURCE__BASE_URL": "http://localhost:1"}) == [
        "source.ca_file (BRIDGE_SOURCE__CA_FILE): has no effect, since source.base_url begins with http://"
    ]
