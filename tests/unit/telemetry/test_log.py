"""What stands on standard error, as whole lines."""

from __future__ import annotations

import io
import json
import logging
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from bridge.masking import Secrets
from bridge.telemetry.log import configure

KEY = "sk-0123456789abcdef"
STARS = "**********"


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """Logging is global: leave it as it was."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    structlog.reset_defaults()
    logging.captureWarnings(False)
    root.handlers[:], root.level = handlers, level


@pytest.fixture
def secrets() -> Secrets:
    made = Secrets()
    made.add(KEY)
    return made


def events(output: io.StringIO) -> list[dict[str, Any]]:
    """The logged objects without their timestamps, which are checked to be UTC."""
    found = [json.loads(line) for line in output.getvalue().splitlines()]
    assert all(one.pop("timestamp").endswith("Z") for one in found)
    return found


def test_an_event_is_one_json_object_per_line(secrets: Secrets) -> None:
    """Timestamp, level and event first; then the fields."""
    output = io.StringIO()
    configure("info", "json", secrets, output)
    structlog.get_logger().info("source.opened", stream="entrance", attempt=2)
    assert list(json.loads(output.getvalue())) == ["timestamp", "level", "event", "stream", "attempt"]
    assert events(output) == [{"level": "info", "event": "source.opened", "stream": "entrance", "attempt": 2}]


def test_a_level_hides_what_is_below_it(secrets: Secrets) -> None:
    """And shows what is not."""
    output = io.StringIO()
    configure("warning", "json", secrets, output)
    log = structlog.get_logger()
    log.debug("batch.committed")
    log.info("lease.taken")
    log.warning("lease.lost")
    assert events(output) == [{"level": "warning", "event": "lease.lost"}]


def test_a_logger_made_before_the_configuration_follows_it(secrets: Secrets) -> None:
    """Modules make theirs at import."""
    log = structlog.get_logger()
    output = io.StringIO()
    configure("debug", "json", secrets, output)
    log.debug("batch.committed", events=3)
    assert events(output) == [{"level": "debug", "event": "batch.committed", "events": 3}]


def test_secrets_are_masked_wherever_they_stand(secrets: Secrets) -> None:
    """Nested, in bytes, as a key of a mapping, in an object's repr, in the event itself."""

    class Holder:
        def __repr__(self) -> str:
            return f"Holder({KEY})"

    output = io.StringIO()
    configure("info", "json", secrets, output)
    structlog.get_logger().info(f"used {KEY}", nested=[{"k": (KEY,)}], raw=KEY.encode(), by={KEY: 1}, held=Holder())
    assert events(output) == [
        {
            "level": "info",
            "event": f"used {STARS}",
            "nested": [{"k": [STARS]}],
            "raw": f"b'{STARS}'",
            "by": {STARS: 1},
            "held": f"Holder({STARS})",
        }
    ]


@pytest.mark.parametrize("form", ["json", "console"])
def test_secrets_are_masked_in_exceptions(secrets: Secrets, form: Any) -> None:
    """In the message, in the source line, and in the cause."""
    output = io.StringIO()
    configure("info", form, secrets, output)
    try:
        try:
            raise ValueError("with sk-0123456789abcdef")
        except ValueError as error:
            raise RuntimeError("outer") from error
    except RuntimeError:
        structlog.get_logger().exception("task.failed")
    assert "RuntimeError: outer" in output.getvalue()
    assert f"ValueError: with {STARS}" in output.getvalue()
    assert KEY not in output.getvalue()


def test_a_secret_added_later_is_masked_too(secrets: Secrets) -> None:
    """A rotated key becomes known while the worker runs."""
    output = io.StringIO()
    configure("info", "json", secrets, output)
    secrets.add("another-secret-key")
    structlog.get_logger().info("key.read", value="another-secret-key")
    assert events(output) == [{"level": "info", "event": "key.read", "value": STARS}]


def test_libraries_log_through_the_same_chain_from_warning_on(secrets: Secrets) -> None:
    """Their words are masked and in the same form; httpx's line per request is not shown."""
    output = io.StringIO()
    configure("debug", "json", secrets, output)
    logging.getLogger("httpx").info("HTTP Request: GET %s", KEY)
    logging.getLogger("aiohttp.server").warning("refused %s", KEY)
    assert events(output) == [{"level": "warning", "event": f"refused {STARS}", "logger": "aiohttp.server"}]


def test_warnings_of_python_are_logged(secrets: Secrets) -> None:
    """A deprecation should not break the lines of a JSON log."""
    output = io.StringIO()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        configure("info", "json", secrets, output)
        warnings.warn("soon gone", stacklevel=1)
        logging.captureWarnings(False)
    (event,) = events(output)
    assert (event["level"], event["logger"]) == ("warning", "py.warnings")
    assert "UserWarning: soon gone" in event["event"]


def test_auto_is_json_where_no_terminal_is(secrets: Secrets) -> None:
    """And console on one."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    plain, terminal = io.StringIO(), Terminal()
    for output in (plain, terminal):
        configure("info", "auto", secrets, output)
        structlog.get_logger().info("source.opened", stream="a")
    assert events(plain) == [{"level": "info", "event": "source.opened", "stream": "a"}]
    assert not terminal.getvalue().startswith("{")
    assert "\x1b[" in terminal.getvalue()


def test_a_console_that_is_no_terminal_has_no_colours(secrets: Secrets) -> None:
    """Escape sequences make a file unreadable."""
    output = io.StringIO()
    configure("info", "console", secrets, output)
    structlog.get_logger().info("source.opened", stream="a")
    assert "\x1b[" not in output.getvalue()
    assert output.getvalue().split()[1:] == ["[info", "]", "source.opened", "stream=a"]


def test_logs_go_to_standard_error(secrets: Secrets, capsys: pytest.CaptureFixture[str]) -> None:
    """Standard output belongs to the commands."""
    configure("info", "json", secrets)
    structlog.get_logger().info("source.opened")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert json.loads(captured.err)["event"] == "source.opened"
