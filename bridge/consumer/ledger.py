"""Effectively once: which events a service has worked on, kept in its own database, in the transaction of the work.

A crash between work and acknowledgement brings an entry again, and so does a Redis that was rolled back or emptied, or
a member that was taken for dead. What is committed together with the work cannot disagree with it: an event whose row
stands was worked on, one whose row does not stand was not. The row is the fence as well. Of two members that work on
one event at the same time one commits; the other one waits for it at `add`, and is told that the event is done.

So it is right side by side and in order, for any number of members: a single "greatest number so far" would not be,
since members overtake each other, and numbers may go to other events when Redis comes back empty.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any

from bridge.consumer.core.entries import Entry

__all__ = ["AsyncLedger", "Dialect", "Ledger"]

_ROWS_PER_STATEMENT = 500  # times 6 values: SQLite takes 32,766 of them, PostgreSQL 65,535
_DAY = 86_400.0


class Dialect(StrEnum):
    """Whose SQL: how it writes a placeholder, and an integer of 64 bits."""

    SQLITE = "sqlite"
    POSTGRES = "postgres"


class _Statements:
    """``reader`` tells services apart that share a database: its group's name, say. ``table`` goes into the SQL."""

    def __init__(self, reader: str, dialect: Dialect = Dialect.SQLITE, *, table: str = "lens_bridge_done") -> None:
        if not table.replace("_", "a").replace(".", "a").isalnum():
            raise ValueError(f"{table!r} cannot be the name of a table")
        self.reader = reader
        self._table = table
        self._mark = "?" if dialect is Dialect.SQLITE else "%s"
        self._tail = " WITHOUT ROWID" if dialect is Dialect.SQLITE else ""

    @property
    def schema(self) -> str:
        """The statement that makes the table, for those who keep their schema themselves."""
        return (
            f"CREATE TABLE IF NOT EXISTS {self._table} (reader TEXT NOT NULL, stream TEXT NOT NULL,"
            " session_id TEXT NOT NULL, seq BIGINT NOT NULL, id TEXT NOT NULL, entry_ms BIGINT NOT NULL,"
            f" PRIMARY KEY (reader, stream, session_id, seq, id)){self._tail}"
        )

    def _insert(self, entries: Sequence[Entry]) -> tuple[str, list[Any]]:
        rows = [(self.reader, one.stream, *one.identity, one.entry_ms) for one in entries]
        row = f"({', '.join([self._mark] * 6)})"
        sql = (
            f"INSERT INTO {self._table} (reader, stream, session_id, seq, id, entry_ms)"  # noqa: S608  checked above
            f" VALUES {', '.join([row] * len(rows))} ON CONFLICT DO NOTHING RETURNING stream, session_id, seq, id"
        )
        return sql, [value for one in rows for value in one]

    def _prune(self, stream: str, settled_id: str, keep_seconds: float) -> tuple[str, list[Any]]:
        oldest = int(settled_id.partition("-")[0]) - round(keep_seconds * 1000)
        sql = (
            f"DELETE FROM {self._table} WHERE reader = {self._mark} AND stream = {self._mark}"  # noqa: S608
            f" AND entry_ms < {self._mark}"
        )
        return sql, [self.reader, stream, oldest]

    def _places(self, stream: str) -> tuple[str, list[Any]]:
        sql = (
            f"SELECT session_id, MAX(seq) FROM {self._table}"  # noqa: S608
            f" WHERE reader = {self._mark} AND stream = {self._mark} GROUP BY session_id"
        )
        return sql, [self.reader, stream]


class Ledger(_Statements):
    """For sqlite3, psycopg, and whatever else has ``execute(sql, parameters)`` on its connection or cursor.

    ::

        ledger = Ledger("my-service", Dialect.POSTGRES)
        ledger.create(connection)
        for entry in consumer:
            with connection.transaction():          # sqlite3: with connection:
                if ledger.add(connection, entry):   # False: its work is done already
                    connection.execute("UPDATE …")

    The first thing in the transaction is `add`, so that who waits there has done nothing yet. A member that is frozen
    in the middle of its transaction holds others up for as long as the database lets it: in PostgreSQL set
    ``idle_in_transaction_session_timeout`` to less than ``claim_after_seconds``; a frozen writer of SQLite stops all
    others. SQLite needs 3.35 or newer. Errors of the database are its own.
    """

    def create(self, db: Any) -> None:
        """Make the table where it is not there."""
        db.execute(self.schema)

    def add(self, db: Any, entry: Entry) -> bool:
        """Whether this event is to be worked on, in this transaction; its row stands as soon as that commits."""
        return bool(self.fresh(db, [entry]))

    def fresh(self, db: Any, entries: Iterable[Entry]) -> list[Entry]:
        """Those of a batch that are to be worked on, in this transaction, in their order."""
        listed, added = list(entries), set()
        for part in _parts(listed):
            added |= {tuple(row) for row in db.execute(*self._insert(part)).fetchall()}
        return _those_of(listed, added)

    def prune(self, db: Any, stream: str, settled_id: str, *, keep_seconds: float = 7 * _DAY) -> int:
        """Forget events that no Redis brings again; how many.

        ``settled_id`` is from `Consumer.status`: up to there all is acknowledged. ``keep_seconds``: what was written
        that long before it is kept all the same, since Redis may be restored from a copy that is as old, and what is
        not known then is worked on again.
        """
        return int(db.execute(*self._prune(stream, settled_id, keep_seconds)).rowcount)

    def places(self, db: Any, stream: str) -> Mapping[str, int]:
        """The greatest ``seq`` that was worked on, by session id."""
        return dict(db.execute(*self._places(stream)).fetchall())


class AsyncLedger(_Statements):
    """The same for psycopg's AsyncConnection, aiosqlite, and whatever else has such an ``execute`` to be awaited."""

    async def create(self, db: Any) -> None:
        """As `Ledger.create`."""
        await db.execute(self.schema)

    async def add(self, db: Any, entry: Entry) -> bool:
        """As `Ledger.add`."""
        return bool(await self.fresh(db, [entry]))

    async def fresh(self, db: Any, entries: Iterable[Entry]) -> list[Entry]:
        """As `Ledger.fresh`."""
        listed, added = list(entries), set()
        for part in _parts(listed):
            cursor = await db.execute(*self._insert(part))
            added |= {tuple(row) for row in await cursor.fetchall()}
        return _those_of(listed, added)

    async def prune(self, db: Any, stream: str, settled_id: str, *, keep_seconds: float = 7 * _DAY) -> int:
        """As `Ledger.prune`."""
        return int((await db.execute(*self._prune(stream, settled_id, keep_seconds))).rowcount)

    async def places(self, db: Any, stream: str) -> Mapping[str, int]:
        """As `Ledger.places`."""
        return dict(await (await db.execute(*self._places(stream))).fetchall())


def _parts(listed: Sequence[Entry]) -> Iterable[Sequence[Entry]]:
    """In one order for everybody, so that two members with the same entries never wait for each other crosswise."""
    entries = sorted(listed, key=lambda one: (one.stream, *one.identity))
    return (entries[at : at + _ROWS_PER_STATEMENT] for at in range(0, len(entries), _ROWS_PER_STATEMENT))


def _those_of(entries: Iterable[Entry], added: set[tuple[Any, ...]]) -> list[Entry]:
    """One event may stand twice in a batch, after a rollback of Redis: the first one counts."""
    fresh = []
    for one in entries:
        key = (one.stream, *one.identity)
        if key in added:
            added.discard(key)
            fresh.append(one)
    return fresh
