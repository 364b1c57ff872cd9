"""The tool behind `make mutants`: what becomes of one change, in a copy of the project."""

from __future__ import annotations

from pathlib import Path

from tests.mutants.change import Change
from tests.mutants.python_source import python_changes
from tests.mutants.trial import PROJECT, Copy, Verdict


def test_a_change_is_tried_in_the_copy_alone(tmp_path: Path) -> None:
    """One that is noticed, and one that nothing can notice; the tree and the copy stay as they were."""
    path = Path("bridge/backoff.py")
    source = (PROJECT / path).read_bytes()
    copy = Copy(tmp_path)
    change = next(one for one in python_changes(path, source) if "return None" in one.words)
    assert copy.try_out(change) is Verdict.UNIT
    in_a_comment = Change(path=path, start=len(source), end=len(source), new=b"# x\n", line=1, words="")
    assert copy.try_out(in_a_comment) is Verdict.SURVIVED
    assert (PROJECT / path).read_bytes() == source == (tmp_path / path).read_bytes()
