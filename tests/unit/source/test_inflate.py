"""Compressed bytes, however they are cut, in bounded steps."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.source.inflate import STEP_BYTES, Inflater, inflater_of


def headerless(data: bytes) -> bytes:
    """Deflate without its zlib header."""
    engine = zlib.compressobj(wbits=-15)
    return engine.compress(data) + engine.flush()


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
}


def plain(inflater: Inflater, chunks: list[bytes]) -> bytes:
    """All that comes of these."""
    return b"".join(part for chunk in chunks for part in inflater.steps(chunk))


@given(st.binary(max_size=500), st.integers(1, 40), st.sampled_from([*PACKERS.items(), ("deflate", headerless)]))
def test_what_was_packed_comes_out_wherever_it_is_cut(
    data: bytes, size: int, packer: tuple[str, Callable[[bytes], bytes]]
) -> None:
    """By each name that a coding has."""
    coding, pack = packer
    packed = pack(data)
    inflater = inflater_of(coding)
    assert inflater is not None
    assert plain(inflater, [packed[at : at + size] for at in range(0, len(packed), size)]) == data


@pytest.mark.parametrize("size", [1, 5, 10_000])
def test_members_follow_one_another(size: int) -> None:
    """RFC 1952 lets a body be many of them."""
    packed = b"".join(gzip.compress(b"part %d;" % number) for number in range(3))
    chunks = [packed[at : at + size] for at in range(0, len(packed), size)]
    assert plain(Inflater(), chunks) == b"part 0;part 1;part 2;"


def test_a_bomb_comes_in_bounded_steps() -> None:
    """Also where its last step is a full one."""
    for length in (10 * STEP_BYTES, 10 * STEP_BYTES + 1):
        inflater = Inflater()
        sizes = [len(part) for part in inflater.steps(gzip.compress(bytes(length)))]
        assert sum(sizes) == length
        assert max(sizes) == STEP_BYTES
        assert not inflater.more


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
@pytest.mark.parametrize("data", [b"data: x\n\n", b"\xff" * 20])
def test_what_was_not_packed_is_an_error(coding: str, data: bytes) -> None:
    """And nothing of it comes out."""
    inflater = inflater_of(coding)
    assert inflater is not None
    with pytest.raises(zlib.error):
        plain(inflater, [data])


@pytest.mark.parametrize("coding", ["", "br", "zstd", "gzip, gzip"])
def test_other_codings_have_no_inflater(coding: str) -> None:
    """Whoever asks has to tell."""
    assert inflater_of(coding) is None
