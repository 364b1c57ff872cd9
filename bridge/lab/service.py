"""A service that reads what the bridge writes, with `bridge.consumer` and SQLite: the demo runs two members of it.

    python -m bridge.lab.service REDIS_URL DATABASE NAME STREAM...

It writes a row for each event that it works on, and one for each that came again and had been worked on. Nothing in
the first table keeps two rows of one event apart: who looks can count them.
"""

from __future__ import annotations

import asyncio
import sqlite3
import sys
from collections import Counter
from collections.abc import Collection, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from bridge.consumer import AsyncConsumer, Event, Ledger, Limits

__all__ = ["GROUP", "Work", "prepare", "read_work"]

GROUP = "demo-service"
_BATCH = 20
_LIMITS = Limits(
    claim_after_seconds=1.0, block_seconds=0.2, retry_seconds=0.1, prefetch=_BATCH, backoff_max_seconds=1.0
)
_AFTER_SECONDS = 0.01  # between work and acknowledgement, so that who is killed is most likely killed there
_LOCK_SECONDS = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What the members have done together: ``by`` member, ``again`` is what came again and was recognised.

    ``twice``, ``missing`` and ``unknown`` are events, held against those that were sent.
    """

    by: Mapping[str, int]
    again: int
    twice: int = 0
    missing: int = 0
    unknown: int = 0

    @property
    def done(self) -> int:
        """Rows."""
        return sum(self.by.values())

    @property
    def exact(self) -> bool:
        """Each event once, and no other."""
        return self.done > 0 and not (self.twice or self.missing or self.unknown)


def prepare(database: Path) -> None:
    """Make the tables."""
    with closing(_open(database)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("CREATE TABLE worked (session_id TEXT, seq INTEGER, id TEXT, member TEXT)")
        db.execute("CREATE TABLE again (session_id TEXT, seq INTEGER, member TEXT)")
        Ledger(GROUP).create(db)


def read_work(database: Path, sent: Mapping[str, Collection[str]] | None = None) -> Work:
    """What stands there; ``sent``: the ids of all events by session id, to hold it against."""
    with closing(_open(database)) as db:
        by = dict(db.execute("SELECT member, COUNT(*) FROM worked GROUP BY member").fetchall())
        (again,) = db.execute("SELECT COUNT(*) FROM again").fetchone()
        if sent is None:
            return Work(by=by, again=again)
        found = Counter(db.execute("SELECT session_id, id FROM worked").fetchall())
    wanted = {(session_id, id) for session_id, ids in sent.items() for id in ids}
    return Work(
        by=by,
        again=again,
        twice=sum(count - 1 for count in found.values()),
        missing=len(wanted - found.keys()),
        unknown=len(found.keys() - wanted),
    )


def _open(database: Path) -> sqlite3.Connection:
    db = sqlite3.connect(database, timeout=_LOCK_SECONDS)
    db.execute("PRAGMA synchronous = OFF")  # it is for half a minute, and no power is cut
    return db


async def _serve(url: str, database: Path, name: str, streams: Collection[str]) -> None:
    with closing(_open(database)) as db:
        await asyncio.gather(*(_read(url, db, name, stream) for stream in streams))


async def _read(url: str, db: sqlite3.Connection, name: str, stream: str) -> None:
    ledger = Ledger(GROUP)
    async with AsyncConsumer(url, stream, GROUP, limits=_LIMITS) as consumer:
        async for batch in consumer.batches(_BATCH):
            with db:  # one transaction: the work, and that it is done
                fresh = ledger.fresh(db, batch)
                known = {id(one) for one in fresh}
                for one in batch:
                    if not isinstance(one, Event):
                        continue
                    if id(one) in known:
                        row = (one.session_id, one.seq, one.id, name)
                        db.execute("INSERT INTO worked VALUES (?, ?, ?, ?)", row)
                    else:
                        db.execute("INSERT INTO again VALUES (?, ?, ?)", (one.session_id, one.seq, name))
            await asyncio.sleep(_AFTER_SECONDS)


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1], Path(sys.argv[2]), sys.argv[3], sys.argv[4:]))
