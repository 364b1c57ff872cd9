"""What the example's README says of `serve` is what there is."""

from __future__ import annotations

import re
from pathlib import Path

from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_of
from prometheus_client.parser import text_string_to_metric_families as families_of

from bridge.serve.figures import Ending, Figures, Refusal, exposition
from bridge.serve.places import HoleReason
from bridge.serve.wishes import WishError, wish_of

README = (Path(__file__).parents[3] / "config" / "examples" / "browser" / "README.md").read_text(encoding="utf-8")


def _figures() -> Figures:
    figures = Figures(version="1")
    figures.of('cam"era')
    return figures


def test_every_metric_is_there_with_its_labels_and_no_other() -> None:
    """As Prometheus reads them, in both of its formats."""
    told = dict(re.findall(r"^\| `(lens_bridge_serve_\w+)(?:\{([\w,]+)\})?`", README, re.MULTILINE))
    for read, openmetrics in ((families_of, False), (openmetrics_of, True)):
        page = "".join(exposition(_figures(), openmetrics=openmetrics))
        found = {one.name: ",".join(one.labels) for family in read(page) for one in family.samples}
        assert found == told


def test_every_reason_is_explained() -> None:
    """Those of holes, of ends and of refusals."""
    for reason in (*HoleReason, *Ending, *Refusal):
        assert f"`{reason}`" in README, reason


def test_every_parameter_is_explained() -> None:
    """The refusal of an unknown one lists them all."""
    try:
        wish_of([("?", "")], None, None)
    except WishError as error:
        names = str(error).rpartition("there are ")[2].split(", ")
    assert sorted(re.findall(r"^\| `([a-z_]+)` \|", README.partition("## What is promised")[0], re.MULTILINE)) == names
