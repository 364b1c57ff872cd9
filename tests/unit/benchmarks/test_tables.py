"""Figures as Markdown and as a picture."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from tests.benchmarks.contenders import OURS, SDK
from tests.benchmarks.report.picture import picture
from tests.benchmarks.report.results import Run
from tests.benchmarks.report.summary import summary
from tests.benchmarks.report.table import course_table, scenario_table
from tests.support.bench_runs import BEFORE, LIMIT, catch_up, flat, latency, run_of, usual

SVG = "{http://www.w3.org/2000/svg}"


def drawn(run: Run, shape: str, kind: str) -> list[ElementTree.Element]:
    """The shapes of a kind in the picture of a run, in order."""
    return [one for one in ElementTree.fromstring(picture(run)).iter(SVG + shape) if one.get("class") == kind]


def test_each_contender_has_a_row_with_its_ratios_before_its_figures() -> None:
    """As `median (least to greatest)`; one figure alone where all rounds saw the same."""
    table = scenario_table(catch_up({OURS: [1000.0, 3000.0, 2000.0], LIMIT: [4000.0] * 3})).splitlines()
    assert table[0] == "### catch-up-1"
    assert table[2] == "Median of 3 (least to greatest)."
    assert table[4] == "|  | events/s × limit | events/s | CPU µs/event | RSS MiB |"  # noqa: RUF001
    assert table[6] == (f"| {OURS} | 0.50 (0.25 to 0.75) | 2,000 (1,000 to 3,000) | 500.0 (333.3 to 1000.0) | 60 |")
    assert table[7] == f"| {LIMIT} | 1.00 | 4,000 | 250.0 | 60 |"


def test_what_was_not_measured_of_a_contender_is_a_dash() -> None:
    """As the memory of a program that has ended."""
    scenario = catch_up({OURS: [10.0]})
    scenario.add("redis-benchmark", {"events_per_second": 20.0})
    assert scenario_table(scenario).splitlines()[-1] == "| redis-benchmark | 20 | – | – |"  # noqa: RUF001


def test_a_machine_that_had_other_things_to_do_is_told() -> None:
    """Where one of the measurements was disturbed."""
    scenario = catch_up({OURS: [10.0]})
    scenario.add(OURS, {"others_cores": 0.2})
    assert "Other programs" not in scenario_table(scenario)
    scenario.add(LIMIT, {"others_cores": 1.5})
    assert "Other programs took 0.8 (0.2 to 1.5) cores meanwhile: measure again" in scenario_table(scenario)


def test_a_long_run_is_told_by_its_first_fifth_and_last_tenth() -> None:
    """Growth would be seen in a row."""
    table = course_table(flat([float(look) for look in range(10, 30)])).splitlines()
    assert table[2] == "20,000 events; medians within a tenth of them."
    assert "RSS MiB, first tenth | RSS MiB, 5th | RSS MiB, last" in table[4]
    assert table[6].endswith("| 10 | 18 | 28 |")


def test_the_summary_has_a_row_of_ours_for_each_scenario() -> None:
    """Rates beside the limit and the peers, latencies beside the bare loop."""
    rates, latencies = summary(usual()).split("\n\n")
    assert (
        rates.splitlines()[2]
        == "| catch-up-1 | 42 | 0.42 (0.40 to 0.44) | 0.84 (0.80 to 0.88) | 21 (20 to 22) | 23809.5 | 60 |"
    )
    assert latencies.splitlines()[2] == "| latency-1000 | 300 | 1.50 | 900 | 1.50 |"


def test_what_is_sent_at_its_own_pace_shows_no_ratio_of_rates() -> None:
    """Everybody who keeps up has the same."""
    scenario = catch_up({OURS: [10.0], LIMIT: [10.0], SDK: [10.0]}, name="fan-in")
    scenario.ratios.reverse()
    assert summary(run_of(scenario)).splitlines()[2] == "| fan-in | 10 |  |  |  | 100000.0 | 60 |"


def test_a_bar_is_as_long_as_its_ratio_and_its_range_as_what_the_rounds_saw() -> None:
    """Beside a line at 1, on one scale."""
    run = run_of(catch_up({OURS: [40.0, 20.0, 50.0], BEFORE: [20.0] * 3, LIMIT: [100.0] * 3}))
    (ours,), (other,) = drawn(run, "rect", "ours"), drawn(run, "rect", "other")
    (one,), ranges = drawn(run, "line", "one"), drawn(run, "line", "range")
    unit = float(one.attrib["x1"]) - float(ours.attrib["x"])
    assert float(ours.attrib["width"]) == pytest.approx(0.4 * unit, abs=0.2)
    assert float(other.attrib["width"]) == pytest.approx(0.2 * unit, abs=0.2)
    span = float(ranges[0].attrib["x2"]) - float(ranges[0].attrib["x1"])
    assert span == pytest.approx(0.3 * unit, abs=0.2)


def test_both_percentiles_of_a_latency_are_drawn() -> None:
    """Each beside the bare loop's own."""
    run = run_of(latency({OURS: (300.0, 900.0), "bare loop": (200.0, 600.0)}))
    assert len(drawn(run, "rect", "ours")) == 2


def test_a_long_run_is_a_line_through_every_look() -> None:
    """From 0 up, so that what is flat looks flat."""
    lines = drawn(run_of(flat([60.0] * 20)), "polyline", "ours-line")
    assert [len(line.attrib["points"].split()) for line in lines] == [20, 20]  # memory, CPU time
    assert len({point.split(",")[1] for point in lines[0].attrib["points"].split()}) == 1


def test_whatever_a_checkout_is_called_the_picture_is_xml() -> None:
    """Names are text."""
    run = run_of(catch_up({OURS: [1.0], f"{OURS} <&>": [1.0], LIMIT: [2.0]}))
    assert [one.text for one in drawn(run, "text", "other-text")] == [f"{OURS} <&>"]


def test_a_run_without_ratios_is_not_drawn() -> None:
    """An empty picture would look like a good one."""
    with pytest.raises(ValueError, match="nothing to draw"):
        picture(run_of(catch_up({OURS: [1.0]})))
