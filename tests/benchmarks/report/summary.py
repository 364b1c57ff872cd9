"""A run in two tables, for who reads one page."""

from __future__ import annotations

from collections.abc import Sequence

from tests.benchmarks.contenders import BARE_LOOP, SDK, limit_name
from tests.benchmarks.report.results import FIGURES, Ratio, Run, Scenario, Spread
from tests.benchmarks.report.table import markdown, spread_text

_LIMIT = limit_name(1000)


def summary(run: Run) -> str:
    """Empty where no scenario has anything to say of the bridge."""
    ours = [one for one in run.scenarios if run.ours in one.rows]
    rates = [one for one in ours if one.spread(run.ours, "p50_us") is None]
    return "\n".join(filter(None, [_rates(run, rates), _latencies(run, [one for one in ours if one not in rates])]))


def _rates(run: Run, scenarios: Sequence[Scenario]) -> str:
    if not scenarios:
        return ""
    head = ["", "events/s", "× limit", "× bare loop", "× SDK reader", "worker CPU µs/event", "RSS MiB"]  # noqa: RUF001
    rows = [
        [
            one.title,
            _figure(one.spread(run.ours, "events_per_second"), "events_per_second"),
            *(_ratio(run, one, "events_per_second", other) for other in (_LIMIT, BARE_LOOP, SDK)),
            _figure(one.spread(run.ours, "cpu_us"), "cpu_us"),
            _figure(one.spread(run.ours, "rss_mib"), "rss_mib"),
        ]
        for one in scenarios
    ]
    return markdown(head, rows)


def _latencies(run: Run, scenarios: Sequence[Scenario]) -> str:
    if not scenarios:
        return ""
    head = ["", "p50 µs", "× bare loop", "p99 µs", "× bare loop"]  # noqa: RUF001
    rows = [
        [one.title]
        + [
            cell
            for figure in ("p50_us", "p99_us")
            for cell in (_figure(one.spread(run.ours, figure), figure), _ratio(run, one, figure, BARE_LOOP))
        ]
        for one in scenarios
    ]
    return markdown(head, rows)


def _figure(spread: Spread | None, figure: str) -> str:
    return "" if spread is None else format(spread.median, FIGURES[figure].form)


def _ratio(run: Run, scenario: Scenario, figure: str, other: str) -> str:
    """Of what is sent at its own pace no rate is compared."""
    paced = scenario.ratios[0].figure != figure and figure == "events_per_second"
    spread = None if paced else scenario.ratio(run.ours, Ratio(figure=figure, other=other))
    return "" if spread is None else spread_text(spread, ".2f" if spread.median < 10 else ".0f")
