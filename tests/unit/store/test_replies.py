"""What the error replies of a cluster and of foreign servers mean."""

from __future__ import annotations

import pytest

from bridge.errors import FaultKind, Meaning
from bridge.store.replies import Redirected, fault_of


@pytest.mark.parametrize(
    ("reply", "kind", "host", "port"),
    [
        ("MOVED 3999 127.0.0.1:6381", FaultKind.MOVED, "127.0.0.1", 6381),
        ("ASK 3999 Node-2.example:6381", FaultKind.ASK, "node-2.example", 6381),
        ("MOVED 3999 2001:db8::1:6381", FaultKind.MOVED, "2001:db8::1", 6381),
        ("MOVED 3999 :6381", FaultKind.MOVED, "", 6381),
    ],
)
def test_a_redirection_says_to_whom(reply: str, kind: FaultKind, host: str, port: int) -> None:
    """An empty host is the one that answered."""
    fault = fault_of(reply, "h:1")
    assert isinstance(fault, Redirected)
    assert (fault.kind, fault.host, fault.port) == (kind, host, port)
    assert fault.kind.meaning is Meaning.PASSES
    assert "write redis+cluster:// in redis.url" in fault.detail


def test_what_redis_says_to_who_wrote_a_script_is_told_to_nobody_else() -> None:
    """Since 7.0 it stands behind the error."""
    reply = "OOM command not allowed when used memory > 'maxmemory'. script: " + 40 * "a" + ", on @user_script:37."
    told = "OOM command not allowed when used memory > 'maxmemory'. - it is full; raise maxmemory, or trim with "
    assert fault_of(reply, "h:1").detail == f"Redis at h:1 answers: {told}stream.max_length"


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        ("MOVED somewhere", FaultKind.MOVED),
        ("TRYAGAIN Multiple keys request during rehashing of slot", FaultKind.CLUSTER_DOWN),
        ("CLUSTERDOWN Hash slot not served", FaultKind.CLUSTER_DOWN),
        ("ERR unknown command 'EVALSHA', with args beginning with: 'ab'", FaultKind.NO_SCRIPTING),
        ("ERR unknown command `EVALSHA`, with args beginning with: `ab`", FaultKind.NO_SCRIPTING),
        ("ERR unknown command 'evalsha', with args beginning with: 'ab'", FaultKind.NO_SCRIPTING),
    ],
)
def test_what_a_server_as_a_whole_refuses_for_now_is_sent_again_unchanged(reply: str, kind: FaultKind) -> None:
    """A batch must not be halved for it, nor an event set aside."""
    fault = fault_of(reply, "h:1")
    assert (fault.kind, type(fault).__name__) == (kind, "SinkFault")
    assert fault.kind.meaning is Meaning.PASSES
    assert fault.detail.startswith(f"Redis at h:1 answers: {reply} - ")
