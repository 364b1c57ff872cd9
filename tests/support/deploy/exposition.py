"""Which series a worker shows, as Prometheus names them."""

from __future__ import annotations

from functools import cache

from prometheus_client.parser import text_string_to_metric_families

from bridge.model.place import Session
from bridge.telemetry.metrics import Metrics
from bridge.telemetry.status import WorkerStatus

__all__ = ["labels_of", "series_names"]

_FROM_PROMETHEUS = {"instance", "job", "namespace", "le"}


@cache
def _page() -> str:
    worker = WorkerStatus(worker_id="w", version="1")
    worker.session(Session(name="camera-1", session_id="lsn-1"), "key").groups = {"detector": (1, 1)}
    return Metrics(worker).render()[0].decode()


def series_names() -> set[str]:
    """Every series a worker has: its own, and the standard ones of its process."""
    return {sample.name for family in text_string_to_metric_families(_page()) for sample in family.samples}


def labels_of() -> dict[str, set[str]]:
    """The labels that each series may have once Prometheus has scraped it."""
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(_page()):
        for sample in family.samples:
            found.setdefault(sample.name, set(_FROM_PROMETHEUS)).update(sample.labels)
    return found
