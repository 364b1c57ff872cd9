"""Expressions that more than one dashboard shows."""

from __future__ import annotations

from grafana import BLUE, GREEN, GREY, ORANGE, PURPLE, RED, SELECTOR, YELLOW, State

SESSION_STATES: tuple[State, ...] = (
    (0, "standby or on its way", GREY),
    (1, "standby", GREY),
    (2, "ended", "#5a6b8c"),
    (3, "paused", PURPLE),
    (4, "gone", ORANGE),
    (5, "connecting", BLUE),
    (6, "waiting", YELLOW),
    (7, "streaming", GREEN),
    (8, "backpressured", "#d0a400"),
    (9, "cursor_lost", "#ff7383"),
    (10, "unauthorized", RED),
    (11, "failed", "#9c1127"),
)
"""Where workers differ about a session, the highest number is right: an owner knows more than a standby. 0 is for
what a worker with many sessions does not tell apart (`metrics.detail`)."""

PROMISES: tuple[tuple[str, str, str], ...] = (
    ("gaps", "gaps_total", "reason"),
    ("rollbacks", "rollbacks_total", ""),
    ("replay overruns", "replay_overruns_total", ""),
    ("reused ids", "id_conflicts_total", ""),
    ("dead letters", "dead_letters_total", "reason"),
    ("fences", "fenced_total", ""),
)
"""What may hurt the promise of once, all, in order: a name, the counter, and the label that says why."""


def of_worker(metric: str) -> str:
    """A standard ``process_*`` metric, of the bridge's workers only."""
    return f'({metric}{{job=~"$job"}} and on (job, instance) lens_bridge_build_info)'


def session(metric: str, *matchers: str) -> str:
    """A metric of the chosen sessions."""
    return f"lens_bridge_{metric}{{{', '.join((SELECTOR, *matchers))}}}"


def rate(metric: str, *matchers: str, by: str = "") -> str:
    """Per second, summed, by one label or none."""
    grouping = f"by ({by}) " if by else ""
    return f"sum {grouping}(rate({session(metric, *matchers)}[$__rate_interval]))"


def counted(metric: str, *, by: str = "") -> str:
    """How many about each point of the graph: the last value less the one before, or all of it where that was less.

    Not increase(): that knows nothing of what was counted before a new worker's first scrape, or while a worker could
    not be scraped, and a fence is counted just then.
    """
    grouping = f"by ({by}) " if by else ""
    now = f"last_over_time({session(metric)}[$__rate_interval])"
    before = f"last_over_time({session(metric)}[1h] offset $__rate_interval)"
    return f"sum {grouping}({now} - {before} >= 0 or {now})"


def in_range(metric: str) -> str:
    """How many in the whole time shown, with all that a new worker has counted; 0 where there was none."""
    of = session(metric)
    new = f"{of} unless last_over_time({of}[1h] offset $__range)"
    return f"round(sum(({new}) or increase({of}[$__range])) or vector(0))"


def session_state(by: str = "stream") -> str:
    """The state as its number in SESSION_STATES."""
    numbered = [session("session_state", f'state="{name}"') + f" * {number}" for number, name, _ in SESSION_STATES[1:]]
    return f"max by ({by}) ({' or '.join(numbered)})"


def quantile(metric: str, share: float, selector: str = SELECTOR) -> str:
    """A quantile of a histogram, over all that is chosen."""
    return (
        f"histogram_quantile({share}, sum by (le) (rate(lens_bridge_{metric}_bucket{{{selector}}}[$__rate_interval])))"
    )


def spread(metric: str, selector: str = SELECTOR) -> str:
    """A histogram's buckets for a heatmap."""
    return f"sum by (le) (increase(lens_bridge_{metric}_bucket{{{selector}}}[$__rate_interval]))"


def age(metric: str, by: str = "stream") -> str:
    """Seconds since the newest of the timestamps; nothing for what has not happened yet."""
    return f"time() - max by ({by}) ({session(metric)} > 0)"
