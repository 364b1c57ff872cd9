"""Where values come from, which one wins, and what a mistake reads like."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from bridge.configuration import load, masked, render_yaml, schema, secret_values
from bridge.errors import ConfigurationError
from bridge.settings import SessionSettings, Settings

ROOT = Path(__file__).parents[2]
KEY = "sk-0123456789abcdef"


def problems(
    environment: dict[str, str] | None = None, flags: dict[str, Any] | None = None, file: Path | None = None
) -> list[str]:
    """The lines that a user sees; the configuration must be wrong."""
    with pytest.raises(ConfigurationError) as caught:
        load(file, flags, environment or {})
    return str(caught.value).splitlines()


def sessions(written: str) -> list[tuple[str, str]]:
    found = load(None, {}, {"BRIDGE_SESSIONS": written}).sessions
    return [(one.name, one.session_id) for one in found]


@pytest.fixture
def write(tmp_path: Path) -> Any:
    def writer(text: str) -> Path:
        file = tmp_path / "bridge.yaml"
        file.write_text(text)
        return file

    return writer


def without_worker_id(settings: Settings) -> dict[str, Any]:
    """All values but the one that is random."""
    values = settings.model_dump()
    del values["worker"]["id"]
    return values


# Precedence


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


# Sessions


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("lsn-a,lsn-b", [("lsn-a", "lsn-a"), ("lsn-b", "lsn-b")]),
        (" lsn-a , front=lsn-b,", [("lsn-a", "lsn-a"), ("front", "lsn-b")]),
        ('["lsn-a", "front=lsn-b"]', [("lsn-a", "lsn-a"), ("front", "lsn-b")]),
        ('[{"session_id": "lsn-a"}, {"name": "x", "session_id": "lsn-b"}]', [("lsn-a", "lsn-a"), ("x", "lsn-b")]),
        ('{"front": "lsn-a"}', [("front", "lsn-a")]),
        ("[]", []),
        (",", []),
    ],
)
def test_sessions_in_the_environment_have_three_forms(written: str, expected: list[tuple[str, str]]) -> None:
    """A list with commas, with names, or JSON."""
    assert sessions(written) == expected


@pytest.mark.parametrize(
    "written",
    [
        "sessions: [front=lsn-a, lsn-b]",
        "sessions:\n- {name: front, session_id: lsn-a}\n- session_id: lsn-b",
        "sessions: {front: lsn-a, lsn-b: lsn-b}",
        "sessions: front=lsn-a,lsn-b",
    ],
)
def test_sessions_in_yaml_may_be_a_list_or_a_mapping(write: Any, written: str) -> None:
    """Strings or objects; a name defaults to the id."""
    assert load(write(written), {}, {}).sessions == (
        SessionSettings(name="front", session_id="lsn-a"),
        SessionSettings(name="lsn-b", session_id="lsn-b"),
    )


def test_sessions_of_a_stronger_place_replace_the_others(write: Any) -> None:
    """Half a list from each would surprise."""
    settings = load(write("sessions: {front: lsn-a}"), {"sessions": "back=lsn-b"}, {})
    assert [one.name for one in settings.sessions] == ["back"]


@given(st.text(max_size=40))
def test_any_text_for_sessions_is_valid_or_a_configuration_error(written: str) -> None:
    """Never a traceback of another kind; a name that gets through can stand in a key and a URL."""
    try:
        found = sessions(written)
    except ConfigurationError:
        return
    assert all("/" not in part and "{" not in part and part.strip() for one in found for part in one)


# Mistakes


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        (
            {"BRIDGE_SOURCE__IDLE_TIMEOUT_SECONDS": "-1"},
            "source.idle_timeout_seconds (BRIDGE_SOURCE__IDLE_TIMEOUT_SECONDS): should be greater than 0, not '-1'",
        ),
        (
            {"BRIDGE_ADMIN__PORT": "web"},
            "admin.port (BRIDGE_ADMIN__PORT): should be a valid integer, unable to parse string as an integer, "
            "not 'web'",
        ),
        (
            {"BRIDGE_LOG__LEVEL": "loud"},
            "log.level (BRIDGE_LOG__LEVEL): should be 'debug', 'info', 'warning' or 'error', not 'loud'",
        ),
        (
            {"BRIDGE_SESSIONS": "lsn/a"},
            "sessions[0].session_id (BRIDGE_SESSIONS): must be 1 to 128 of A-Z a-z 0-9 . _ : -, not 'lsn/a'",
        ),
        ({"BRIDGE_SESSIONS": '[{"name": "a"}]'}, "sessions[0].session_id (BRIDGE_SESSIONS): is required"),
        (
            {"BRIDGE_SESSIONS": '["a"'},
            "sessions (BRIDGE_SESSIONS): is not valid JSON at character 5; or write lsn-a,lsn-b or name=lsn-a, "
            "not '[\"a\"'",
        ),
        (
            {"BRIDGE_SESSIONS": '[{"session_id": "a", "nam": "b"}]'},
            "sessions[0].nam: unknown setting; did you mean sessions[0].name?",
        ),
        (
            {"BRIDGE_SORCE__API_KEY": KEY},
            "BRIDGE_SORCE__API_KEY: unknown variable in the environment; did you mean BRIDGE_SOURCE__API_KEY?",
        ),
        (
            {"BRIDGE_ADMIN_PORT": "9090"},
            "BRIDGE_ADMIN_PORT: unknown variable in the environment; did you mean BRIDGE_ADMIN__PORT?",
        ),
        (
            {"BRIDGE_XYZ": "1"},
            "BRIDGE_XYZ: unknown variable in the environment; remove it (all settings: lens-bridge config schema)",
        ),
        (
            {"BRIDGE_CONFIG": "/no/such.yaml"},
            "/no/such.yaml: cannot be read: No such file or directory; --config or BRIDGE_CONFIG must name a YAML file",
        ),
        (
            {"BRIDGE_SECRETS_DIR": "/no/such"},
            "BRIDGE_SECRETS_DIR: /no/such cannot be read: No such file or directory",
        ),
        (
            {"ATAI_API_KEY": f"{KEY} "},
            "source.api_key (ATAI_API_KEY or BRIDGE_SOURCE__API_KEY): is empty, or holds a space, a line break or a "
            "character outside ASCII; copy the key again",
        ),
        (
            {"ATAI_API_KEY": KEY, "BRIDGE_SOURCE__API_KEY_FILE": "/run/key"},
            "source.api_key (BRIDGE_SOURCE__API_KEY) and source.api_key_file (BRIDGE_SOURCE__API_KEY_FILE): "
            "set only one (also as ATAI_API_KEY)",
        ),
        (
            {"BRIDGE_LEASE__TTL_SECONDS": "1", "BRIDGE_LEASE__POLL_SECONDS": "0.5"},
            "lease.ttl_seconds (BRIDGE_LEASE__TTL_SECONDS) and lease.poll_seconds (BRIDGE_LEASE__POLL_SECONDS): "
            "the first must be over three times the second",
        ),
        (
            {"BRIDGE_COMMIT__BUFFER_EVENTS": "10"},
            "commit.max_events (BRIDGE_COMMIT__MAX_EVENTS) and commit.buffer_events (BRIDGE_COMMIT__BUFFER_EVENTS): "
            "a batch must fit into the buffer",
        ),
        (
            {"BRIDGE_SESSIONS": "a=lsn-1,a=lsn-2"},
            "sessions (BRIDGE_SESSIONS): the name a is given twice; names must be unique",
        ),
        (
            {"BRIDGE_SESSIONS": "a=lsn-1,b=lsn-1", "BRIDGE_STREAM__KEY": "lens:{all}:events"},
            "sessions (BRIDGE_SESSIONS): a and b read lsn-1 into the same place; remove one, or put <name> into the "
            "braces of stream.key (BRIDGE_STREAM__KEY)",
        ),
        (
            {"BRIDGE_STREAM__KEY": "lens:<nam>"},
            "stream.key (BRIDGE_STREAM__KEY): stream.key 'lens:<nam>': unknown placeholder <nam>; use <name> or "
            "<session_id>",
        ),
        (
            {"BRIDGE_STREAM__KEY": "lens:{<name>}:dead-letter"},
            "stream.key (BRIDGE_STREAM__KEY): 'lens:{<name>}:dead-letter' gives lens:{name}:dead-letter, which the "
            "bridge needs for itself; use another name",
        ),
    ],
    ids=lambda part: next(iter(part)) if isinstance(part, dict) else "",
)
def test_a_mistake_is_one_line_that_names_it_and_says_what_to_do(environment: dict[str, str], expected: str) -> None:
    """The YAML path, the variable, the value where it may be shown."""
    assert problems(environment) == [expected]


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("source: {api_keyy: x}", "source.api_keyy: unknown setting; did you mean source.api_key?"),
        ("sorce: {api_key: x}", "sorce: unknown setting; did you mean source?"),
        ("nothing:", "nothing: unknown setting; remove it (all settings: lens-bridge config schema)"),
        ("redis: 3", "redis: must be a mapping"),
        ("- a", "{file}: must be a mapping of sections such as source: and redis:"),
        ("source: [", "{file}: not valid YAML at line 1, column 10"),
        ("log:\n\tlevel: info", "{file}: not valid YAML at line 2, column 1; indent with spaces, not with tabs"),
        ("log: {level: info}\nlog: {}", "{file}: this key is given twice at line 2, column 1"),
        ("stream:\n  key: a:b\n  key: c:d", "{file}: this key is given twice at line 3, column 3"),
        ("admin: {port: [1]}", "admin.port (BRIDGE_ADMIN__PORT): should be a valid integer"),
        ("sessions: 3", "sessions (BRIDGE_SESSIONS): must be a list, or a mapping of name to session id, not 3"),
    ],
)
def test_a_mistake_in_the_file_is_found(write: Any, written: str, expected: str) -> None:
    """Unknown, misplaced, repeated, or not YAML at all."""
    file = write(written)
    assert problems(file=file) == [expected.format(file=file)]


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis+cluster://h", "redis+cluster:// is not supported in this version; use redis:// or rediss://"),
        ("redis+sentinel://h/s", "redis+sentinel:// is not supported in this version; use redis:// or rediss://"),
        ("http://h", "must look like redis://host:6379/0, or rediss:// for TLS"),
        ("unix:///run/redis.sock", "must look like redis://host:6379/0, or rediss:// for TLS"),
        ("redis://h:70000", "has a bad host or port (1 to 65535); special characters must be percent-encoded"),
        ("redis://h:0", "has a bad port: 0; it must be 1 to 65535"),
        ("redis://:hidden-pa/ss@h", "has a bad host or port (1 to 65535); special characters must be percent-encoded"),
        ("redis://h/zero", "must end with a database number, e.g. /0; a slash in a password must be written %2F"),
        (
            "redis://h?password=hidden-pass",
            "takes no ? and no #; options are settings of their own, and a password must be percent-encoded",
        ),
        ("redis:// h", "must hold no spaces and no line breaks"),
    ],
)
def test_a_bad_redis_url_is_explained_and_not_repeated(url: str, expected: str) -> None:
    """It may hold a password."""
    assert problems({"BRIDGE_REDIS__URL": url}) == [f"redis.url (BRIDGE_REDIS__URL): {expected}"]


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("api.example/v0.5", "must begin with http:// or https:// and name a host, not 'api.example/v0.5'"),
        ("https:///v0.5", "must begin with http:// or https:// and name a host, not 'https:///v0.5'"),
        ("https://h/v0.5?a=b", "must end with the path: no query and no fragment"),
        ("https://me:hidden@h", "must hold no user or password; the key goes into source.api_key_file"),
    ],
)
def test_a_bad_base_url_is_explained(url: str, expected: str) -> None:
    """And shown, unless it may hold a password."""
    assert problems({"BRIDGE_SOURCE__BASE_URL": url}) == [f"source.base_url (BRIDGE_SOURCE__BASE_URL): {expected}"]


def test_a_slash_at_the_end_of_the_base_url_does_not_matter() -> None:
    """It would double in every request."""
    assert load(None, {"source.base_url": "http://h:1/v0.5/"}, {}).source.base_url == "http://h:1/v0.5"


def test_all_mistakes_are_told_at_once(write: Any) -> None:
    """One run, one list: of every place and of every kind."""
    found = problems({"BRIDGE_XYZ": "1", "BRIDGE_ADMIN__PORT": "99999"}, {"log.level": "loud"}, write("foo: 1"))
    assert [line.split(" ")[0].rstrip(":") for line in found] == ["BRIDGE_XYZ", "admin.port", "log.level", "foo"]


def test_variables_that_kubernetes_makes_for_services_are_no_mistakes() -> None:
    """A Service named `bridge`, or `bridge-web`, puts these into every pod of its namespace."""
    load(
        None,
        {},
        {
            "BRIDGE_SERVICE_HOST": "10.0.0.1",
            "BRIDGE_SERVICE_PORT": "80",
            "BRIDGE_SERVICE_PORT_HTTP": "80",
            "BRIDGE_PORT": "tcp://10.0.0.1:80",
            "BRIDGE_PORT_80_TCP": "tcp://10.0.0.1:80",
            "BRIDGE_PORT_80_TCP_PROTO": "tcp",
            "BRIDGE_PORT_80_TCP_PORT": "80",
            "BRIDGE_PORT_80_TCP_ADDR": "10.0.0.1",
            "BRIDGE_WEB_SERVICE_HOST": "10.0.0.2",
            "BRIDGE_WEB_PORT": "tcp://10.0.0.2:80",
            "BRIDGE_TEST_SEED": "1",
        },
    )


# Secrets


def test_no_message_repeats_a_secret(write: Any, tmp_path: Path) -> None:
    """Wherever it was put by mistake."""
    for environment in (
        {"ATAI_API_KEY": f"{KEY}\n"},
        {"BRIDGE_REDIS__URL": f"redis://:{KEY}#@h"},
        {"BRIDGE_REDIS__URL": f"redis://{KEY}:x/@h:port"},
        {"BRIDGE_SOURCE__BASE_URL": f"https://:{KEY}@h"},
        {"BRIDGE_API_KEY": KEY},
    ):
        assert KEY not in "\n".join(problems(environment))
    for text in (
        f"source: {KEY}",
        f"source: {{api_key: [{KEY}]}}",
        f"source: {{apikey: {KEY}}}",
        f"source:\n  api_key: *{KEY}",
        f"source:\n  api_key: @{KEY}",
        f"redis: {{password: {{a: {KEY}}}}}",
    ):
        assert KEY not in "\n".join(problems(file=write(text)))


def test_printing_the_settings_shows_no_secret() -> None:
    """Not by repr, not by str, not by the masked values."""
    environment = {
        "ATAI_API_KEY": KEY,
        "BRIDGE_REDIS__URL": f"rediss://bridge:{KEY}-url@redis.example:6380/2",
        "BRIDGE_REDIS__PASSWORD": f"{KEY}-password",
    }
    settings = load(None, {}, environment)
    shown = masked(settings)
    assert KEY not in f"{settings!r} {settings!s} {settings.redis!r} {json.dumps(shown)}"
    assert shown["source"]["api_key"] == "**********"
    assert shown["redis"]["password"] == "**********"
    assert shown["redis"]["url"] == "rediss://bridge:**********@redis.example:6380/2"
    assert set(secret_values(settings)) == {KEY, f"{KEY}-url", f"{KEY}-password"}


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://localhost:6379/0", "redis://localhost:6379/0"),
        ("redis://:pass%2Fword@h", "redis://:**********@h"),
        ("redis://user@h/1", "redis://user@h/1"),
        ("redis://[::1]:6379", "redis://[::1]:6379"),
    ],
)
def test_of_the_redis_url_all_but_the_password_is_shown(url: str, expected: str) -> None:
    """Host and database are what one looks for in `config show`."""
    assert masked(load(None, {}, {"BRIDGE_REDIS__URL": url}))["redis"]["url"] == expected


def test_a_percent_encoded_password_is_a_secret_in_both_spellings() -> None:
    """Redis gets one, errors may show the other."""
    settings = load(None, {}, {"BRIDGE_REDIS__URL": "redis://:pass%2Fword@h"})
    assert secret_values(settings) == ("pass%2Fword", "pass/word")


# Generated files


def test_the_commented_file_is_fresh_and_loads_to_the_defaults() -> None:
    """`make config` writes it; nothing in it may differ from what holds without it."""
    file = ROOT / "config" / "bridge.yaml"
    assert file.read_text() == render_yaml()
    assert without_worker_id(load(file, {}, {})) == without_worker_id(Settings())


def test_the_commented_file_explains_every_setting() -> None:
    """A comment above each, and each is there."""
    lines = render_yaml().splitlines()
    for name, section in Settings.model_fields.items():
        inner = getattr(section.annotation, "model_fields", None)
        for one in inner or [name]:
            place = next(n for n, line in enumerate(lines) if line.strip().removeprefix("# ").startswith(f"{one}:"))
            assert lines[place - 1].strip().startswith("# "), one


def test_the_schema_is_fresh_and_knows_every_setting() -> None:
    """Editors and charts read the file; `config schema` prints the same."""
    made = schema()
    assert json.loads((ROOT / "config" / "schema.json").read_text()) == made
    assert set(made["properties"]) == set(Settings.model_fields)
    assert made["additionalProperties"] is False
    for name, definition in made["$defs"].items():
        assert definition.get("additionalProperties") is False or "enum" in definition, name
        assert all("description" in one or "$ref" in one for one in definition.get("properties", {}).values()), name


@pytest.mark.parametrize("file", sorted((ROOT / "config" / "examples").glob("*.yaml")), ids=lambda file: file.stem)
def test_every_example_loads(file: Path) -> None:
    """And has at least one session, and a comment on top."""
    assert load(file, {}, {}).sessions
    assert file.read_text().startswith("# ")


def test_durations_sizes_and_counts_have_their_unit_in_the_name() -> None:
    """Nobody should have to guess."""
    for section in yaml.safe_load(render_yaml()).values():
        if isinstance(section, dict):
            for name, value in section.items():
                if isinstance(value, float):
                    assert name.endswith(("_seconds", "_per_second")), name
                if "timeout" in name or "backoff" in name:
                    assert name.endswith("_seconds"), name
