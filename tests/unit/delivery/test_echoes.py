"""A secret in the payloads of a chunk is found, however many and however large they are."""

from __future__ import annotations

import pytest

from bridge.delivery.echoes import echo
from bridge.masking import Secrets

KEY = "sk-0123456789abcdef"


@pytest.fixture
def secrets() -> Secrets:
    """One key."""
    made = Secrets()
    made.add(KEY)
    return made


@pytest.mark.parametrize("data_bytes", [10, 300, 5_000, 64_000])
@pytest.mark.parametrize("count", [1, 2, 7])
@pytest.mark.parametrize("where", ["first", "last"])
def test_a_key_is_found_in_payloads_of_every_size(secrets: Secrets, data_bytes: int, count: int, where: str) -> None:
    """Small ones are looked at together, large ones one by one."""
    raws = [b"x" * data_bytes for _ in range(count)]
    assert not echo(secrets, raws, ["1"])
    raws[0 if where == "first" else -1] += KEY.encode()
    assert echo(secrets, raws, ["1"])


@pytest.mark.parametrize("data_bytes", [10, 64_000])
def test_a_key_is_found_in_an_id(secrets: Secrets, data_bytes: int) -> None:
    """Ids are kept and sent back."""
    assert echo(secrets, [b"x" * data_bytes], ["1", f"id-{KEY}"])


@pytest.mark.parametrize("data_bytes", [10, 64_000])
def test_no_payload_holds_a_key_together_with_its_neighbour(secrets: Secrets, data_bytes: int) -> None:
    """They are events of their own."""
    begin, end = KEY[:9].encode(), KEY[9:].encode()
    assert not echo(secrets, [b"x" * data_bytes + begin, end + b"x" * data_bytes], ["1"])
