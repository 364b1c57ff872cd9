"""`config/asyncapi.yaml` before AsyncAPI's own validator. It sees no examples: `tests/unit/contract` does."""

from __future__ import annotations

import copy
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.contract import ASYNCAPI_FILE
from tests.support.deploy.needs import need_program, need_variable

VALIDATOR = """
const { Parser } = require("@asyncapi/parser");
const text = require("node:fs").readFileSync(0, "utf8");
new Parser().parse(text).then(({ document, diagnostics }) =>
  console.log(JSON.stringify({ whole: !!document, told: diagnostics.map((one) => one.message) })));
"""


@pytest.fixture(scope="module")
def validate() -> Callable[[str], tuple[bool, list[str]]]:
    """Whether a document is one, and all that is told of it: errors, warnings, hints."""
    node = need_program("node")
    where = Path(need_variable("BRIDGE_TEST_ASYNCAPI", "a directory into which @asyncapi/parser was installed by npm"))

    def ask(text: str) -> tuple[bool, list[str]]:
        done = subprocess.run(
            [node, "-e", VALIDATOR], input=text, cwd=where, capture_output=True, text=True, timeout=100, check=False,
            env={**os.environ, "NODE_PATH": str(where / "node_modules")},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        answer = json.loads(done.stdout)
        return answer["whole"], answer["told"]

    return ask


def test_nothing_is_said_against_the_document(validate: Callable[[str], tuple[bool, list[str]]]) -> None:
    """As it stands; and for tools that know no version behind 3.0, but that there is one."""
    text = ASYNCAPI_FILE.read_text()
    assert validate(text) == (True, [])
    whole, (told,) = validate(text.replace("asyncapi: 3.1.0", "asyncapi: 3.0.0"))
    assert whole
    assert "latest version" in told


def test_the_validator_can_say_no(validate: Callable[[str], tuple[bool, list[str]]]) -> None:
    """To a schema that is none, a reference to nothing, and an address without its parameter."""
    document = yaml.safe_load(ASYNCAPI_FILE.read_text())

    def told(change: Callable[[Any], object]) -> list[str]:
        changed = copy.deepcopy(document)
        change(changed)
        return validate(yaml.safe_dump(changed))[1]

    assert told(lambda one: one["components"]["schemas"]["event"].update(required="id"))
    assert told(lambda one: one["components"]["schemas"].pop("sessionName"))
    assert told(lambda one: one["channels"]["events"]["parameters"].clear())
