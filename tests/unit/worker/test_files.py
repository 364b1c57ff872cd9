"""Whether files have changed, without reading them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bridge.worker.reload.files import contents, look
from tests.support.mounted_volume import MountedVolume


def test_a_swapped_link_two_directories_up_is_a_change(tmp_path: Path) -> None:
    """As Kubernetes brings a new ConfigMap: the path and its own link stay what they were."""
    volume = MountedVolume(tmp_path / "volume", {"bridge.yaml": "log: {level: info}"})
    files = {"configuration": volume / "bridge.yaml"}
    seen, known = look(files), contents(files)
    assert look(files) == seen
    volume.swap({"bridge.yaml": "log: {level: warn}"})
    assert look(files) != seen
    assert contents(files) != known


def test_a_volume_that_is_swapped_for_the_same_is_seen_and_is_no_other_content(tmp_path: Path) -> None:
    """One of several Secrets in a directory was rotated: all files of it are made anew."""
    volume = MountedVolume(tmp_path / "volume", {"a": "1", "b": "2"})
    files = {"a": volume / "a", "b": volume / "b", "all": volume.directory}
    seen, known = look(files), contents(files)
    volume.swap({"a": "1", "b": "3"})
    assert look(files) != seen
    now = contents(files)
    assert [name for name in files if now[name] != known[name]] == ["b", "all"]


@pytest.mark.parametrize("how", ["written over", "replaced", "removed"])
def test_every_way_to_change_a_file_is_seen(tmp_path: Path, how: str) -> None:
    """Of the same size and with the same time of change too: editors keep it."""
    file = tmp_path / "file"
    file.write_text("one")
    told = file.stat()
    seen = look({"file": file})
    match how:
        case "written over":
            file.write_text("two")
            os.utime(file, ns=(told.st_atime_ns, told.st_mtime_ns))
        case "replaced":
            (tmp_path / "other").write_text("two")
            (tmp_path / "other").replace(file)
        case "removed":
            file.unlink()
    assert look({"file": file}) != seen


def test_a_file_that_comes_into_a_directory_is_seen(tmp_path: Path) -> None:
    """A secrets directory is all its files."""
    (tmp_path / "secrets").mkdir()
    files = {"secrets": tmp_path / "secrets"}
    seen, known = look(files), contents(files)
    (tmp_path / "secrets" / "bridge_redis__password").write_text("word")
    assert (look(files) != seen, contents(files) != known) == (True, True)


def test_what_is_not_there_is_no_error_and_its_coming_is_a_change(tmp_path: Path) -> None:
    """Nor is a link that leads nowhere."""
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    files = {"file": tmp_path / "file", "link": tmp_path / "link", "directory": tmp_path / "none" / "file"}
    seen = look(files)
    assert set(contents(files).values()) == {""}
    (tmp_path / "nowhere").write_text("here")
    assert look(files) != seen
