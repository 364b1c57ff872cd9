"""Values that are taken back: a later file, or `--set NAME=null`, may say that there is none."""

from __future__ import annotations

import re

import pytest
import yaml

from tests.deploy.chart import MINIMAL, ValuesError, render, with_values
from tests.deploy.chart_values import documented_values
from tests.support.deploy.needs import need_module

PATHS = sorted({one.path.rsplit(".", n)[0] for one in documented_values() for n in range(one.path.count(".") + 1)})


@pytest.mark.parametrize("path", PATHS)
def test_a_null_takes_a_value_back_or_is_refused_by_its_name(path: str) -> None:
    """`--set NAME=null`: what can be without is without, valid for Kubernetes; the rest is one line, no trace."""
    validator = need_module("kubernetes_validate.utils", "kubernetes-validate")
    try:
        release = render(with_values(**{path.replace(".", "__"): None}))
    except ValuesError as refused:
        (line,) = str(refused).splitlines()
        assert re.search(rf"(^|[ :]){re.escape(path)}( to |: )", line), line
        assert "nil pointer" not in line
        return
    for one in release.manifests:
        validator.validate(one, "1.28", strict=True)


def test_an_optional_list_may_be_set_to_nothing() -> None:
    """A later values file may take back what an earlier one set."""
    names = (
        "sessions",
        "extraEnv",
        "envFrom",
        "extraVolumes",
        "extraVolumeMounts",
        "initContainers",
        "extraContainers",
        "hostAliases",
        "lifecycle",
        "dnsConfig",
    )
    release = render(MINIMAL | dict.fromkeys(names))
    assert yaml.safe_load(release.settings_file)["sessions"] == []
