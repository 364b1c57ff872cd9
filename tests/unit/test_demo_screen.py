"""What the demo tells and draws, from values alone."""

from __future__ import annotations

import asyncio
import io
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from bridge.demo.invitation import invitation
from bridge.demo.picture import picture
from bridge.demo.report import Judgement, Tally, judgement_lines
from bridge.demo.scene import Gauge, Newest, Scene, SessionView, WorkerView
from bridge.demo.screen import BARS, draw
from bridge.demo.story import DemoError, Happening, Story
from bridge.demo.terminal import LiveDisplay, PlainDisplay, display_for
from bridge.demo.text import Line, Span, Tone, columns, cut, plain, styled
from bridge.verify.report import Report

SESSION = SessionView(
    name="activity",
    sent=1200,
    stored=1199,
    rate=40.0,
    drops=3,
    owner="worker-1",
    newest=Newest(seq="1,199", id="1199", type="inference.result", said='["A <person> & a forklift"]'),
    landings=((0.5, 10), (5.5, 0), (9.9, 80)),
)
WORKER = WorkerView(
    name="worker-1", state="running", up=True, pid=4711, admin_url="http://127.0.0.1:8080/", sessions=("activity",)
)
SCENE = Scene(
    elapsed=10.0,
    span_seconds=10.0,
    seed=7,
    sessions=(SESSION,),
    workers=(WORKER,),
    happenings=tuple(Happening(at=float(n), text=f"happening {n}") for n in range(30)),
)


class Clock:
    """Time that stands still until it is set."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    """An output that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def texts(lines: list[Line]) -> list[str]:
    """Lines without their style."""
    return [plain(line) for line in lines]


async def test_a_lease_taken_from_a_dead_worker_is_a_takeover_with_its_time() -> None:
    """It is counted, and the story says how long the session had no owner."""
    clock = Clock()
    story = Story(clock)
    story.lease_taken("worker-1", "activity", 0)
    story.killed("worker-1")
    clock.now += 2.1
    story.lease_taken("worker-2", "activity", 41)
    assert story.takeovers == {"activity": 1}
    assert story.handovers == 0
    assert story.happenings[-1].text == "worker-2 takes over activity after 2.1 s, goes on after event 41"
    assert story.owned_by("worker-1") == []


async def test_a_lease_taken_from_a_living_worker_is_a_handover() -> None:
    """The worker that was started again gets its share back in good order."""
    story = Story(Clock())
    story.lease_taken("worker-1", "activity", 0)
    story.killed("worker-1")
    story.lease_taken("worker-2", "activity", 41)
    story.restarted("worker-1")
    story.lease_taken("worker-1", "activity", 50)
    assert (story.takeovers.total(), story.handovers) == (1, 1)


async def test_time_stands_still_until_the_story_begins() -> None:
    """What happens while workers start is told at 0."""
    clock = Clock()
    story = Story(clock)
    clock.now += 5
    assert story.elapsed == 0.0
    story.begin()
    clock.now += 3
    assert story.elapsed == 3.0


async def test_who_waits_for_the_story_wakes_up_when_it_fails() -> None:
    """A worker that ends by itself ends the demo with its reason, not with a time-out."""
    story = Story(Clock())
    waiting = asyncio.create_task(story.until(lambda: False, "never"))
    await asyncio.sleep(0)
    story.fail("worker-1 ended by itself")
    with pytest.raises(DemoError, match="worker-1 ended by itself"):
        await waiting


async def test_a_wait_that_takes_too_long_says_for_what() -> None:
    """The error names what did not happen."""
    with pytest.raises(DemoError, match="got stuck: a takeover: not within"):
        await Story(Clock()).until(lambda: False, "a takeover", timeout=0.01)


def test_an_outage_is_a_gap_between_bars_and_catching_up_is_the_highest() -> None:
    """Ten seconds in forty cells: something, nothing, and a peak at the end."""
    line = next(one for one in texts(draw(SCENE, 120)) if "activity" in one)
    assert line.endswith(BARS[-1])
    bars = line[-40:]
    assert bars[2] == BARS[1]
    assert set(bars) == {BARS[0], BARS[1], BARS[-1]}


def test_a_screen_fits_the_terminal_and_keeps_the_end_of_the_story() -> None:
    """No line is wider, and the last happening is always there."""
    lines = texts(draw(SCENE, 60, 24))
    assert len(lines) <= 24
    assert max(len(line) for line in lines) <= 60
    assert lines[-1].endswith("happening 29")
    assert len(texts(draw(SCENE, 60))) > 30, "without a height the whole story is shown"


@pytest.mark.parametrize("height", [23, 19, 12, 5])
def test_a_small_screen_is_never_overfull_and_shows_the_end_of_the_story(height: int) -> None:
    """A line too many would make the terminal scroll with each redraw."""
    crowd = replace(SCENE, sessions=(SESSION,) * 3, workers=(WORKER,) * 2)
    lines = texts(draw(crowd, 60, height))
    assert len(lines) <= height
    assert lines[-1].endswith("happening 29")


def test_the_verdict_fits_into_80_columns() -> None:
    """Numbers of five digits included, names as long as the demo's."""
    tally = Tally(
        name="machine-state",
        sent=99_999,
        published=99_999,
        twice=0,
        missing=0,
        out_of_order=0,
        reconnects=9_999,
        takeovers=99,
    )
    exact = Judgement(tallies=(tally,), report=Report(sessions=()))
    assert max(len(line) for line in texts(judgement_lines(exact))) <= 80


def test_a_session_without_an_owner_is_said_to_have_none() -> None:
    """Between a kill and the takeover nobody reads it."""
    orphan = replace(SCENE, sessions=(replace(SESSION, owner=None),))
    assert any("nobody" in line for line in texts(draw(orphan, 100)))


def test_the_rate_is_that_of_the_last_second() -> None:
    """Older readings do not count."""
    gauge = Gauge()
    for at, stored in ((0.0, 100), (1.0, 100), (1.5, 110), (2.0, 130)):
        gauge.read(at, stored)
    assert gauge.rate(2.0) == 30.0
    assert gauge.stored == 130


def test_a_line_is_cut_across_its_spans() -> None:
    """The style of what remains is kept."""
    line = (Span("abc", Tone.BOLD), Span("def", Tone.GOOD))
    assert cut(line, 4) == (Span("abc", Tone.BOLD), Span("d", Tone.GOOD))
    assert styled(cut(line, 3)) == "\x1b[1mabc\x1b[0m"


def test_columns_are_aligned() -> None:
    """Numbers to the right, words to the left."""
    rows = [[Span("name"), Span("count")], [Span("a"), Span("7")]]
    assert texts(columns(rows, frozenset((1,)))) == ["  name  count", "  a         7"]


@pytest.mark.parametrize("variables", [{"TERM": "dumb"}, {"TERM": "xterm", "NO_COLOR": "1"}, {}])
def test_a_terminal_that_wants_no_drawing_gets_plain_lines(variables: dict[str, str]) -> None:
    """TERM=dumb, no TERM at all, and NO_COLOR."""
    assert isinstance(display_for(Terminal(), variables), PlainDisplay)
    assert isinstance(display_for(Terminal(), {"TERM": "xterm"}), LiveDisplay)
    assert isinstance(display_for(io.StringIO(), {"TERM": "xterm"}), PlainDisplay)


def test_plain_output_tells_each_happening_once() -> None:
    """No escape sequences, no repetition."""
    output = io.StringIO()
    display = PlainDisplay(output)
    display.show(SCENE)
    display.show(SCENE)
    display.show_last(SCENE)
    display.close()
    assert output.getvalue().count("happening 12") == 1
    assert "1,200 events sent, 1,199 in Redis" in output.getvalue()
    assert "\x1b" not in output.getvalue()


def test_a_live_display_draws_over_what_it_drew_and_gives_the_cursor_back() -> None:
    """It goes up by as many lines as it wrote."""
    output = Terminal()
    display = LiveDisplay(output, size=lambda: (80, 24))
    display.show(SCENE)
    drawn = output.getvalue().count("\n")
    output.truncate(0)
    display.show(SCENE)
    assert f"\x1b[{drawn}F" in output.getvalue()
    display.close()
    assert output.getvalue().endswith("\x1b[?25h\x1b[?7h")


def test_the_picture_is_well_formed_and_says_what_the_screen_says() -> None:
    """Characters that mean something in XML are escaped, and bars are drawn."""
    root = ElementTree.fromstring(picture(draw(SCENE, 120), "A <title>"))
    said = [one.text or "" for one in root.iter("{http://www.w3.org/2000/svg}text")]
    assert '["A <person> & a forklift"]' in said
    assert "happening 29" in said
    assert len(list(root.iter("{http://www.w3.org/2000/svg}rect"))) == 1 + 2, "the window and two bars"


def test_who_is_invited_gets_commands_that_run_from_any_directory() -> None:
    """After `make demo` the programs are in a virtual environment that no shell knows of."""
    lines = texts(
        invitation(
            redis_url="redis://127.0.0.1:4711/0",
            base_url="http://127.0.0.1:1/v0.5",
            control_url="http://127.0.0.1:2/control",
            admin_urls=["http://127.0.0.1:3/"],
            stream_key="lens:{activity}:events",
            session="activity=lsn-1",
            python="/venv/bin/python",
            bridge="/venv/bin/python -m bridge",
        )
    )
    assert "  /venv/bin/python -m bridge tail --redis-url redis://127.0.0.1:4711/0 --sessions activity=lsn-1" in lines
    assert any(line.startswith('  /venv/bin/python -c "import redis;') for line in lines)
