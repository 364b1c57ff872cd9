"""The two text formats that Prometheus reads, written straight from numbers. Pure.

prometheus_client makes an object of each sample and sorts its labels each time: for the 110,000 series of a thousand
sessions that takes seconds. Formats: Prometheus text 0.0.4 and OpenMetrics 1.0.0; they differ in the names of a
counter's and an info's metadata, and in the end.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from itertools import accumulate, islice
from typing import Protocol

__all__ = ["Distribution", "Exposition", "Kind", "labels_of"]


class Kind(StrEnum):
    """The type of a family."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"
    INFO = "info"


_SLICE_LINES, _SLICE_HISTOGRAMS = 250, 20  # some tenths of a millisecond
_SUFFIXES = {Kind.COUNTER: "_total", Kind.INFO: "_info"}


class Distribution(Protocol):
    """A histogram: ``counts`` has one more than ``bounds``, for what is above every bound."""

    @property
    def bounds(self) -> tuple[float, ...]: ...
    @property
    def counts(self) -> list[int]: ...
    @property
    def total(self) -> float: ...


def labels_of(labels: Mapping[str, str]) -> str:
    """The inside of the braces. Values are escaped; names must be valid."""
    return ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())


class Exposition:
    """One page, in slices: a piece of text for every few hundred samples, so that who writes it can do others' work in
    between. ``labels`` are texts as `labels_of` makes them; a family's samples must come at once.
    """

    def __init__(self, *, openmetrics: bool) -> None:
        self._openmetrics = openmetrics

    def add(self, kind: Kind, name: str, text: str, samples: Iterable[tuple[str, float]]) -> Iterator[str]:
        """A family without a label of its own. The name of a counter comes without ``_total``."""
        full, head = self._head(kind, name, text)
        lines = (f"{full}{{{labels}}} {value}\n" if labels else f"{full} {value}\n" for labels, value in samples)
        return _sliced(head, lines)

    def add_labelled(
        self, kind: Kind, name: str, text: str, label: str, samples: Iterable[tuple[str, Mapping[str, float]]]
    ) -> Iterator[str]:
        """A family that has a number for each value of ``label``."""
        full, head = self._head(kind, name, text)
        ends: dict[str, str] = {}  # the same few values in every session

        def lines() -> Iterator[str]:
            for labels, numbers in samples:
                start = f"{full}{{{labels},"
                for value, number in numbers.items():
                    if (end := ends.get(value)) is None:
                        end = ends[value] = f"{labels_of({label: value})}}} "
                    yield f"{start}{end}{number}\n"

        return _sliced(head, lines())

    def add_histogram(self, name: str, text: str, samples: Iterable[tuple[str, Distribution]]) -> Iterator[str]:
        """A family of histograms that all have the same bounds."""
        full, head = self._head(Kind.HISTOGRAM, name, text)

        def lines() -> Iterator[str]:
            ends: list[str] = []
            for labels, one in samples:
                ends = ends or [f'le="{bound}"}} ' for bound in (*map(float, one.bounds), "+Inf")]
                start = f"{full}_bucket{{{labels}{',' if labels else ''}"
                counts = list(accumulate(one.counts))
                braces = f"{{{labels}}}" if labels else ""
                whole = [f"{start}{end}{count}\n" for end, count in zip(ends, counts, strict=True)]
                whole.append(f"{full}_count{braces} {counts[-1]}\n{full}_sum{braces} {one.total}\n")
                yield "".join(whole)  # at once, since nothing may be observed between its lines

        return _sliced(head, lines(), _SLICE_HISTOGRAMS)

    def _head(self, kind: Kind, name: str, text: str) -> tuple[str, str]:
        """The name of the samples, and the metadata. ``text`` is ours: one line without quotes and backslashes."""
        full = name + _SUFFIXES.get(kind, "")
        shown, shown_kind = (name, kind) if self._openmetrics else (full, Kind.GAUGE if kind is Kind.INFO else kind)
        return full, f"# HELP {shown} {text}\n# TYPE {shown} {shown_kind}\n"


def _sliced(head: str, lines: Iterator[str], size: int = _SLICE_LINES) -> Iterator[str]:
    yield head
    while part := "".join(islice(lines, size)):
        yield part


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
