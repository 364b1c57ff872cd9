"""Renders the chart with the real Helm engine."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from tests.deploy.chart_values import CHART
from tests.support.deploy.needs import need_module

__all__ = ["EXAMPLES", "MINIMAL", "Release", "ValuesError", "lint", "render", "with_values"]

EXAMPLES = sorted((CHART / "ci").glob("*.yaml"))
MINIMAL: dict[str, Any] = yaml.safe_load((CHART / "ci" / "minimal.yaml").read_text())

Manifest = dict[str, Any]


class ValuesError(Exception):
    """Helm refused the values; the text is what a user reads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """What an installation would create."""

    manifests: tuple[Manifest, ...]
    notes: str

    def all(self, kind: str) -> list[Manifest]:
        """The objects of a kind."""
        return [one for one in self.manifests if one["kind"] == kind]

    def one(self, kind: str) -> Manifest:
        """The only object of a kind."""
        (found,) = self.all(kind)
        return found

    @property
    def worker(self) -> Manifest:
        """The pod template of the workers."""
        return self._pods_of("worker")

    @property
    def serve(self) -> Manifest:
        """The pod template of `serve`."""
        return self._pods_of("serve")

    def _pods_of(self, component: str) -> Manifest:
        (found,) = (
            one["spec"]["template"]
            for one in self.all("Deployment")
            if one["metadata"]["labels"]["app.kubernetes.io/component"] == component
        )
        template: Manifest = found
        return template

    @property
    def settings_file(self) -> str:
        """The configuration file of the workers."""
        (found,) = (one["data"]["bridge.yaml"] for one in self.all("ConfigMap") if "bridge.yaml" in one["data"])
        return str(found)

    def pods(self) -> Iterator[Manifest]:
        """Every pod that would run, with its `spec`."""
        yield from self.all("Pod")
        for kind in ("Deployment", "StatefulSet"):
            yield from (one["spec"]["template"] for one in self.all(kind))

    def ids(self) -> list[tuple[str, str]]:
        """Kind and name of every object."""
        return [(one["kind"], one["metadata"]["name"]) for one in self.manifests]


def render(values: Mapping[str, Any] = MINIMAL, *, name: str = "lens-bridge", namespace: str = "streams") -> Release:
    """Install without a cluster. Raises ValuesError."""
    helm = need_module("helm_python", "helm-python-sdk")
    with helm.Chart.load(CHART) as chart:
        try:
            chart.validate_schema(dict(values))
            files = chart.render(dict(values), name=name, namespace=namespace)
        except helm.HelmError as error:
            raise ValuesError(str(error)) from error
    notes = "".join(text for path, text in files.items() if path.endswith("NOTES.txt"))
    manifests = tuple(
        one
        for path, text in sorted(files.items())
        if path.endswith(".yaml")
        for one in yaml.safe_load_all(text)
        if one is not None
    )
    return Release(manifests=manifests, notes=notes)


def lint(values: Mapping[str, Any] | None = None) -> list[str]:
    """What `helm lint --strict` objects to."""
    helm = need_module("helm_python", "helm-python-sdk")
    report = helm.lint(CHART, None if values is None else dict(values), strict=True)
    return [*report["errors"], *(one["error"] for one in report["messages"] if one["severity"] >= 2)]


def with_values(**changes: Any) -> dict[str, Any]:
    """The minimal values and these; a double underscore goes down a level: ``redis__url=…``."""
    values = copy.deepcopy(MINIMAL)
    for path, value in changes.items():
        *sections, name = path.split("__")
        place = values
        for section in sections:
            place = place.setdefault(section, {})
        place[name] = value
    return values
