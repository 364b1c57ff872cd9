"""Telling a replay from news by content alone: drop only what is surely a replay."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.delivery.replay import ContentReplay, Verdict


def judge(remembered: str, offered: str) -> str:
    """What becomes of each event, as letters: dropped ones are '.', published ones themselves, the rest held."""
    replay: ContentReplay | None = ContentReplay([letter.encode() for letter in remembered])
    held, out = "", ""
    for letter in offered:
        if replay is None:
            out += letter
            continue
        match replay.offer(letter.encode()):
            case Verdict.HELD:
                held += letter
            case Verdict.REPLAYED:
                out += "." * (len(held) + 1)
                held, replay = "", None
            case Verdict.NEW:
                out += held + letter
                held, replay = "", None
    return out + (f"({held})" if held else "")


def test_a_full_replay_is_dropped_and_the_news_after_it_published() -> None:
    """The usual server without ids: all of its history at every connection."""
    assert judge("abc", "abcde") == "...de"


def test_a_replay_of_the_last_few_is_dropped() -> None:
    """A server that keeps a short history."""
    assert judge("abcdef", "efgh") == "..gh"


def test_news_only_are_published_at_once() -> None:
    """A live-only server: nothing is held back."""
    assert judge("abc", "xyz") == "xyz"


def test_a_run_that_breaks_off_before_the_end_was_no_replay() -> None:
    """Equal at first, then different: all of it is published."""
    assert judge("abcd", "abx") == "abx"


def test_constant_events_are_never_dropped() -> None:
    """A machine that is healthy, again and again: equal bytes say nothing."""
    assert judge("hhhh", "hhhhhh") == "hhhhhh"


def test_one_event_equal_to_the_last_one_is_published() -> None:
    """A run of one proves too little, since a machine may be BROKEN twice in a row."""
    assert judge("hhhb", "b") == "b"


def test_repeated_events_are_dropped_when_unique_ones_tell_where_they_stand() -> None:
    """The history h h b h c h, replayed from its second event."""
    assert judge("hhbhch", "hbhchx") == ".....x"


def test_a_run_with_one_unique_event_is_published() -> None:
    """A machine that is HEALTHY, then BROKEN, before and after a reconnect."""
    assert judge("hhhb", "hb") == "hb"


def test_an_undecided_run_is_held() -> None:
    """Three of five known events came, then nothing more yet."""
    assert judge("abcde", "abc") == "(abc)"


def test_unique_events_behind_others_than_before_are_no_replay() -> None:
    """The history h h a b c d; now comes h, and b right behind it."""
    assert judge("hhabcd", "hbcde") == "hbcde"


def test_a_run_longer_than_all_that_is_remembered_is_no_replay() -> None:
    """No more is held than could be one."""
    assert judge("hhb", "hhh") == "(hhh)"
    assert judge("hhb", "hhhh") == "hhhh"


@pytest.mark.parametrize(
    ("remembered", "enough"), [("abcd", 3), ("abcdefgh", 4), ("abcdefghij", 5), ("abcdefghijklmnopqrst", 8)]
)
def test_a_run_is_convincing_from_eight_unique_events_on_or_half_of_all(remembered: str, enough: int) -> None:
    """But three at least, before it reaches the end."""
    replay = ContentReplay([letter.encode() for letter in remembered])
    convincing = []
    for letter in remembered[: enough + 1]:
        convincing.append(replay.convincing)
        replay.offer(letter.encode())
    assert convincing == [False] * enough + [True]


@given(st.text("abc", max_size=12), st.text("abcd", max_size=30))
def test_what_is_dropped_is_always_the_whole_end_of_what_was_remembered(remembered: str, offered: str) -> None:
    """Nothing else is ever lost, whatever comes."""
    result = judge(remembered, offered)
    dropped = result.count(".")
    assert len(result.replace("(", "").replace(")", "")) == len(offered)
    if dropped:
        assert offered[:dropped] == remembered[-dropped:]
        assert sum(remembered.count(letter) == 1 for letter in offered[:dropped]) > 1
