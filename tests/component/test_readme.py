"""The README stays a page. What it shows is run: its consumer by tests/acceptance/test_readme_consumer.py."""

from __future__ import annotations

from pathlib import Path

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


def test_it_stays_readable_in_one_sitting() -> None:
    """Under 420 lines, a tenth of them about which Redis."""
    assert len(README.splitlines()) < 420


def test_it_counts_the_alerts_right() -> None:
    """The number is in the README; the rules grow."""
    rules = (Path(__file__).parents[2] / "helm" / "alerts" / "rules.yaml").read_text(encoding="utf-8")
    assert f"brings {rules.count('- alert: ')} alerts" in README
