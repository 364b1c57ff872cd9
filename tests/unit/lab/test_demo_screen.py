"""What the demo tells and draws, from values alone."""

from __future__ import annotations

import asyncio
import io
from dataclasses import replace
from xml.etree import ElementTree

import pytest
from rich.console import Console, RenderableType

from bridge.lab.demo.invitation import invitation
from bridge.lab.demo.report import Judgement, Tally, judgement_text
from bridge.lab.demo.scene import Gauge, Newest, ReaderView, Scene, SessionView, WorkerView
from bridge.lab.demo.screen import BARS, LiveDisplay, PlainDisplay, display_for, draw, picture
from bridge.lab.demo.story import DemoError, Happening, Story
from bridge.lab.service import Work
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


TALLY = Tally(
    name="machine-state",
    sent=99_999,
    published=99_999,
    twice=0,
    missing=0,
    out_of_order=0,
    reconnects=9_999,
    takeovers=99,
)
JUDGEMENT = Judgement(tallies=(TALLY,), report=Report(sessions=()))


class Clock:
    """Time that stands still until it is set."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    """An output that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def texts(drawn: RenderableType, width: int = 200) -> list[str]:
    """What a screen of that width shows, line by line, without style."""
    console = Console(file=io.StringIO(), width=width, color_system=None)
    with console.capture() as capture:
        console.print(drawn)
    return [line.rstrip() for line in capture.get().splitlines()]


def test_the_members_of_the_service_are_shown_with_what_they_have_done() -> None:
    """Also one that was killed; and a scene without them has no such lines."""
    readers = (
        ReaderView(name="reader-1", state="running", up=True, pid=12, worked=1234),
        ReaderView(name="reader-2", state="killed (SIGKILL)", up=False, pid=None, worked=5),
    )
    lines = texts(draw(replace(SCENE, readers=readers), 110))
    (first,) = [line for line in lines if "reader-1" in line]
    (second,) = [line for line in lines if "reader-2" in line]
    assert "● running" in first
    assert "worked on 1,234 events" in first
    assert "○ killed (SIGKILL)" in second
    assert not [line for line in texts(draw(SCENE, 110)) if "reader" in line]


@pytest.mark.parametrize(
    "work",
    [
        Work(by={"reader-1": 3}, again=1, twice=1),
        Work(by={"reader-1": 3}, again=0, missing=1),
        Work(by={"reader-1": 3}, again=0, unknown=1),
        Work(by={}, again=0),
    ],
)
def test_the_verdict_covers_what_the_service_has_done(work: Work) -> None:
    """All stands in Redis as it should, and the service has not done each event once."""
    good = replace(JUDGEMENT, work=Work(by={"reader-1": 2, "reader-2": 1}, again=2))
    assert good.exact
    assert any("3 events worked on, 0 twice" in line for line in texts(judgement_text(good)))
    bad = replace(JUDGEMENT, work=work)
    assert not bad.exact
    assert bad.verdict.startswith("not exactly once: ")


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
    line = next(one for one in texts(draw(SCENE, 120), 120) if "activity" in one)
    assert line.endswith(BARS[-1])
    bars = line[-40:]
    assert bars[2] == BARS[1]
    assert set(bars) == {BARS[0], BARS[1], BARS[-1]}


def test_80_columns_have_room_for_the_bars_with_numbers_of_five_digits() -> None:
    """The least that a terminal has, a demo of an hour."""
    large = replace(SESSION, name="machine-state", sent=99_999, stored=99_998, drops=999)
    lines = texts(draw(replace(SCENE, sessions=(large,)), 80), 80)
    assert "SESSION          SENT  IN REDIS  PER S  DROPS  READ BY   LANDING IN REDIS" in lines[3]
    assert len(lines[4]) == 80


def test_a_screen_fits_the_terminal_and_keeps_the_end_of_the_story() -> None:
    """No line is wider, and the last happening is always there."""
    lines = texts(draw(SCENE, 60, 24), 60)
    assert len(lines) <= 24
    assert max(len(line) for line in lines) <= 60
    assert lines[-1].endswith("happening 29")
    assert len(texts(draw(SCENE, 60), 60)) > 30, "without a height the whole story is shown"


@pytest.mark.parametrize("width", [120, 80, 60, 30])
@pytest.mark.parametrize("height", [24, 20, 19, 12, 5, 1])
def test_a_small_screen_is_never_overfull_and_shows_the_end_of_the_story(height: int, width: int) -> None:
    """A line too many would push the end of the story out, which is what happens just now."""
    told = tuple(replace(one, text=f"{'a long word ' * 20}{one.text}") for one in SCENE.happenings)
    crowd = replace(SCENE, sessions=(SESSION,) * 3, workers=(WORKER,) * 2, happenings=(*told, SCENE.happenings[-1]))
    lines = texts(draw(crowd, width, height), width)
    assert len(lines) == height
    assert lines[-1].endswith("happening 29")


def test_a_screen_of_20_lines_shows_the_newest_entries_too() -> None:
    """With three sessions, two workers and four lines of the story: the smallest screen that has them."""
    crowd = replace(SCENE, sessions=(SESSION,) * 3, workers=(WORKER,) * 2)
    assert any("NEWEST ENTRY" in line for line in texts(draw(crowd, 80, 20), 80))
    assert not any("NEWEST ENTRY" in line for line in texts(draw(crowd, 80, 19), 80))


def test_the_story_begins_where_the_tables_end() -> None:
    """A screen higher than what there is to tell is not filled up, and nothing is told twice."""
    lines = texts(draw(replace(SCENE, happenings=SCENE.happenings[:2]), 80, 60), 80)
    assert [line.split("happening")[1] for line in lines if "happening" in line] == [" 0", " 1"]


def test_the_verdict_fits_into_80_columns() -> None:
    """Numbers of five digits included, names as long as the demo's."""
    assert max(len(line) for line in texts(judgement_text(JUDGEMENT))) <= 80


def test_a_session_without_an_owner_is_said_to_have_none() -> None:
    """Between a kill and the takeover nobody reads it."""
    orphan = replace(SCENE, sessions=(replace(SESSION, owner=None),))
    assert any("nobody" in line for line in texts(draw(orphan, 100), 100))


def test_the_rate_is_that_of_the_last_second() -> None:
    """Older readings do not count."""
    gauge = Gauge()
    for at, stored in ((0.0, 100), (1.0, 100), (1.5, 110), (2.0, 130)):
        gauge.read(at, stored)
    assert gauge.rate(2.0) == 30.0
    assert gauge.stored == 130


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


def test_without_a_terminal_no_line_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands are to be copied and lines to be searched, however narrow the shell says it is; nor is it markup."""
    monkeypatch.setenv("COLUMNS", "20")
    output = io.StringIO()
    PlainDisplay(output).write(judgement_text(JUDGEMENT), "a command " * 30 + "[bold]x[/bold]")
    lines = output.getvalue().splitlines()
    assert lines[0].split() == ["SENT", "LANDED", "TWICE", "MISSING", "SWAPPED", "RECONNECTS", "TAKEOVERS"]
    assert lines[-1] == "a command " * 30 + "[bold]x[/bold]"


def test_a_live_display_draws_over_what_it_drew_and_gives_the_cursor_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """It goes up line by line, over as many as it wrote; the last scene stays, whole."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("LINES", "24")
    monkeypatch.setenv("TERM", "xterm")
    output = Terminal()
    display = LiveDisplay(output)
    display.show(SCENE)
    drawn = output.getvalue().count("\n") + 1
    assert drawn <= 24
    output.seek(output.truncate(0))
    display.show(SCENE)
    assert output.getvalue().count("\x1b[1A") == drawn - 1
    display.show_last(SCENE)
    display.close()
    assert "happening 0" in output.getvalue()
    assert output.getvalue().endswith("\x1b[?25h")


@pytest.mark.parametrize("display", [PlainDisplay, LiveDisplay])
def test_a_reader_that_is_gone_is_told_to_the_command_line(display: type[PlainDisplay | LiveDisplay]) -> None:
    """`lens-bridge demo | head`: it is the command line that knows what to do then."""

    class Gone(Terminal):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        display(Gone()).write("anything")


def test_the_picture_is_well_formed_and_says_what_the_screen_says() -> None:
    """Characters that mean something in XML are escaped, and every line has the clipping that it names."""
    svg = picture(draw(SCENE, 120), judgement_text(JUDGEMENT), width=120, title="A <title>")
    root = ElementTree.fromstring(svg)
    drawn = [one for one in root.iter("{http://www.w3.org/2000/svg}text") if (one.text or "").strip()]
    said = [(one.text or "").replace("\xa0", " ") for one in drawn]
    assert "A <title>" in said
    assert any('["A <person> & a forklift"]' in one for one in said)
    assert any("happening 29" in one for one in said)
    assert any(BARS[-1] in one for one in said)
    assert "exactly once" in said
    clips = {f"url(#{one.get('id')})" for one in root.iter("{http://www.w3.org/2000/svg}clipPath")}
    assert {one.get("clip-path") for one in drawn} - {None} <= clips


def test_the_picture_asks_nothing_of_any_other_host() -> None:
    """A font that is fetched would tell who reads it, and a page may forbid it."""
    svg = picture(draw(SCENE, 120), width=120, title="demo")
    assert svg.replace("http://www.w3.org/2000/svg", "").count("://") == 1, "the worker's own address"


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
