"""A command as bytes is the same whichever way it is packed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bridge.store.connection import pack
from bridge.store.packing import pack_large

texts = st.text(st.characters(exclude_categories=["Cs"]))
arguments = st.lists(st.binary() | texts | st.integers() | st.binary(min_size=60_000, max_size=70_000), min_size=1)


@given(arguments)
def test_large_arguments_are_packed_as_small_ones_are(command: list[bytes | str | int]) -> None:
    """hiredis is the judge."""
    assert pack_large(command) == pack(*command)
