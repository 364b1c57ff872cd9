"""What a mistake reads like."""

from __future__ import annotations

import re
from typing import Any

import pytest

from bridge.settings.loading import load
from bridge.settings.reference import SETTINGS, variable
from tests.support.configuration import KEY, problems


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        (
            {"BRIDGE_SOURCE__IDLE_TIMEOUT_SECONDS": "-1"},
            "source.idle_timeout_seconds (BRIDGE_SOURCE__IDLE_TIMEOUT_SECONDS): should be greater than 0, not '-1'",
        ),
        (
            {"BRIDGE_ADMIN__PORT": "web"},
            "admin.port (BRIDGE_ADMIN__PORT): must be a whole number, e.g. 8080, not 'web'",
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
            {"BRIDGE_REDIS__HOST": "h"},
            "BRIDGE_REDIS__HOST: unknown variable in the environment; it is a part of redis.url, e.g. redis://redis.example:6379/0",
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
            {"BRIDGE_STREAM__HARD_MAX_LENGTH": "10"},
            "stream.hard_max_length (BRIDGE_STREAM__HARD_MAX_LENGTH) and stream.keep_unread "
            "(BRIDGE_STREAM__KEEP_UNREAD): a cap is for what is kept unread; turn the second on, or set "
            "stream.max_length instead",
        ),
        (
            {
                "BRIDGE_STREAM__KEEP_UNREAD": "true",
                "BRIDGE_STREAM__HARD_MAX_LENGTH": "10",
                "BRIDGE_STREAM__MAX_LENGTH": "11",
            },
            "stream.hard_max_length (BRIDGE_STREAM__HARD_MAX_LENGTH) and stream.max_length "
            "(BRIDGE_STREAM__MAX_LENGTH): the first must not be smaller",
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
        ("admin: {port: [1]}", "admin.port (BRIDGE_ADMIN__PORT): must be a whole number, e.g. 8080"),
        ("admin: {host: 3}", "admin.host (BRIDGE_ADMIN__HOST): must be text; in YAML put it into quotes, not 3"),
        (
            "source: {api_key_file: 3}",
            "source.api_key_file (BRIDGE_SOURCE__API_KEY_FILE): must be the path of a file, not 3",
        ),
        (
            "log.level: debug",
            "log.level: unknown setting; in YAML a setting stands indented below its section",
        ),
        ("log: {1: 2}", "log.1: unknown setting; remove it (all settings: lens-bridge config schema)"),
        ("sessions: 3", "sessions (BRIDGE_SESSIONS): must be a list, or a mapping of name to session id, not 3"),
    ],
)
def test_a_mistake_in_the_file_is_found(write: Any, written: str, expected: str) -> None:
    """Unknown, misplaced, repeated, or not YAML at all."""
    file = write(written)
    assert problems(file=file) == [expected.format(file=file)]


@pytest.mark.parametrize(
    ("path", "value", "wanted"),
    [
        ("source.idle_timeout_seconds", "45s", "a number of seconds, e.g. 45"),
        ("source.backoff_initial_seconds", "500ms", "a number of seconds, e.g. 0.5"),
        ("stream.max_age_seconds", "1d", "a number of seconds, e.g. 86400"),
        ("commit.max_bytes", "8MB", "a whole number of bytes, e.g. 1048576"),
        ("commit.max_bytes", "1.5", "a whole number of bytes, e.g. 1048576"),
        ("dedupe.window_events", "2k", "a whole number of events, e.g. 2048"),
        ("stream.max_length", "1e6", "a whole number, e.g. 100000"),
        ("source.connects_per_second", "10/s", "a number, e.g. 10"),
        ("stream.markers", "maybe", "true or false"),
    ],
)
def test_a_number_stands_alone_since_its_unit_is_in_the_name(path: str, value: str, wanted: str) -> None:
    """The same from the environment, from a flag and from YAML: an example instead of a parser's words."""
    name = variable(path)
    expected = [f"{path} ({name}): must be {wanted}, not {value!r}"]
    assert problems({name: value}) == expected
    assert problems(flags={path: value}) == expected


def test_every_number_has_an_example() -> None:
    """A setting without a default has one too."""
    for path, field in SETTINGS.items():
        if "int" in str(field.annotation) or "float" in str(field.annotation):
            assert re.search(r"e\.g\. [0-9.]+, not 'x'$", problems(flags={path: "x"})[0]), path


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (" ", "is blank; remove it, or copy the key again"),
        (f"Bearer {KEY}", "must be the key alone, without the word Bearer in front"),
        (f"{KEY}\n", "holds a line break; copy the key again, without it"),
        (f"{KEY[:5]}\r\n{KEY[5:]}", "holds a line break; copy the key again, without it"),
        (f"{KEY} ", "holds a space; copy the key again, without it"),
        (f"{KEY}\u2026", "holds a character outside ASCII, or one that cannot be seen; copy the key again"),
        (f"{KEY}\x07", "holds a character outside ASCII, or one that cannot be seen; copy the key again"),
    ],
)
def test_each_mistake_in_a_key_has_words_of_its_own(key: str, expected: str) -> None:
    """A blank one, a header's value, a line break, a space, a sign of an editor's; none of them is repeated."""
    assert problems({"ATAI_API_KEY": key}) == [f"source.api_key (ATAI_API_KEY or BRIDGE_SOURCE__API_KEY): {expected}"]


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
