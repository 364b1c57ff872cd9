"""What a member decides, without a Redis: the core is driven by hand."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import redis.exceptions as errors

from bridge.consumer import ConsumerError, Limits
from bridge.consumer.core.asking import Asking, Patience
from bridge.consumer.core.calls import Call, Pause, Program
from bridge.consumer.core.faults import GroupMissingError, Meaning, meaning
from bridge.consumer.core.group import before
from tests.support.worker import ROOT, python_environment


def asking(**limits: Any) -> Asking:
    """Of a member whose chance is always one half."""
    return Asking("s", "redis://here", Limits(**limits), lambda: 0.5)


def driven(program: Program[Any], *answers: Any) -> tuple[list[Any], Any]:
    """What it asks for, and what it gives; an answer that is an exception is thrown."""
    asked, left = [], list(answers)
    request = next(program)
    try:
        while True:
            asked.append(request)
            answer = left.pop(0) if isinstance(request, Call) else None
            request = program.throw(answer) if isinstance(answer, Exception) else program.send(answer)
    except StopIteration as done:
        return asked, done.value


@pytest.mark.parametrize(
    ("error", "means"),
    [
        (errors.ConnectionError("Connection refused"), Meaning.PASSES),
        (errors.TimeoutError("timed out"), Meaning.PASSES),
        (errors.BusyLoadingError("Redis is loading"), Meaning.PASSES),
        (errors.ReadOnlyError("You can't write against a read only replica."), Meaning.PASSES),
        (errors.OutOfMemoryError("command not allowed when used memory > 'maxmemory'."), Meaning.PASSES),
        (errors.ResponseError("MISCONF Redis is configured to save RDB snapshots"), Meaning.PASSES),
        (errors.ResponseError("UNBLOCKED force unblock from blocking operation"), Meaning.PASSES),
        (errors.ResponseError("NOREPLICAS Not enough good replicas to write."), Meaning.PASSES),
        (errors.ClusterDownError("CLUSTERDOWN Hash slot not served"), Meaning.PASSES),
        (errors.ResponseError("NOGROUP No such key 's' or consumer group 'g'"), Meaning.NO_GROUP),
        (errors.NoScriptError("No matching script."), Meaning.NO_SCRIPT),
        (errors.AuthenticationError("invalid username-password pair or user is disabled."), Meaning.FATAL),
        (errors.NoPermissionError("this user has no permissions to run the 'xack' command"), Meaning.FATAL),
        (errors.ResponseError("WRONGTYPE Operation against a key holding the wrong kind of value"), Meaning.FATAL),
        (errors.ResponseError("unknown command 'XAUTOCLAIM'"), Meaning.FATAL),
    ],
)
def test_an_error_means_one_thing(error: Exception, means: Meaning) -> None:
    """Wait, make the group, load the script, or tell a person."""
    assert meaning(error) is means


def test_what_passes_is_waited_out_longer_and_longer() -> None:
    """Up to the limit; half of each ceiling, by this chance."""
    gone = errors.ConnectionError("refused")
    asked, reply = driven(asking(backoff_max_seconds=0.3).ask("PING"), gone, gone, gone, gone, gone, b"PONG")
    assert [one.seconds for one in asked if isinstance(one, Pause)] == [0.025, 0.05, 0.1, 0.15, 0.15]
    assert reply == b"PONG"


def test_after_a_stop_what_was_done_is_waited_for_and_nothing_else() -> None:
    """Acknowledgements, but no reading."""
    one = asking(stop_seconds=3600)
    one.stop()
    gone = errors.ConnectionError("refused")
    with pytest.raises(errors.ConnectionError):
        driven(one.ask("XREADGROUP", patience=Patience.TO_THE_STOP), gone)
    assert driven(one.ask("XACK"), gone, 1)[1] == 1
    late = asking(stop_seconds=0)
    late.stop()
    with pytest.raises(errors.ConnectionError):
        driven(late.ask("XACK"), gone)


def test_a_script_that_redis_has_forgotten_is_sent_whole() -> None:
    """Behind its digest."""
    asked, reply = driven(asking().run("keep", "g", "m"), errors.NoScriptError("No matching script."), [b"1-0"])
    assert [one.words[0] for one in asked] == ["EVALSHA", "EVAL"]
    assert asked[1].words[2:] == (1, "s", "g", "m")
    assert reply == [b"1-0"]


def test_what_a_person_must_mend_and_a_group_that_is_gone_are_told_apart() -> None:
    """One is an error of the consumer, the other is mended by it."""
    with pytest.raises(ConsumerError, match="redis://here"):
        driven(asking().ask("XACK"), errors.AuthenticationError("invalid username-password pair"))
    with pytest.raises(GroupMissingError):
        driven(asking().ask("XREADGROUP"), errors.ResponseError("NOGROUP No such key"))


@pytest.mark.parametrize(
    ("entry_id", "smaller"),
    [("5-7", "5-6"), ("5-0", "4-18446744073709551615"), ("0-1", "0-0"), ("0-0", "0-0")],
)
def test_the_id_before(entry_id: str, smaller: str) -> None:
    """What XGROUP CREATE is told so that the entry itself comes."""
    assert before(entry_id) == smaller


@pytest.mark.parametrize(
    "absurd", [{"claim_after_seconds": 0}, {"max_deliveries": 1}, {"prefetch": 0}, {"block_seconds": -1}]
)
def test_absurd_limits_are_refused(absurd: dict[str, Any]) -> None:
    """By name."""
    with pytest.raises(ValueError, match=next(iter(absurd))):
        Limits(**absurd)


def test_it_needs_redis_py_alone() -> None:
    """None of what a worker is made of comes with it."""
    program = "import sys, bridge.consumer; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run(
        [sys.executable, "-c", program], env=python_environment(), cwd=ROOT, capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.split())
    assert "redis" in loaded
    assert not loaded & {"pydantic", "pydantic_settings", "structlog", "httpx", "aiohttp", "msgspec", "yaml", "psycopg"}
