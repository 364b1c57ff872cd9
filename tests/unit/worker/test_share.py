"""The fair share: the part of each session that falls to a worker, where wishes are equal, different or overlap."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bridge.model.wishes import NO_WISHES, Wishes, fingerprint_of
from bridge.worker.judging.share import Rivals, fair_share


def wishes(names: str) -> Wishes:
    """One letter for each session."""
    return Wishes.of(map(fingerprint_of, names))


def share(mine: str, *others: str) -> int:
    """Of a worker among others."""
    rivals = Rivals(wishes(mine))
    rivals.update([wishes(names) for names in others])
    return fair_share(rivals.of(fingerprint_of(name)) for name in mine)


@given(sessions=st.integers(0, 5000), others=st.integers(0, 500))
def test_shares_cover_all_sessions_and_none_is_larger_than_needed(sessions: int, others: int) -> None:
    """Where all want the same: ceil(sessions / workers)."""
    mine = fair_share([others] * sessions)
    assert mine * (others + 1) >= sessions
    assert (mine - 1) * (others + 1) < sessions or mine == 0


@given(st.lists(st.sets(st.sampled_from("abcdefghij")).map("".join), min_size=1, max_size=6))
def test_shares_of_all_cover_what_all_want(lists: list[str]) -> None:
    """However the wishes overlap."""
    shares = [share(mine, *lists[:at], *lists[at + 1 :]) for at, mine in enumerate(lists)]
    assert sum(shares) >= len(set("".join(lists)))
    assert all(part <= len(mine) for part, mine in zip(shares, lists, strict=True))


def test_who_wants_nothing_of_mine_takes_nothing_of_it() -> None:
    """Another deployment on the same Redis, or a worker that only stands by."""
    assert share("abcdef", "x") == 6
    assert share("abcdef", "") == 6
    assert share("abcdef", "abcdef") == 3
    assert share("", "abcdef") == 0


def test_who_wants_a_part_of_mine_shares_that_part() -> None:
    """One of four sessions is wanted by both."""
    assert share("abcd", "dx") == 4
    assert share("abcd", "cd") == 3
    assert share("cd", "abcd") == 1


def test_rivals_are_counted_by_session_and_anew_when_wishes_change() -> None:
    """Also where as many workers want other things."""
    rivals = Rivals(wishes("abc"))
    rivals.update([wishes("ab"), wishes("ab"), wishes("bx")])
    assert [rivals.of(fingerprint_of(name)) for name in "abc"] == [2, 3, 0]
    rivals.update([wishes("ab"), wishes("c"), wishes("bx")])
    assert [rivals.of(fingerprint_of(name)) for name in "abc"] == [1, 2, 1]
    rivals.update([])
    assert [rivals.of(fingerprint_of(name)) for name in "abc"] == [0, 0, 0]


def test_shares_add_up_where_all_who_share_want_the_same() -> None:
    """Whoever wants nothing of mine does not matter."""
    rivals = Rivals(wishes("ab"))
    rivals.update([wishes("ab"), wishes("x"), NO_WISHES])
    assert rivals.all_want(wishes("ab"))
    assert not rivals.all_want(wishes("a"))
    rivals.update([wishes("ab"), wishes("bx")])
    assert not rivals.all_want(wishes("ab"))


@given(st.sets(st.text(max_size=5), max_size=50))
def test_a_list_of_wishes_survives_its_way(names: set[str]) -> None:
    """Equal lists are equal bytes, and what is not the list is not taken for it."""
    made = Wishes.of(map(fingerprint_of, names))
    assert Wishes.of(map(fingerprint_of, sorted(names))).blob == made.blob
    assert Wishes.parse(made.blob, made.digest) == made
    assert Wishes.parse(made.blob + b"x", made.digest) is None
    assert Wishes.parse(made.blob, "0" * 16) is None


def test_the_same_session_under_another_key_is_another_session() -> None:
    """Two deployments with other templates share nothing but the Redis."""
    assert fingerprint_of("lens:{a}:state:lsn-1") != fingerprint_of("lens:{b}:state:lsn-1")
