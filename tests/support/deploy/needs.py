"""What a test needs and this machine may not have: a reason to skip, but never in CI."""

from __future__ import annotations

import importlib
import os
import shutil
import sys
from types import ModuleType

import pytest

__all__ = ["need_module", "need_program", "need_root", "need_variable", "without"]

CI_VARIABLE = "BRIDGE_TEST_CI"


def need_module(name: str, package: str) -> ModuleType:
    """The module, or the test is skipped with the name of the package to install."""
    try:
        return importlib.import_module(name)
    except ImportError:
        without(f"needs the Python package {package}")
        raise


def need_program(name: str) -> str:
    """The path of a program on the PATH or beside this Python; the test is skipped where there is none."""
    found = shutil.which(name) or shutil.which(name, path=os.path.dirname(sys.executable))
    if found is None:
        without(f"needs {name}")
    assert found
    return found


def need_variable(name: str, what: str) -> str:
    """The value of an environment variable; the test is skipped where it names nothing."""
    value = os.environ.get(name, "")
    if not value:
        without(f"needs {what}: {name} names it")
    return value


def need_root() -> None:
    """Making containers here takes root."""
    if os.geteuid() != 0:
        without("needs root")


def without(what: str) -> None:
    """Skip the test for want of it; in CI, fail."""
    if os.environ.get(CI_VARIABLE) == "1":
        pytest.fail(f"{what}; {CI_VARIABLE}=1 says that it is there", pytrace=False)
    pytest.skip(what)
