"""Two runs side by side, and the command that says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.benchmarks.__main__ import main
from tests.benchmarks.contenders import BARE_LOOP, OURS
from tests.benchmarks.report.comparison import Change, compare, comparison_table
from tests.benchmarks.report.results import Ratio, Run
from tests.benchmarks.report.stored import to_json
from tests.support.bench_runs import LIMIT, MACHINE, catch_up, flat, latency, run_of, usual


def rates(ours: list[float], limit: float = 100.0) -> Run:
    """Ours beside a limit."""
    return run_of(catch_up({OURS: ours, LIMIT: [limit] * len(ours)}))


@pytest.mark.parametrize(
    ("before", "now", "change"),
    [
        ([50.0, 51.0, 52.0], [40.0, 41.0, 42.0], Change.WORSE),
        ([40.0, 41.0, 42.0], [50.0, 51.0, 52.0], Change.BETTER),
        ([50.0, 51.0, 52.0], [46.0, 47.0, 48.0], Change.ALIKE),  # apart, but by less than a tenth
        ([38.0, 51.0, 52.0], [40.0, 41.0, 42.0], Change.ALIKE),  # the earlier run has seen as little
        ([50.0, 51.0, 52.0], [40.0, 41.0, 53.0], Change.ALIKE),  # the later one has seen as much
    ],
)
def test_a_ratio_changed_where_each_median_is_a_tenth_off_and_outside_of_what_the_other_run_saw(
    before: list[float], now: list[float], change: Change
) -> None:
    """Everything else is noise."""
    assert [one.change for one in compare(rates(before), rates(now))] == [change]


def test_a_machine_that_is_half_as_fast_changes_nothing() -> None:
    """Ratios are compared, no figure is."""
    slower = rates([25.0, 25.5, 26.0], limit=50.0)
    assert [one.change for one in compare(rates([50.0, 51.0, 52.0]), slower)] == [Change.ALIKE]


def test_more_latency_and_more_cpu_time_are_worse() -> None:
    """Of rates alone more is better."""
    before = run_of(
        catch_up({OURS: [20.0], LIMIT: [100.0], BARE_LOOP: [50.0]}),
        latency({OURS: (200.0, 400.0), BARE_LOOP: (100.0, 200.0)}),
    )
    now = run_of(
        catch_up({OURS: [20.0], LIMIT: [100.0], BARE_LOOP: [80.0]}),
        latency({OURS: (300.0, 200.0), BARE_LOOP: (100.0, 200.0)}),
    )
    assert [(one.ratio.figure, one.change) for one in compare(before, now)] == [
        ("events_per_second", Change.ALIKE),
        ("cpu_us", Change.WORSE),
        ("p50_us", Change.WORSE),
        ("p99_us", Change.BETTER),
    ]


def test_what_only_one_run_measured_is_not_compared() -> None:
    """Neither a scenario nor a peer."""
    assert compare(usual(), run_of(flat([60.0]))) == []
    assert compare(run_of(catch_up({OURS: [1.0]})), usual()) == []


def test_the_bridge_is_not_compared_with_itself() -> None:
    """What others have as a multiple of ours is 1 for ours, in every run."""
    run = usual()
    run.scenarios[0].ratios.append(Ratio(figure="events_per_second", other=OURS))
    assert OURS not in {one.ratio.other for one in compare(run, run)}


def test_the_verdict_names_what_got_worse_and_a_machine_that_is_another() -> None:
    """In the sentence above the table."""
    before, now = rates([50.0]), rates([40.0])
    text = comparison_table(compare(before, now), before, now, "old.json")
    assert "1 of 1 ratios got worse: catch-up-1: events/s × limit." in text  # noqa: RUF001
    assert "machines differ" not in text
    assert "| catch-up-1 | events/s × limit | 0.50 | 0.40 | -20% | WORSE |" in text.splitlines()  # noqa: RUF001
    elsewhere = run_of(*now.scenarios, machine=MACHINE | {"cores": "64"})
    assert "The machines differ (cores)" in comparison_table(compare(before, elsewhere), before, elsewhere, "old.json")


@pytest.mark.parametrize(
    ("ours", "code", "words"),
    [
        ((40.0, 44.0, 42.0), 0, "0 of 4 ratios got worse."),
        ((20.0, 22.0, 21.0), 3, "2 of 4 ratios got worse: catch-up-1: events/s × limit; "),  # noqa: RUF001
    ],
)
def test_the_command_ends_with_3_where_something_got_worse(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], ours: tuple[float, ...], code: int, words: str
) -> None:
    """With the verdict on standard error; the files that were asked for are written all the same."""
    old, new, tables, drawn = (tmp_path / name for name in ("old.json", "new.json", "new.md", "new.svg"))
    old.write_text(to_json(usual()))
    new.write_text(to_json(usual(ours)))
    asked = ["--read", new, "--compare", old, "--markdown", tables, "--picture", drawn]
    assert main([str(one) for one in asked]) == code
    assert words in capsys.readouterr().err
    assert "### Beside old.json" in tables.read_text()
    assert drawn.read_text().startswith("<svg")


def test_a_comparison_of_nothing_does_not_pass_for_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2."""
    old, new = tmp_path / "old.json", tmp_path / "new.json"
    old.write_text(to_json(run_of(flat([60.0]))))
    new.write_text(to_json(usual()))
    assert main(["--read", str(new), "--compare", str(old)]) == 2
    assert "nothing was compared" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--compare", "nowhere.json"], "nowhere.json"),
        (["--compare", "broken.json"], "broken.json: "),
        (["--only", "nonesuch"], "nonesuch"),
        (["--against", "old=."], "--against old=.: no checkout of Lens Bridge there"),
        (["--json", "no/such/folder.json"], "no/such/folder.json"),
        (["--events", "0"], "--events 0: at least 1"),
    ],
)
def test_a_mistake_is_told_before_anything_is_measured(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    words: str,
) -> None:
    """In a line, with exit code 2."""
    monkeypatch.chdir(tmp_path)
    Path("broken.json").write_text("{")
    assert main(arguments) == 2
    told = capsys.readouterr()
    assert words in told.err
    assert told.err.count("\n") == 1
    assert told.out == ""
