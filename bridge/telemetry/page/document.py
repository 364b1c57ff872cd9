"""The page: first whether anybody is needed, then who reads what, then each session, the worst first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from html import escape

from bridge.model.labels import SessionState
from bridge.telemetry.page.assets import REFRESH_SECONDS, SCRIPT, STYLE
from bridge.telemetry.page.sessions import heading, refused_row, row_of, wide
from bridge.telemetry.page.words import ORDER, chip, clock, number, span, tone_of, what_to_do, words_of
from bridge.telemetry.page.workers import fleet_of
from bridge.telemetry.status import CONFIGURED, Survey, WorkerStatus

__all__ = ["page_slices"]

_ROWS = 250  # enough for whoever looks for trouble, and light; `?all` shows all
_ROWS_IN_A_SLICE = 10  # less than a millisecond


def page_slices(status: WorkerStatus, rates: Mapping[str, float], now: float, *, every: bool = False) -> Iterator[str]:
    """The page in pieces that take about a millisecond each, so that others can have their turn in between.

    ``now`` is Unix seconds; ``every``: with a row for each session, however many there are.
    """
    survey = yield from status.survey()
    yield _head(status, survey, now)
    yield f"<table>\n{heading()}\n"
    for one in list(status.refused())[:_ROWS]:
        yield refused_row(one)
    origins = status.origins()
    total, left = len(status.sessions), len(status.sessions) if every else _ROWS
    for state in ORDER:
        rows = sorted(survey.states.get(state, ()), key=lambda one: one.session.name)[:left]
        left -= len(rows)
        for at in range(0, len(rows), _ROWS_IN_A_SLICE):
            part = rows[at : at + _ROWS_IN_A_SLICE]
            yield "".join(
                row_of(one, rates.get(one.session.name), now, origins.get(one.session.name, CONFIGURED)) for one in part
            )
    if not every and total > _ROWS:
        more = number(total - _ROWS, "more session")
        yield wide(f'{more}, none of them worse: <a id="all" href="?all">show all</a>, or see /status')
    elif not total:
        yield wide("No session is configured. This worker stands by.")
    yield "</table>\n</main>\n</body>\n</html>\n"


def _head(status: WorkerStatus, survey: Survey, now: float) -> str:
    counts = {state: len(sessions) for state, sessions in survey.states.items()}
    tone, verdict = _verdict(status, counts)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<noscript><meta http-equiv="refresh" content="{REFRESH_SECONDS}"></noscript>
<title>{escape(verdict)} · Lens Bridge</title>
<style>{STYLE}</style>
<script>{SCRIPT}</script>
</head>
<body>
<h1>Lens Bridge</h1>
<h2 class="{tone}">{escape(verdict)}</h2>
<p>{escape(status.worker_id)} · version {escape(status.version)} · up {span(now - status.started_at)}
· at {clock(now)} · <a id="status" href="status">/status</a> · <a id="metrics" href="metrics">/metrics</a></p>
{what_to_do(_worker_section(status))}
<p id="old" role="alert">This worker no longer answers: what stands here is old.</p>
<main>
<ul>{"".join(_chips(status, counts, survey.dead_letters))}</ul>
{fleet_of(survey)}"""


def _verdict(status: WorkerStatus, counts: Mapping[SessionState, int]) -> tuple[str, str]:
    """One sentence, and its tone."""
    if not status.ready:
        return "bad", f"Not ready: {status.not_ready}"
    tones: Counter[str] = Counter()
    for state, count in counts.items():
        tones[tone_of(state)] += count
    total = f"{sum(counts.values()):,}"
    if tones["bad"]:
        need = "needs" if tones["bad"] == 1 else "need"
        held_up = f", {tones['warn']:,} held up" if tones["warn"] else ""
        return "bad", f"{tones['bad']:,} of {total} sessions {need} a person{held_up}"
    if tones["warn"]:
        return "warn", f"{tones['warn']:,} of {total} sessions {'is' if tones['warn'] == 1 else 'are'} held up"
    if tones["good"]:
        return "good", f"{tones['good']:,} of {total} sessions stream here"
    return "calm", "No session is read here"


def _chips(status: WorkerStatus, counts: Mapping[SessionState, int], letters: int) -> Iterator[str]:
    if not status.redis_reachable:
        yield chip("bad", "Redis not reachable")  # the verdict says why
    elif status.redis_error:
        yield chip("bad", f"Redis: {status.redis_error}")
    else:
        yield chip("calm", "Redis reachable")  # green is for what flows
    if status.draining:
        yield chip("warn", "draining")
    if refused := len(status.refused()):
        yield chip("bad", f"{refused:,} refused")
    for state in ORDER:
        if count := counts.get(state):
            yield chip(tone_of(state), f"{count:,} {words_of(state)}")
    if letters:
        yield chip("warn", number(letters, "dead letter"))


def _worker_section(status: WorkerStatus) -> str | None:
    if status.ready or status.stopping:
        return None
    return "lensbridgenotready" if status.redis_reachable else "lensbridgeredisunreachable"
