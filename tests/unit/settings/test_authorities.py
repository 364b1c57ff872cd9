"""The certificates that TLS trusts: a file that cannot serve is refused at the start, not at the first connection."""

from __future__ import annotations

import subprocess
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


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate and its key, in files of their own."""
    cert, key = tmp_path / "tls.crt", tmp_path / "tls.key"
    made = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=worker"]
    subprocess.run(
        ["openssl", "req", "-x509", *made, "-keyout", str(key), "-out", str(cert)], check=True, capture_output=True
    )
    return cert, key


def client(cert: Path | None, key: Path | None, url: str = "rediss://h") -> dict[str, str]:
    """A worker with a certificate of its own."""
    given = {"BRIDGE_REDIS__CERT_FILE": cert, "BRIDGE_REDIS__KEY_FILE": key}
    return {"BRIDGE_REDIS__URL": url, **{name: str(file) for name, file in given.items() if file}}


def test_a_certificate_and_its_key_are_taken_in_silence(pair: tuple[Path, Path]) -> None:
    """Beside an authority or not."""
    assert warnings(client(*pair)) == []
    assert warnings(client(*pair, "rediss+cluster://h")) == []


def test_a_certificate_that_cannot_serve_is_named_with_its_reason(pair: tuple[Path, Path], tmp_path: Path) -> None:
    """Alone, away, of another key, encrypted, or none at all."""
    cert, key = pair
    alone = "redis.cert_file (BRIDGE_REDIS__CERT_FILE) and redis.key_file (BRIDGE_REDIS__KEY_FILE): one is of no use"
    for given in ((cert, None), (None, key)):
        (line,) = problems(client(*given))
        assert line.startswith(alone)
    (line,) = problems(client(cert, tmp_path / "none"))
    assert (
        line
        == f"redis.key_file (BRIDGE_REDIS__KEY_FILE): {tmp_path / 'none'} cannot be read: No such file or directory"
    )
    other, locked = tmp_path / "other.key", tmp_path / "locked.key"
    ec = ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    subprocess.run(["openssl", "genpkey", *ec, "-out", str(other)], check=True, capture_output=True)
    subprocess.run(
        ["openssl", "genpkey", *ec, "-aes256", "-pass", "pass:word", "-out", str(locked)],
        check=True,
        capture_output=True,
    )
    text = tmp_path / "text"
    text.write_text("no key")
    for file, reason in ((other, "key values mismatch"), (locked, "the key is encrypted"), (text, "")):
        (line,) = problems(client(cert, file))
        assert f"{cert} and {file} are not a certificate and its key in PEM: " in line
        assert reason in line


def test_a_certificate_that_nothing_uses_is_told_of_and_not_read(tmp_path: Path) -> None:
    """As with the authority."""
    said = warnings(client(tmp_path / "none.crt", tmp_path / "none.key", "valkey+sentinel://h/s"))
    assert [line.partition(":")[0] for line in said] == [
        "redis.cert_file (BRIDGE_REDIS__CERT_FILE)",
        "redis.key_file (BRIDGE_REDIS__KEY_FILE)",
    ]
    assert all(line.endswith("begins with valkey+sentinel://; for TLS write valkeys+sentinel://") for line in said)


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
