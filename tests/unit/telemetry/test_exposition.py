"""The text that Prometheus reads, read back by the parsers of its own client."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as _parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from bridge.telemetry.exposition import Exposition, Kind, labels_of
from bridge.telemetry.figures import Histogram

parse_openmetrics: Callable[[str], Iterable[Metric]] = _parse_openmetrics  # without annotations of its own

LABEL_VALUES = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
NUMBERS = st.integers(0, 1 << 53) | st.floats(0, 1e300)


def both(fill: Callable[[Exposition], Iterable[str]]) -> list[list[Metric]]:
    """The families of the same page in each format."""
    text, newer = ("".join(fill(Exposition(openmetrics=openmetrics))) for openmetrics in (False, True))
    return [list(parse_text(text)), list(parse_openmetrics(newer + "# EOF\n"))]


def samples(families: list[Metric]) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """All samples by name and labels."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


@given(given=st.dictionaries(LABEL_VALUES, st.dictionaries(LABEL_VALUES, NUMBERS, max_size=3), max_size=4))
def test_every_text_and_number_comes_back(given: dict[str, dict[str, float]]) -> None:
    """The name of a consumer group is whatever a stranger chose."""

    def fill(page: Exposition) -> Iterator[str]:
        rows = [(labels_of({"stream": name}), numbers) for name, numbers in given.items()]
        return page.add_labelled(Kind.GAUGE, "group_lag", "What they have not read.", "group", rows)

    for families in both(fill):
        assert samples(families) == {
            ("group_lag", frozenset({("stream", name), ("group", group)})): float(number)
            for name, numbers in given.items()
            for group, number in numbers.items()
        }


@given(st.lists(st.floats(-1, 100), max_size=20))
def test_a_histogram_comes_back_as_cumulative_buckets(observed: list[float]) -> None:
    """With sum and count; with labels and without."""
    histogram = Histogram((0.1, 1.0, 10.0))
    for value in observed:
        histogram.observe(value)

    def fill(page: Exposition) -> Iterator[str]:
        rows = [('stream="a"', histogram), ('stream="b"', histogram)]
        return chain(
            page.add_histogram("plain_seconds", "Without labels.", [("", histogram)]),
            page.add_histogram("labelled_seconds", "With one.", rows),
        )

    for families in both(fill):
        assert [family.type for family in families] == ["histogram", "histogram"]
        found = samples(families)
        for name, labels in (("plain", {}), ("labelled", {"stream": "a"}), ("labelled", {"stream": "b"})):
            for bound in (0.1, 1.0, 10.0):
                key = (f"{name}_seconds_bucket", frozenset({**labels, "le": str(bound)}.items()))
                assert found[key] == sum(value <= bound for value in observed)
            assert found[f"{name}_seconds_bucket", frozenset({**labels, "le": "+Inf"}.items())] == len(observed)
            assert found[f"{name}_seconds_count", frozenset(labels.items())] == len(observed)
            total = found[f"{name}_seconds_sum", frozenset(labels.items())]
            assert total == pytest.approx(sum(max(value, 0) for value in observed))


def test_each_kind_has_the_metadata_of_its_format() -> None:
    """A counter is named without its suffix in the one, with it in the other; an info is a gauge in the older one."""

    def fill(page: Exposition) -> Iterator[str]:
        return chain(
            page.add(Kind.COUNTER, "events", "What came.", [("", 3)]),
            page.add(Kind.INFO, "build", "What runs.", [(labels_of({"version": "1"}), 1)]),
        )

    text, newer = both(fill)
    assert [(family.name, family.type) for family in text] == [("events", "counter"), ("build_info", "gauge")]
    assert [(family.name, family.type) for family in newer] == [("events", "counter"), ("build", "info")]
    assert samples(text) == samples(newer)
    assert [family.documentation for family in newer] == [family.documentation for family in text]


def test_a_page_comes_in_slices_of_some_hundred_samples() -> None:
    """Who writes it has others to serve in between; nothing is rendered before its slice is asked for."""
    histogram, asked = Histogram((0.1, 1.0)), []

    def sessions() -> Iterator[str]:
        for number in range(2000):
            asked.append(number)
            yield f'stream="{number}"'

    page = Exposition(openmetrics=False)
    for slices in (
        page.add(Kind.GAUGE, "plain", "A number.", ((labels, 1) for labels in sessions())),
        page.add_labelled(Kind.GAUGE, "labelled", "Two.", "of", ((labels, {"a": 1, "b": 2}) for labels in sessions())),
        page.add_histogram("spread_seconds", "Many.", ((labels, histogram) for labels in sessions())),
    ):
        asked.clear()
        next(slices)
        assert asked == [], "the metadata comes first"
        sizes = [part.count("\n") for part in slices]
        assert max(sizes) <= 250
        assert len(asked) == 2000
