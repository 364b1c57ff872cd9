"""What a person sees on the page: the text of the parsed document, not its markup."""

from __future__ import annotations

import gzip
import json
import re
import time
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from bridge.model.labels import SessionState
from bridge.model.place import Session
from bridge.telemetry.figures import Kept, SessionFigures
from bridge.telemetry.page.document import page_slices
from bridge.telemetry.page.rates import Rates
from bridge.telemetry.page.words import RUNBOOK
from bridge.telemetry.status import WorkerStatus

RUNBOOK_FILE = Path(__file__).resolve().parents[3] / "helm" / "RUNBOOK.md"
NEEDS_A_PERSON = [SessionState.FAILED, SessionState.GONE, SessionState.UNAUTHORIZED, SessionState.CURSOR_LOST]


class Seen(HTMLParser):
    """A document as far as it is seen. ``sessions`` are the cells of each session, by its column's heading."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.verdict = self.tone = self.text = ""
        self.chips: dict[str, str] = {}  # text and tone
        self.sessions: dict[str, dict[str, str]] = {}
        self.details: dict[str, str] = {}
        self.workers: dict[str, str] = {}  # text and tone
        self.links: list[str] = []
        self.tags: set[str] = set()
        self._parts: list[str] = []
        self._headings: list[str] = []
        self._cells: list[str] = []
        self._tone = self._session = ""
        self._of_workers = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.add(tag)
        self.links += [link for link in (given.get("href"), given.get("src")) if link]
        if tag in ("h2", "span"):
            self._tone = given.get("class") or ""
        if tag in ("h2", "th", "td", "li", "script", "style"):
            self._parts = []
        if tag == "tr":
            self._cells = []

    def handle_endtag(self, tag: str) -> None:
        text = "".join(self._parts).strip()
        if tag == "h2":
            self.verdict, self.tone = text, self._tone
        elif tag == "h3":
            self._of_workers = True
        elif tag == "li":
            (self.workers if self._of_workers else self.chips)[text] = self._tone
        elif tag == "th":
            self._headings.append(text)
        elif tag == "td":
            self._cells.append(text)
        elif tag == "tr" and len(self._cells) == len(self._headings):
            row = dict(zip(self._headings, self._cells, strict=True))
            self._session = row["Session"].split("lens:")[0]
            self.sessions[self._session] = row
        elif tag == "tr" and self._cells:
            self.details[self._session] = self._cells[0]

    def handle_data(self, data: str) -> None:
        self._parts.append(data)
        self.text += data


@pytest.fixture
def status() -> WorkerStatus:
    """One that is ready, and has no session yet."""
    return WorkerStatus(worker_id="worker-1", version="1.2.3", redis_reachable=True, redis_error=None, taking_part=True)


def add(status: WorkerStatus, name: str, state: SessionState) -> SessionFigures:
    """A session in this state."""
    figures = status.session(Session(name=name, session_id=f"lsn-{name}"), f"lens:{{{name}}}:events")
    figures.enter(state)
    return figures


def seen(
    status: WorkerStatus, rates: dict[str, float] | None = None, after_seconds: float = 0.0, *, every: bool = False
) -> Seen:
    """The page, so long after now."""
    return Seen("".join(page_slices(status, rates or {}, time.time() + after_seconds, every=every)))


def kept(**changes: Any) -> Kept:
    """What Redis holds of a session that worker-2 reads."""
    return replace(
        Kept(owner="worker-2/b", seq=77, cursor="evt-9", updated_at=time.time() - 60, dead_letters=3), **changes
    )


def test_a_session_is_told_in_full(status: WorkerStatus) -> None:
    """Under its headings."""
    figures = add(status, "entrance", SessionState.STREAMING)
    figures.cursor, figures.seq, figures.lease_held = "evt-7", 1234, True
    figures.last_event_at = time.time() - 240
    figures.groups = {"detector": (12, 3), "archive": (None, 0), "third": (0, 0)}
    figures.kept = kept(dead_letters=0)
    assert seen(status, {"entrance": 2.5}).sessions["entrance"] == {
        "Session": "entrancelens:{entrance}:events",
        "State": "streamingfor 0 s",
        "Entries": "1,2342.5/s",
        "Last event": "4 min ago",
        "Consumer groups": "detector 12 behind, 3 pendingarchive lag unknown1 more group",
        "Dead letters": "0",
        "Cursor": "evt-7",
        "Owner": "this worker",
    }


def test_of_a_session_that_another_worker_reads_no_number_is_made_up(status: WorkerStatus) -> None:
    """Zero entries would be a lie."""
    add(status, "entrance", SessionState.STANDBY).owner = "worker-2"
    row = seen(status).sessions["entrance"]
    assert (row["Entries"], row["Dead letters"], row["Owner"]) == ("—", "—", "worker-2")


def test_of_a_session_that_another_worker_reads_redis_tells(status: WorkerStatus) -> None:
    """Its place and who has it, also where this worker has not asked for the lease for long."""
    figures = add(status, "entrance", SessionState.STANDBY)
    figures.owner, figures.kept = "worker-long-gone", kept()
    row = seen(status).sessions["entrance"]
    assert row["Entries"] == "77"
    assert (row["Dead letters"], row["Last event"], row["Cursor"]) == ("3", "60 s ago", "evt-9")
    assert row["Owner"] == "worker-2/b"
    figures.kept = kept(owner=None, seq=None, updated_at=0.0)
    row = seen(status).sessions["entrance"]
    assert (row["Entries"], row["Last event"], row["Owner"]) == ("—", "", ""), "nobody has ever read it"


def test_the_fleet_is_told_by_who_reads_how_many(status: WorkerStatus) -> None:
    """This worker first, then who has a lease and is not heard, then the others; and what nobody reads."""
    status.owner, status.peers = "worker-1/a", ("worker-2/b", "worker-3/c")
    for number in range(5):
        figures = add(status, f"own-{number}", SessionState.STREAMING)
        figures.owner, figures.lease_held = "worker-1/a", True
    add(status, "other", SessionState.STANDBY).kept = kept()
    add(status, "orphan", SessionState.STANDBY).kept = kept(owner="worker-dead/d")
    add(status, "ended", SessionState.ENDED).kept = kept(owner=None)
    page = seen(status)
    assert list(page.workers.items()) == [
        ("worker-1/a this worker, reads 5 sessions", "good"),
        ("worker-dead/d not heard any more, reads 1 session", "warn"),
        ("worker-2/b reads 1 session", "good"),
        ("worker-3/c stands by", "calm"),
        ("nobody reads 1 session", "calm"),
    ]
    assert page.chips["9 dead letters"] == "warn"


def test_who_wants_a_session_is_told_where_it_is_not_the_configuration(status: WorkerStatus) -> None:
    """And what is wanted and cannot be read comes before all else, with the reason."""
    for name in ("own", "found"):
        add(status, name, SessionState.STREAMING)
    add(status, "held", SessionState.PAUSED)
    status.origins = lambda: {"own": "configured", "found": "discovered", "held": "registered"}
    refused = {
        "name": "<u>x</u>",
        "session_id": "lsn-9",
        "origin": "registered",
        "reason": "the name <u>x</u> is configured",
    }
    page = seen(status)
    names = {name: row["Session"] for name, row in page.sessions.items()}
    assert names == {
        "found": "foundlens:{found}:eventsdiscovered",
        "own": "ownlens:{own}:events",
        "held": "heldlens:{held}:eventsregistered",
    }
    assert not {"1 refused", "draining"} & set(page.chips)
    status.refused, status.draining = lambda: [refused], True
    page = seen(status)
    assert (page.chips["1 refused"], page.chips["draining"], page.chips["1 paused"]) == ("bad", "warn", "calm")
    assert "<u>x</u> (lsn-9), registered, is not read: the name <u>x</u> is configured" in page.text
    assert "u" not in page.tags
    told = json.loads("".join(status.json_slices()))
    assert (told["refused"], told["draining"]) == ([refused], True)
    assert {one["name"]: one["origin"] for one in told["sessions"]} == status.origins()


def test_a_fleet_of_hundreds_does_not_fill_the_page(status: WorkerStatus) -> None:
    """Who is beyond the first fifty is counted."""
    status.peers = tuple(f"worker-{number:03}/x" for number in range(200))
    page = seen(status)
    assert len(page.workers) == 51
    assert "151 more workers" in page.workers


def test_what_retention_does_is_told_below_the_session(status: WorkerStatus) -> None:
    """A group that holds the stream up, and one that has lost entries: each with its section."""
    figures = add(status, "entrance", SessionState.STREAMING)
    figures.stream_length, figures.stream_read_max_length = 21_000, 10_000
    assert seen(status).details == {}
    figures.stream_length = 21_001
    assert seen(status).details["entrance"].startswith("21,001 entries, since a group has not read them; the limit is")
    assert "helm/RUNBOOK.md#lensbridgeunreadheld" in seen(status).details["entrance"]
    figures.unread_trimmed = 1311
    assert "1,311 entries trimmed unread" in seen(status).details["entrance"]
    assert "helm/RUNBOOK.md#lensbridgeunreadtrimmed" in seen(status).details["entrance"]
    figures.stream_read_max_length = figures.unread_trimmed = 0
    assert seen(status).details == {}, "without a limit nothing is held"


def test_the_worst_come_first(status: WorkerStatus) -> None:
    """Of a thousand sessions one sees the ones that need a person, and a hint at the rest."""
    for number in range(600):
        add(status, f"fine-{number:03}", SessionState.STREAMING)
    for state in SessionState:
        add(status, state.value, state)
    page = seen(status)
    worst = ["failed", "gone", "unauthorized", "cursor_lost", "backpressured", "waiting", "connecting", "fine-000"]
    assert list(page.sessions)[:8] == worst
    assert len(page.sessions) == 250
    assert "361 more sessions, none of them worse" in page.text
    assert page.links == ["status", "metrics", "?all"]
    assert len(seen(status, every=True).sessions) == 611


def test_no_piece_of_the_page_holds_many_sessions(status: WorkerStatus) -> None:
    """Between two of them others have their turn; and the page of a thousand sessions is light."""
    for number in range(1000):
        figures = add(status, f"camera-{number}", SessionState.STREAMING)
        figures.kept, figures.groups = kept(), {"detector": (number, 1)}
    for every, rows in ((False, 250), (True, 1000)):
        slices = list(page_slices(status, {}, time.time(), every=every))
        counts = [part.count('class="name"') for part in slices]
        assert sum(counts) == rows
        assert max(counts) == 10
    light = "".join(page_slices(status, {}, time.time())).encode()
    assert len(light) < 250_000
    assert len(gzip.compress(light)) < 20_000
    slices = list(status.json_slices())
    assert max(part.count('"session_id"') for part in slices) == 20
    assert len(json.loads("".join(slices))["sessions"]) == 1000


@pytest.mark.parametrize("state", NEEDS_A_PERSON)
def test_what_wakes_somebody_is_red_and_says_where_to_read_on(status: WorkerStatus, state: SessionState) -> None:
    """The alert of that state pages; what it links to stands here too."""
    add(status, "fine", SessionState.STREAMING)
    add(status, "held-up", SessionState.WAITING)
    add(status, "bad", state)
    page = seen(status)
    assert (page.verdict, page.tone) == ("1 of 3 sessions needs a person, 1 held up", "bad")
    assert page.chips[f"1 {state.value.replace('_', ' ')}"] == "bad"
    assert f"helm/RUNBOOK.md#{RUNBOOK[state]}" in page.details["bad"]


def test_every_section_that_is_named_stands_in_the_runbook(status: WorkerStatus) -> None:
    """Under a heading that has such an anchor."""
    anchors = {heading.lower() for heading in re.findall(r"^## (\w+)$", RUNBOOK_FILE.read_text(), re.MULTILINE)}
    status.taking_part = False
    named = set(re.findall(r"RUNBOOK.md#(\w+)", seen(status).text))
    status.redis_reachable = False
    named |= set(re.findall(r"RUNBOOK.md#(\w+)", seen(status).text))
    assert named == {"lensbridgenotready", "lensbridgeredisunreachable"}
    assert named | set(RUNBOOK.values()) <= anchors


def test_nothing_is_green_while_no_session_streams(status: WorkerStatus) -> None:
    """That Redis answers is not what the page is looked at for."""
    add(status, "a", SessionState.UNAUTHORIZED)
    add(status, "b", SessionState.STANDBY)
    page = seen(status)
    assert page.chips == {"Redis reachable": "calm", "1 unauthorized": "bad", "1 standby": "calm"}
    add(status, "c", SessionState.STREAMING)
    assert seen(status).chips["1 streaming"] == "good"


def test_the_verdict_is_good_where_all_is(status: WorkerStatus) -> None:
    """Sessions of other workers and those that have ended are no fault."""
    add(status, "a", SessionState.STREAMING)
    add(status, "b", SessionState.STANDBY)
    add(status, "c", SessionState.ENDED)
    page = seen(status)
    assert (page.verdict, page.tone) == ("1 of 3 sessions stream here", "good")
    add(status, "d", SessionState.BACKPRESSURED)
    page = seen(status)
    assert (page.verdict, page.tone) == ("1 of 4 sessions is held up", "warn")


def test_a_worker_that_is_not_ready_says_why_before_all_else(status: WorkerStatus) -> None:
    """Its sessions may look well for a while."""
    add(status, "a", SessionState.STREAMING)
    status.redis_reachable, status.redis_error = False, "connection refused: redis:6379"
    page = seen(status)
    assert (page.verdict, page.tone) == ("Not ready: Redis is not reachable: connection refused: redis:6379", "bad")
    assert page.chips["Redis not reachable"] == "bad"


def test_a_redis_that_answers_with_errors_is_told_in_its_words(status: WorkerStatus) -> None:
    """A missing permission is not a missing connection."""
    status.redis_error, status.taking_part = "NOPERM no access to lens:workers", False
    assert seen(status).chips["Redis: NOPERM no access to lens:workers"] == "bad"


def test_an_idle_worker_says_so(status: WorkerStatus) -> None:
    """An empty table would look like a fault."""
    page = seen(status)
    assert (page.verdict, page.tone) == ("No session is read here", "calm")
    assert "No session is configured. This worker stands by." in page.text


def test_the_error_of_a_trouble_is_shown_in_full(status: WorkerStatus) -> None:
    """However long it is, and as long as the trouble lasts."""
    figures = add(status, "entrance", SessionState.STREAMING)
    error = f"answers 503: {'x' * 2000} - check the end of this line"
    figures.fail(error)
    figures.enter(SessionState.WAITING)
    for after_seconds in (0, 100_000):
        detail = seen(status, after_seconds=after_seconds).details["entrance"]
        assert detail.startswith(error)
        assert "helm/RUNBOOK.md#lensbridgesourcesilent" in detail


def test_an_error_that_is_over_is_past_and_then_gone(status: WorkerStatus) -> None:
    """Who looks at a session that streams should not take it for the present state; `/status` keeps it."""
    figures = add(status, "entrance", SessionState.WAITING)
    figures.fail("connection reset")
    figures.enter(SessionState.STREAMING)
    assert seen(status, after_seconds=180).details["entrance"] == "3 min ago, and over: connection reset"
    assert seen(status, after_seconds=1800).details == {}
    figures.since = figures.last_error_at + 3600
    figures.enter(SessionState.CONNECTING)
    assert figures.state is SessionState.CONNECTING
    figures.since = figures.last_error_at + 3600
    assert seen(status, after_seconds=3700).details == {}, "yesterday's error is not the reason of today's attempt"


def test_a_trouble_has_one_beginning(status: WorkerStatus) -> None:
    """Each attempt goes round in these states; and a session that streams again has left them behind."""
    figures = add(status, "entrance", SessionState.STREAMING)
    figures.enter(SessionState.WAITING)
    figures.since = began = figures.since - 3600
    for state in (SessionState.CONNECTING, SessionState.WAITING, SessionState.UNAUTHORIZED, SessionState.CURSOR_LOST):
        figures.enter(state)
        assert (figures.state, figures.since) == (state, began)
    assert seen(status).sessions["entrance"]["State"] == "cursor lostfor 60 min"
    for state in (SessionState.STREAMING, SessionState.WAITING, SessionState.STANDBY, SessionState.CONNECTING):
        figures.since = began
        figures.enter(state)
        assert figures.since > began, state


def test_what_comes_from_outside_is_text(status: WorkerStatus) -> None:
    """A cursor, an owner and an error are a stranger's."""
    figures = add(status, "entrance", SessionState.FAILED)
    figures.cursor, figures.owner = '"><img src=x onerror=alert(1)>', "<b>me</b><iframe>"
    figures.fail("<img src=x onerror=alert(2)>")
    figures.groups = {f"<video src=x onerror=alert(3)>{'g' * 200}": (1, 0)}
    other = add(status, "other", SessionState.STANDBY)
    other.kept = kept(owner="<embed>", cursor="</td><audio>")
    status.worker_id, status.owner, status.peers = "<object>", "<applet>", ("<svg onload=alert(4)>",)
    page = seen(status)
    assert not page.tags & {"img", "iframe", "object", "video", "embed", "audio", "applet", "svg"}
    assert page.sessions["entrance"]["Consumer groups"].startswith("<video src=x onerror=alert(3)>ggg")
    assert len(page.sessions["entrance"]["Consumer groups"]) < 80, "a name of any length takes little room"
    assert page.sessions["other"]["Owner"] == "<embed>"
    assert {"<applet> this worker, stands by", "<svg onload=alert(4)> stands by"} < set(page.workers)
    assert page.sessions["entrance"]["Cursor"] == figures.cursor
    assert page.sessions["entrance"]["Owner"] == figures.owner
    assert page.details["entrance"].startswith("<img src=x onerror=alert(2)>")


def test_the_page_links_to_its_neighbours_only(status: WorkerStatus) -> None:
    """Relative, so that it works behind a proxy's path; and nothing is loaded from elsewhere."""
    assert seen(status).links == ["status", "metrics"]


def test_rates_are_taken_between_two_looks(status: WorkerStatus) -> None:
    """Also when two people look; a new session has none yet, and one that is not read has none any more."""
    figures = add(status, "entrance", SessionState.STREAMING)
    figures.seq = 5000  # of earlier workers
    rates = Rates()
    assert rates.at(100.0, status) == {}
    figures.events_published = 20
    assert rates.at(102.0, status) == {"entrance": 10.0}
    figures.events_published = 25
    assert rates.at(102.5, status) == {"entrance": 10.0}
    add(status, "new", SessionState.STREAMING)
    assert rates.at(104.0, status) == {"entrance": 2.5}
    assert rates.at(106.0, status) == {"entrance": 0.0, "new": 0.0}
    figures.enter(SessionState.WAITING)
    assert rates.at(108.0, status) == {"new": 0.0}


def test_a_rate_over_an_hour_is_none_of_the_present(status: WorkerStatus) -> None:
    """The first look after a while begins anew."""
    figures = add(status, "entrance", SessionState.STREAMING)
    rates = Rates()
    rates.at(100.0, status)
    figures.events_published = 3600
    assert rates.at(3700.0, status) == {}
    assert rates.at(3702.0, status) == {"entrance": 0.0}
