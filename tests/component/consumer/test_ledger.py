"""What was worked on is known in the user's own database: SQLite and a real PostgreSQL."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from pathlib import Path
from typing import Any

import psycopg
import pytest

from bridge.consumer import AsyncLedger, Dialect, Event, Ledger
from tests.support.consuming import eventually

DIALECTS = [Dialect.SQLITE, Dialect.POSTGRES]


def event(seq: int, *, id: str = "", entry_id: str = "", **fields: Any) -> Event:
    """As it comes from a stream."""
    given: dict[str, Any] = {
        "stream": "s",
        "session_id": "lsn-1",
        "type": "t",
        "data": b"{}",
        "received_at": 1.0,
    } | fields
    return Event(entry_id=entry_id or f"{1000 + seq}-0", id=id or f"id-{seq}", seq=seq, **given)


class Database:
    """One of either kind."""

    def __init__(self, dialect: Dialect, address: str) -> None:
        self.dialect, self.address = dialect, address
        self.ledger = Ledger("my-service", dialect, table=f"done_{time.monotonic_ns()}")
        with self.connected() as connection:
            self.ledger.create(connection)

    def connected(self) -> Any:
        """A connection that commits at the end of a ``with`` block, and rolls back where an exception leaves it."""
        if self.dialect is Dialect.SQLITE:
            return sqlite3.connect(self.address, timeout=60)
        return psycopg.connect(self.address)


@pytest.fixture(params=DIALECTS)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    """With an empty ledger."""
    dialect: Dialect = request.param
    postgres = dialect is Dialect.POSTGRES
    return Database(dialect, request.getfixturevalue("postgres") if postgres else str(tmp_path / "service.db"))


def added(database: Database, *entries: Event) -> list[int]:
    """The numbers of those that were new, in a transaction of its own."""
    with database.connected() as connection:
        return [one.seq for one in database.ledger.fresh(connection, entries)]


def test_an_event_is_new_once(database: Database) -> None:
    """Also when it comes again under another entry id, alone or twice in one batch."""
    assert added(database, event(1), event(2)) == [1, 2]
    assert added(database, event(2), event(3, entry_id="9-9"), event(3)) == [3]
    with database.connected() as connection:
        assert not database.ledger.add(connection, event(1, entry_id="7777-0"))
        assert database.ledger.places(connection, "s") == {"lsn-1": 3}


def test_a_transaction_that_is_rolled_back_leaves_no_trace(database: Database) -> None:
    """The work was not done, so the event is new."""

    def fails() -> None:
        with database.connected() as connection:
            assert database.ledger.add(connection, event(1))
            raise KeyError

    with pytest.raises(KeyError):
        fails()
    assert added(database, event(1)) == [1]


def test_sessions_streams_and_readers_do_not_know_each_other(database: Database) -> None:
    """A shared stream has many sessions, a database many services."""
    assert added(database, event(1), event(1, session_id="lsn-2"), event(1, stream="t")) == [1, 1, 1]
    other = Ledger("other-service", database.dialect, table=database.ledger._table)
    with database.connected() as connection:
        assert other.add(connection, event(1))


def test_a_number_that_went_to_another_event_hides_none(database: Database) -> None:
    """As when Redis came back empty while no worker lived: it has another id. An id that comes again has another
    number, where a server began to count anew."""
    assert added(database, event(1), event(2)) == [1, 2]
    assert added(database, event(1, id="new-1"), event(2, id="new-2"), event(3, id="id-1")) == [1, 2, 3]


def test_a_dead_letter_that_was_published_is_told_by_its_id_alone(database: Database) -> None:
    """After a rollback it may get another number."""
    assert added(database, event(5, id="letter", dead_letter="1-0")) == [5]
    assert added(database, event(7, id="letter", dead_letter="1-0")) == []


def test_large_batches_are_taken_in_parts(database: Database) -> None:
    """Databases take so many values in a statement."""
    many = [event(seq) for seq in range(1, 1201)]
    assert added(database, *many) == list(range(1, 1201))
    assert added(database, *many, event(1201)) == [1201]


def test_rows_are_locked_in_one_order_whatever_that_of_the_entries(database: Database) -> None:
    """Over statements too: else two members with the same entries would wait for each other crosswise."""
    many = [event(seq) for seq in range(1, 1201)]
    orders = []
    for entries in (many, many[::-1]):
        with database.connected() as connection:
            told = Told(connection)
            assert database.ledger.fresh(told, entries) == entries
            orders.append(told.values)
            connection.rollback()
    assert orders[0] == orders[1]


class Told:
    """A connection, and the values that it was given."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.values: list[Any] = []

    def execute(self, sql: str, values: list[Any]) -> Any:
        self.values += values
        return self._connection.execute(sql, values)


def test_of_two_that_work_on_one_event_at_the_same_time_one_commits(database: Database) -> None:
    """The other one waits at `add`, and learns that it is done."""
    told: list[bool] = []
    began = threading.Event()

    def second() -> None:
        with database.connected() as connection:
            began.set()
            told.append(database.ledger.add(connection, event(1)))

    with database.connected() as connection:
        assert database.ledger.add(connection, event(1))
        thread = threading.Thread(target=second)
        thread.start()
        assert began.wait(60)
        thread.join(0.3)
        assert not told
    thread.join(60)
    assert told == [False]


def test_it_takes_the_place_of_one_whose_transaction_fails(database: Database) -> None:
    """Who waited at `add` is told that the event is new."""
    told: list[bool] = []

    def second() -> None:
        with database.connected() as connection:
            told.append(database.ledger.add(connection, event(1)))

    thread = threading.Thread(target=second)

    def fails() -> None:
        with database.connected() as connection:
            assert database.ledger.add(connection, event(1))
            thread.start()
            raise KeyError

    with pytest.raises(KeyError):
        fails()
    thread.join(60)
    eventually(lambda: told == [True], "it is worked on")


def test_what_is_long_settled_is_forgotten(database: Database) -> None:
    """By Redis's own clock, which wrote the entry ids; what is pending or young stays."""
    assert added(database, *(event(seq, entry_id=f"{seq * 1000}-0") for seq in range(1, 11))) == list(range(1, 11))
    with database.connected() as connection:
        assert database.ledger.prune(connection, "s", "8000-5", keep_seconds=3) == 4
        assert database.ledger.prune(connection, "t", "8000-5", keep_seconds=0) == 0
    assert added(database, *(event(seq) for seq in range(1, 11))) == [1, 2, 3, 4]


def test_asyncio_has_the_same(postgres: str) -> None:
    """With psycopg's connection of that kind."""

    async def check() -> None:
        ledger = AsyncLedger("my-service", Dialect.POSTGRES, table="done_asyncio")
        async with await psycopg.AsyncConnection.connect(postgres) as connection:
            await ledger.create(connection)
            await connection.commit()
            async with connection.transaction():
                assert await ledger.add(connection, event(1))
                assert [one.seq for one in await ledger.fresh(connection, [event(1), event(2)])] == [2]
                assert await ledger.places(connection, "s") == {"lsn-1": 2}
                assert await ledger.prune(connection, "s", "9999-0", keep_seconds=0) == 2

    asyncio.run(check())


def test_a_table_is_a_name_and_no_statement() -> None:
    """It stands in the SQL as it is."""
    with pytest.raises(ValueError, match="name of a table"):
        Ledger("my-service", table="x; DROP TABLE y")
