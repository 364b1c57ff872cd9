"""The API key: read anew at each use, hidden everywhere, and refused before it could break a header."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pydantic import SecretStr

from bridge.masking import Secrets
from bridge.settings import SourceSettings
from bridge.source.credentials import ApiKey, KeyUnavailableError


def of_file(file: Path, *secrets: Secrets) -> ApiKey:
    """A key in a file."""
    return ApiKey(SourceSettings(api_key_file=file), secrets)


def test_a_file_that_cannot_be_read_is_told_until_it_can(tmp_path: Path) -> None:
    """There is an alert on it: a rotation that went wrong should be noticed before the old connection ends."""
    file = tmp_path / "key"
    heard: list[str | None] = []
    key = ApiKey(SourceSettings(api_key_file=file), [], heard.append)
    with pytest.raises(KeyUnavailableError):
        key.headers()
    file.write_text("\n")
    with pytest.raises(KeyUnavailableError):
        key.headers()
    file.write_text("sk-rotated-key")
    key.headers()
    assert heard == [
        f"source.api_key_file {file} cannot be read: No such file or directory",
        f"source.api_key_file {file} is empty or holds characters that no key has",
        None,
    ]


def test_settings_that_were_read_again_give_another_key(tmp_path: Path) -> None:
    """Or another file with it; whoever waits for another key hears of it."""
    key = ApiKey(SourceSettings(api_key=SecretStr("a-secret-key")), [])
    key.headers()
    before = key.version
    (tmp_path / "key").write_text("of-the-file")
    key.use(SourceSettings(api_key_file=tmp_path / "key"))
    assert key.changed(before)
    assert key.headers() == {"Authorization": "Bearer of-the-file"}


def test_a_key_of_the_settings_is_sent_as_a_bearer_token() -> None:
    """And never changes."""
    key = ApiKey(SourceSettings(api_key=SecretStr("a-secret-key")), [])
    assert key.headers() == {"Authorization": "Bearer a-secret-key"}
    assert not key.changed(key.version)


def test_without_a_key_there_is_no_header() -> None:
    """And nothing to wait for."""
    key = ApiKey(SourceSettings(), [])
    assert key.headers() == {}
    assert not key.changed(key.version)


@pytest.mark.parametrize("content", ["a-secret-key", "a-secret-key\n", " a-secret-key\r\n\n"])
def test_white_space_around_a_key_in_a_file_does_not_belong_to_it(tmp_path: Path, content: str) -> None:
    """Editors and shells add it."""
    (tmp_path / "key").write_text(content, newline="")
    assert of_file(tmp_path / "key").headers() == {"Authorization": "Bearer a-secret-key"}


def test_a_file_wins_over_a_key_of_the_settings(tmp_path: Path) -> None:
    """It is the one that can be rotated."""
    (tmp_path / "key").write_text("of-the-file")
    key = ApiKey(SourceSettings(api_key=SecretStr("of-the-settings"), api_key_file=tmp_path / "key"), [])
    assert key.headers() == {"Authorization": "Bearer of-the-file"}


def test_a_rotated_key_is_noticed_and_used(tmp_path: Path) -> None:
    """Also as Kubernetes does it: a link that points to another directory from one moment to the next."""
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "key").write_text(f"the-{name}-key")
    link = tmp_path / "data"
    link.symlink_to(tmp_path / "old")
    key = of_file(link / "key")
    assert key.headers() == {"Authorization": "Bearer the-old-key"}
    old = key.version
    assert not key.changed(old)
    swap = tmp_path / "swap"
    swap.symlink_to(tmp_path / "new")
    os.replace(swap, link)
    assert key.changed(old)
    assert key.headers() == {"Authorization": "Bearer the-new-key"}
    assert not key.changed(key.version)


def test_whoever_was_refused_with_the_old_key_hears_of_the_new_one(tmp_path: Path) -> None:
    """Also when another has looked first, and has sent it already."""
    file = tmp_path / "key"
    file.write_text("the-old-key")
    key = of_file(file)
    key.headers()
    old = key.version
    file.write_text("the-new-key")
    assert [key.changed(old) for _ in range(3)] == [True] * 3
    key.headers()
    assert [key.changed(old), key.changed(key.version)] == [True, False]


def test_every_key_that_was_sent_is_hidden_from_then_on(tmp_path: Path) -> None:
    """In all registers; the old one may still be echoed."""
    registers = (Secrets(), Secrets())
    key = of_file(tmp_path / "key", *registers)
    for text in ("the-first-key", "the-second-key"):
        (tmp_path / "key").write_text(text)
        key.headers()
    for register in registers:
        assert register.mask("the-first-key, the-second-key") == "**********, **********"


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"two words", b"a\x00b", b"a\x7fb", "schl\u00fcssel".encode(), b"\xff"]
)
def test_a_file_without_a_usable_key_says_so_and_shows_nothing_of_it(tmp_path: Path, content: bytes) -> None:
    """It could be the key with a slip of the hand in it."""
    (tmp_path / "key").write_bytes(content)
    with pytest.raises(KeyUnavailableError, match=r"source\.api_key_file") as caught:
        of_file(tmp_path / "key").headers()
    text = content.decode(errors="replace").strip()
    assert not text or text not in str(caught.value)


@pytest.mark.parametrize("place", ["none", "directory", "none/below"])
def test_a_file_that_is_none_says_so_and_is_found_when_it_comes(tmp_path: Path, place: str) -> None:
    """A secret may be mounted later than the worker starts."""
    (tmp_path / "directory").mkdir()
    key = of_file(tmp_path / place)
    with pytest.raises(KeyUnavailableError, match=f"{place} cannot be read"):
        key.headers()
    assert not key.changed(key.version)
    if place == "none":
        without = key.version
        (tmp_path / place).write_text("a-secret-key")
        assert key.changed(without)


def test_a_file_that_vanishes_has_not_changed(tmp_path: Path) -> None:
    """There is nothing new to try."""
    file = tmp_path / "key"
    file.write_text("a-secret-key")
    key = of_file(file)
    key.headers()
    sent = key.version
    file.unlink()
    assert not key.changed(sent)


def test_a_file_that_comes_back_with_the_same_key_is_something_to_try(tmp_path: Path) -> None:
    """Whoever was refused for want of it need not wait any longer."""
    file = tmp_path / "key"
    file.write_text("a-secret-key")
    key = of_file(file)
    key.headers()
    file.unlink()
    with pytest.raises(KeyUnavailableError):
        key.headers()
    without = key.version
    assert not key.changed(without)
    file.write_text("a-secret-key")
    assert key.changed(without)
