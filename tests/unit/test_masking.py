"""Secrets are found in every spelling that a library or a server may give them."""

from __future__ import annotations

import base64
import html
import json
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.masking import MASK, SHORTEST, Secrets

KEY = 'sk-"ab/cd+ef\\gh&12'
SPELLINGS = {
    "plain": KEY,
    "percent-encoded": quote(KEY, safe=""),
    "percent-encoded path": quote(KEY),
    "form-encoded": quote_plus(KEY),
    "JSON": json.dumps(KEY),
    "JSON with escaped slashes": json.dumps(KEY).replace("/", "\\/"),
    "HTML": html.escape(KEY),
    "repr": repr(KEY),
    "bytes": repr(KEY.encode()),
    "base64": base64.b64encode(KEY.encode()).decode(),
    "base64, one before": base64.b64encode(b"x" + KEY.encode() + b"tail").decode(),
    "basic auth": base64.b64encode(b"us:" + KEY.encode()).decode(),
    "base64 for URLs": base64.urlsafe_b64encode(b"me" + KEY.encode()).decode(),
}


def hiding(*values: str) -> Secrets:
    secrets = Secrets()
    for value in values:
        secrets.add(value)
    return secrets


@pytest.mark.parametrize("text", SPELLINGS.values(), ids=SPELLINGS.keys())
def test_a_secret_is_masked_in_every_spelling(text: str) -> None:
    """In text and in bytes, and `contains` agrees."""
    secrets = hiding(KEY)
    line = f"before {text} after"
    masked = secrets.mask(line)
    assert MASK in masked
    assert masked.startswith("before ")
    assert masked.endswith(" after")
    assert secrets.mask(line.encode()) == masked.encode()
    assert secrets.contains(line.encode())
    assert not secrets.contains(masked.encode())


@given(
    before=st.binary(max_size=10),
    after=st.binary(max_size=10),
    key=st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=SHORTEST, max_size=40),
)
def test_base64_hides_a_secret_at_no_offset(before: bytes, after: bytes, key: str) -> None:
    """Whatever stands around the key in the encoded data."""
    assert hiding(key).contains(base64.b64encode(before + key.encode() + after))


@given(st.text("abZ019_", min_size=SHORTEST, max_size=12), st.text("abZ019_ ", max_size=40), st.booleans())
def test_what_is_masked_is_contained_and_nothing_else(key: str, around: str, there: bool) -> None:
    """Whatever characters it has: the search begins with the rarest one."""
    secrets = hiding(key)
    data = f"{around}{key if there else ''}{around}".encode()
    assert secrets.contains(data) == (secrets.mask_bytes(data) != data)
    assert secrets.contains(data) >= there


def test_masked_json_is_still_json() -> None:
    """An event that sent_keys the key stays readable for its consumers."""
    data = json.dumps({"type": "error", "message": f"bad key {KEY}"}).encode()
    assert json.loads(hiding(KEY).mask_bytes(data)) == {"type": "error", "message": f"bad key {MASK}"}


def test_a_secret_inside_a_longer_one_leaves_no_rest() -> None:
    """The longer one goes first."""
    assert hiding("abcdefgh", "abcdefgh-and-more").mask("abcdefgh-and-more") == MASK


def test_short_values_are_not_masked() -> None:
    """`redis` as a password would destroy half of all events."""
    secrets = hiding("redis", "")
    assert secrets.mask("redis is away") == "redis is away"
    assert not secrets.contains(b"redis is away")


def test_the_last_values_of_each_origin_are_kept() -> None:
    """A password that rotates each hour must neither pile up nor push the API key out."""
    secrets = Secrets()
    secrets.add("the-api-key", "source.api_key")
    for hour in range(100):
        secrets.add(f"password-{hour:03}", "redis.password")
    assert secrets.mask("the-api-key password-099 password-096") == f"{MASK} {MASK} {MASK}"
    assert secrets.mask("password-095") == "password-095"


def test_a_value_given_again_counts_as_the_newest() -> None:
    """Two keys that alternate push neither out."""
    secrets = hiding("key-number-1", "key-number-2", "key-number-3", "key-number-4", "key-number-1", "key-number-5")
    assert secrets.contains(b"key-number-1")
    assert not secrets.contains(b"key-number-2")


def test_its_own_repr_shows_nothing() -> None:
    """It is an attribute of many objects that may be printed."""
    assert repr(hiding(KEY)) == "Secrets(1 hidden)"
