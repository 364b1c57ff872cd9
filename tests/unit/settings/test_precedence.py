"""Where values come from, and which one wins."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bridge.settings import Settings
from bridge.settings.loading import load, read
from bridge.settings.reference import SETTINGS
from tests.support.configuration import KEY, without_worker_id


def test_each_place_yields_to_the_stronger_one(tmp_path: Path, write: Any) -> None:
    """Flag > environment > secrets directory > YAML > default, setting by setting."""
    file = write(
        "source: {connect_timeout_seconds: 1, idle_timeout_seconds: 1, event_timeout_seconds: 1, slow_retry_seconds: 1}"
    )
    directory = tmp_path / "secrets"
    directory.mkdir()
    for name in ("IDLE_TIMEOUT", "EVENT_TIMEOUT", "SLOW_RETRY"):
        (directory / f"BRIDGE_SOURCE__{name}_SECONDS").write_text("2\n")
    environment = {
        "BRIDGE_CONFIG": str(file),
        "BRIDGE_SECRETS_DIR": str(directory),
        "BRIDGE_SOURCE__EVENT_TIMEOUT_SECONDS": "3",
        "BRIDGE_SOURCE__SLOW_RETRY_SECONDS": "3",
    }
    source = load(None, {"source.slow_retry_seconds": 4}, environment).source
    assert source.connect_timeout_seconds == 1
    assert source.idle_timeout_seconds == 2
    assert source.event_timeout_seconds == 3
    assert source.slow_retry_seconds == 4
    assert source.backoff_max_seconds == 30


def test_the_config_flag_is_stronger_than_its_variable(write: Any) -> None:
    """BRIDGE_CONFIG is not even looked at."""
    settings = load(write("log: {level: debug}"), {}, {"BRIDGE_CONFIG": "/no/such/file"})
    assert settings.log.level == "debug"


def test_a_flag_not_given_and_an_empty_variable_set_nothing() -> None:
    """Compose files and charts pass empty variables for what is not set."""
    settings = load(
        None, {"log.level": None}, {"BRIDGE_SOURCE__API_KEY": "", "ATAI_API_KEY": "", "BRIDGE_SESSIONS": ""}
    )
    assert without_worker_id(settings) == without_worker_id(Settings())


def test_the_vendors_variable_gives_the_key_unless_ours_does() -> None:
    """ATAI_API_KEY is what users of the API already have."""

    def key(**environment: str) -> str | None:
        secret = load(None, {}, environment).source.api_key
        return secret.get_secret_value() if secret else None

    assert key() is None
    assert key(ATAI_API_KEY="theirs") == "theirs"
    assert key(ATAI_API_KEY="theirs", BRIDGE_SOURCE__API_KEY="ours") == "ours"


def test_the_key_may_come_from_the_secrets_directory(tmp_path: Path) -> None:
    """As Kubernetes mounts it: any case, a line break at the end, links and directories beside it."""
    (tmp_path / "..data").mkdir()
    (tmp_path / "..data" / "atai_api_key").write_text(f"{KEY}\n")
    (tmp_path / "atai_api_key").symlink_to("..data/atai_api_key")
    (tmp_path / "bridge_redis__password").write_text("other secret\r\n")
    (tmp_path / "tls.crt").write_bytes(b"\xff")
    settings = load(None, {}, {"BRIDGE_SECRETS_DIR": str(tmp_path)})
    assert settings.source.api_key is not None
    assert settings.source.api_key.get_secret_value() == KEY
    assert settings.redis.password is not None
    assert settings.redis.password.get_secret_value() == "other secret"


def test_settings_made_in_code_read_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test must not depend on the environment it runs in."""
    monkeypatch.setenv("BRIDGE_LOG__LEVEL", "debug")
    assert Settings().log.level == "info"
    assert load().log.level == "debug"


def test_two_equal_configurations_are_equal(write: Any) -> None:
    """A reload compares them."""
    file = write("worker: {id: w}\nsessions: [lsn-a]")
    assert load(file, {}, {}) == load(file, {}, {})


def test_a_section_may_come_from_several_places(write: Any) -> None:
    """A variable replaces one setting of the file, not its section."""
    settings = load(write("log: {level: debug, format: json}"), {}, {"BRIDGE_LOG__LEVEL": "error"})
    assert (settings.log.level, settings.log.format) == ("error", "json")


def test_each_value_says_where_it_comes_from(tmp_path: Path, write: Any) -> None:
    """The flag, the variable, the secret's file, the line of the YAML file, or the default; for every setting."""
    file = write("log:\n  level: debug\n  format: json\nadmin: {port: 1,\n  host: h}\nsessions:\n- lsn-a\n")
    secret = tmp_path / "bridge_redis__password"
    secret.write_text("word")
    environment = {
        "BRIDGE_SECRETS_DIR": str(tmp_path),
        "ATAI_API_KEY": KEY,
        "BRIDGE_LOG__FORMAT": "console",
        "BRIDGE_ADMIN__PORT": "2",
    }
    origins = dict(read(file, {"admin.port": 3, "redis.url": None}, environment).origins)
    assert origins.keys() == SETTINGS.keys()
    assert {path: origin for path, origin in origins.items() if origin != "default"} == {
        "source.api_key": "ATAI_API_KEY",
        "redis.password": str(secret),
        "admin.host": f"{file}:5",
        "admin.port": "flag",
        "log.level": f"{file}:2",
        "log.format": "BRIDGE_LOG__FORMAT",
        "sessions": f"{file}:6",
    }


def test_a_value_that_the_file_takes_from_elsewhere_in_it_still_has_an_origin(write: Any) -> None:
    """YAML anchors and merge keys: the line is that of the text."""
    file = write("stream: &one\n  markers: false\nworker: {id: w}\n")
    assert read(file, {}, {}).origins["stream.markers"] == f"{file}:2"
    merged = write("log: {<<: {level: debug}, format: json}")
    assert read(merged, {}, {}).settings.log.level == "debug"
    assert read(merged, {}, {}).origins["log.level"] == f"{merged}:1"
