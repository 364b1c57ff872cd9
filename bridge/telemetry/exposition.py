"""The two text formats that Prometheus reads, written straight from numbers. Pure.

prometheus_client makes an object of each sample and sorts its labels each time: for the 110,000 series of a thousand
sessions that takes seconds, in which the event loop gets the interpreter only now and then. Formats: Prometheus text
0.0.4 and OpenMetrics 1.0.0; they differ in the names of a counter's and an info's metadata, and in the end.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from itertools import accumulate
from typing import Protocol

__all__ = ["Distribution", "Exposition", "Kind", "labels_of"]


class Kind(StrEnum):
    """The type of a family."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"
    INFO = "info"


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
    """One page. ``labels`` are texts as `labels_of` makes them; a family's samples must come at once."""

    def __init__(self, *, openmetrics: bool) -> None:
        self._openmetrics = openmetrics
        self._parts: list[str] = []

    def add(self, kind: Kind, name: str, text: str, samples: Iterable[tuple[str, float]]) -> None:
        """A family without a label of its own. The name of a counter comes without ``_total``."""
        full = self._head(kind, name, text)
        self._parts += [f"{full}{{{labels}}} {value}\n" if labels else f"{full} {value}\n" for labels, value in samples]

    def add_labelled(
        self, kind: Kind, name: str, text: str, label: str, samples: Iterable[tuple[str, Mapping[str, float]]]
    ) -> None:
        """A family that has a number for each value of ``label``."""
        full = self._head(kind, name, text)
        ends: dict[str, str] = {}  # the same few values in every session
        for labels, numbers in samples:
            start = f"{full}{{{labels},"
            for value, number in numbers.items():
                if (end := ends.get(value)) is None:
                    end = ends[value] = f"{labels_of({label: value})}}} "
                self._parts.append(f"{start}{end}{number}\n")

    def add_histogram(self, name: str, text: str, samples: Iterable[tuple[str, Distribution]]) -> None:
        """A family of histograms that all have the same bounds."""
        full = self._head(Kind.HISTOGRAM, name, text)
        ends: list[str] = []
        for labels, one in samples:
            ends = ends or [f'le="{bound}"}} ' for bound in (*map(float, one.bounds), "+Inf")]
            start = f"{full}_bucket{{{labels}{',' if labels else ''}"
            counts = list(accumulate(one.counts))
            self._parts += [f"{start}{end}{count}\n" for end, count in zip(ends, counts, strict=True)]
            braces = f"{{{labels}}}" if labels else ""
            self._parts.append(f"{full}_count{braces} {counts[-1]}\n{full}_sum{braces} {one.total}\n")

    def text(self) -> str:
        """The page so far, without the end that OpenMetrics wants."""
        return "".join(self._parts)

    def _head(self, kind: Kind, name: str, text: str) -> str:
        """The metadata; gives the name of the samples. ``text`` is ours: one line without quotes and backslashes."""
        full = name + _SUFFIXES.get(kind, "")
        shown, shown_kind = (name, kind) if self._openmetrics else (full, Kind.GAUGE if kind is Kind.INFO else kind)
        self._parts.append(f"# HELP {shown} {text}\n# TYPE {shown} {shown_kind}\n")
        return full


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
