"""What is reckoned from the figures of a run, and how they are kept."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.benchmarks.contenders import OURS
from tests.benchmarks.frames import frame, sent_ns_of
from tests.benchmarks.report.results import Ratio, Spread, percentile
from tests.benchmarks.report.stored import from_json, to_json
from tests.benchmarks.scenarios.catalogue import catalogue, chosen
from tests.support.bench_runs import LIMIT, catch_up, flat, usual

RATE = Ratio(figure="events_per_second", other=LIMIT)


def test_a_ratio_is_taken_within_each_round() -> None:
    """On a machine that became half as fast both did: the medians' ratio would be 0.3, no round saw that."""
    scenario = catch_up({OURS: [20.0, 30.0, 10.0], LIMIT: [40.0, 100.0, 20.0]})
    assert scenario.ratio(OURS, RATE) == Spread(median=0.5, least=0.3, greatest=0.5)
    assert scenario.rounds == 3


def test_there_is_no_ratio_to_what_was_not_measured_or_was_too_small_to_be_seen() -> None:
    """It is left out, and not a crash at the end of an hour."""
    assert catch_up({OURS: [20.0]}).ratio(OURS, RATE) is None
    assert catch_up({LIMIT: [20.0]}).ratio(OURS, RATE) is None
    assert catch_up({OURS: [20.0, 30.0], LIMIT: [20.0]}).ratio(OURS, RATE) is None
    scenario = catch_up({OURS: [20.0]})
    scenario.add(LIMIT, {"events_per_second": 0.0})
    assert scenario.ratio(OURS, RATE) is None


def test_a_percentile_is_a_value_that_was_seen() -> None:
    """The nearest rank: of 200, the 99th percentile is the third-worst."""
    assert percentile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert percentile([float(n) for n in range(1, 201)], 0.99) == 198.0
    assert percentile([7.0], 0.99) == 7.0


@given(st.lists(st.floats(0, 1e9), min_size=1), st.floats(0, 1))
def test_a_percentile_is_not_exceeded_by_its_share(values: list[float], share: float) -> None:
    """And the next smaller value would be by too many."""
    found = percentile(values, share)
    assert found in values
    assert sum(one <= found for one in values) >= share * len(values)
    assert sum(one < found for one in values) < max(share * len(values), 1)


def test_a_course_is_looked_at_by_tenths() -> None:
    """However few looks there were."""
    course = flat([float(look) for look in range(1, 21)])
    assert [course.tenth(OURS, "rss_mib", number) for number in (1, 5, 10)] == [1.5, 9.5, 19.5]
    assert [flat([5.0]).tenth(OURS, "rss_mib", number) for number in (1, 5, 10)] == [5.0] * 3


def test_a_run_that_is_stored_comes_back_as_it_was() -> None:
    """Every figure of every round."""
    assert from_json(to_json(usual())) == usual()


@pytest.mark.parametrize(
    "text", ["[]", "{}", "nothing", '{"format": 2}', '{"format": 1, "scenarios": [], "courses": 5}']
)
def test_what_is_no_run_is_refused(text: str) -> None:
    """Whatever else a file holds."""
    with pytest.raises(ValueError):
        from_json(text)


def test_a_run_with_a_part_that_is_not_known_is_refused() -> None:
    """As one of a later version may have."""
    stored = json.loads(to_json(usual()))
    stored["scenarios"][0]["weather"] = "fine"
    with pytest.raises(ValueError, match="weather"):
        from_json(json.dumps(stored))


def test_the_long_run_is_measured_only_where_it_is_asked_for() -> None:
    """Everything else is, where nothing is asked for."""
    every = catalogue(quick=False, events=None)
    assert {one.name for one in every} - {one.name for one in chosen(every, [])} == {"flat"}
    assert [(one.name, one.events) for one in chosen(every, ["flat"])] == [("flat", 5_000_000)]


def test_a_scenario_is_called_by_its_name_or_by_how_it_begins() -> None:
    """A whole name means just that one, though another begins with it."""
    every = catalogue(quick=True, events=7)
    assert [one.name for one in chosen(every, ["catch-up-1"])] == ["catch-up-1"]
    assert [one.name for one in chosen(every, ["latency", "catch-up"])] == [
        *("catch-up-1", "catch-up-128"),
        *("latency-10", "latency-1000", "latency-20000"),
    ]
    assert {one.events for one in every} == {7}
    with pytest.raises(ValueError, match="nonesuch"):
        chosen(every, ["flat", "nonesuch"])


@pytest.mark.parametrize("data_bytes", [250, 64_000, 190_000])
def test_a_frame_bears_its_time_of_sending_and_has_about_the_wished_size(data_bytes: int) -> None:
    """As JSON on one line of data."""
    _, number, data, *rest = frame(7, data_bytes, timestamp=1741843200.5, sent_ns=98765432109).split(b"\n")
    assert (number, rest) == (b"id: 7", [b"", b""])
    told = data.removeprefix(b"data: ")
    assert sent_ns_of(told) == json.loads(told)["sent_ns"] == 98765432109
    assert json.loads(told)["timestamp"] == 1741843200.5
    assert 0.97 * data_bytes < len(told) < 1.03 * data_bytes
