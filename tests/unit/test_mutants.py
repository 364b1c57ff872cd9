"""The tool behind `make mutants`: which changes it finds."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.mutants.__main__ import main
from tests.mutants.lua_source import lua_changes
from tests.mutants.python_source import python_changes
from tests.mutants.trial import PROJECT

MODULE = Path("bridge/delivery/module.py")
SCRIPT = Path("bridge/store/scripts/script.lua")
REPLAY = "bridge/delivery/replay.py"


def changed(source: str) -> list[str]:
    """The texts that come of a module by one change each."""
    return [change.apply(source.encode()).decode() for change in python_changes(MODULE, source.encode())]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("a < b", {"a <= b", "a >= b"}),
        ("(a) is (  # why\n not None)", {"(a) is not (  # why\n not None)", "(a) is (  # why\n  None)"}),
        ("a not in b", {"a in b"}),
        ("a + b // c", {"a - b // c", "a + b * c"}),
        ("a and b or c", {"a or b or c", "a and b and c"}),
        ("x = 0", {"x = 1"}),
        ("x = 3, True, 'é', b''", {"x = 4, True, 'é', b''", "x = 2, True, 'é', b''"}),
        ("x = 1.5", {"x = 4.0"}),
        ("x = -y", {"x = +y"}),
        ("min(a)", {"max(a)"}),
        ("@one\n@two(3)\ndef f(): ...", {"\n@two(3)\ndef f(): ...", "@one\n\ndef f(): ..."}),
        ("def f():\n    self.x = y", {"def f():\n    pass"}),
        ("def f():\n    return x", {"def f():\n    return None"}),
        ("def f():\n    raise x", {"def f():\n    pass"}),
        ("x = a if b else c", {"x = a if (not (b)) else c"}),
        ("for a in b:\n    break", {"for a in b:\n    continue"}),
    ],
)
def test_a_change_of_python_is_one_change(source: str, expected: set[str]) -> None:
    """Each kind of change, where it stands."""
    assert expected <= set(changed(source))


@pytest.mark.parametrize(
    "source",
    [
        '"""Words."""',
        "__all__ = ['x']",
        "x: int | None",
        "def f(x: int | None) -> int | None: ...",
        "assert x == 1",
        "import x",
        "log.info('x', y=1)",
        "x = 'a sentence'",
        "x = f'{y + 1}'",
        "class X(Protocol):\n    def f(self): return 1",
        "def __init__(self):\n    self.x = y",
    ],
)
def test_what_does_nothing_or_only_says_something_is_left_alone(source: str) -> None:
    """Survivors that nobody would write a test for hide the others."""
    assert changed(source) == []


def test_a_change_of_lua_is_one_change() -> None:
    """Operators, constants, words and statements; never a comment."""
    source = "-- 1 == 2\nif a == 1 and not b then return 'X' end\nredis.call('DEL',\n  KEYS[2])\n"
    texts = {change.apply(source.encode()).decode() for change in lua_changes(SCRIPT, source.encode())}
    first, call = "if a == 1 and not b then return 'X' end\n", "redis.call('DEL',\n  KEYS[2])\n"
    assert {text.removeprefix("-- 1 == 2\n") for text in texts} == {
        "\n" + call,
        first.replace("==", "~=") + call,
        first.replace("1", "0") + call,
        first.replace("1", "2") + call,
        first.replace("and", "or") + call,
        first.replace("not", "") + call,
        first.replace("'X'", "''") + call,
        first + "\n",
        first + call.replace("'DEL'", "''"),
        first + call.replace("2", "1"),
        first + call.replace("2", "3"),
    }


def test_every_change_of_a_module_can_be_parsed_and_changes_something() -> None:
    """A change that fails to compile is noticed by everything, and proves nothing."""
    path = PROJECT / REPLAY
    source = path.read_bytes()
    found = python_changes(path, source)
    assert len(found) > 30
    for change in found:
        assert ast.dump(ast.parse(change.apply(source))) != ast.dump(ast.parse(source)), change


def test_the_same_seed_takes_the_same_sample(capsys: pytest.CaptureFixture[str]) -> None:
    """So that a survivor can be tried again when its test is written."""
    said = []
    for seed in ("4", "4", "5"):
        assert main([REPLAY, "--sample", "9", "--seed", seed, "--list"]) == 0
        said.append(capsys.readouterr().out.splitlines()[1:])
    assert len(said[0]) == 9
    assert said[0] == said[1] != said[2]


@pytest.mark.parametrize("path", ["bridge/none.py", "tests", "/etc"])
def test_only_the_bridge_is_changed(path: str) -> None:
    """A mistyped name is told."""
    with pytest.raises(SystemExit, match="no module, script or folder of bridge/"):
        main([path])
