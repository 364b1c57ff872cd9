"""Keeps the newest result of each session in PostgreSQL, in the order of the events, with asyncio.

One member works at a time, and another one goes on where it stood when it dies: start two of them.

    pip install lens-bridge 'psycopg[binary]'
    export BRIDGE_REDIS__URL=redis://localhost:6379
    python kit_postgres.py 'lens:{camera-1}:events' 'host=localhost dbname=mine'
"""

import asyncio
import os
import sys

import psycopg

from bridge.consumer import AsyncConsumer, AsyncLedger, Dialect, Ended, Event

TABLES = (
    "CREATE TABLE IF NOT EXISTS newest (session_id TEXT PRIMARY KEY, seq BIGINT, n BIGINT, data BYTEA, over BOOLEAN)"
)
NEWEST = """INSERT INTO newest VALUES (%s, %s, 1, %s, false) ON CONFLICT (session_id)
    DO UPDATE SET seq = excluded.seq, n = newest.n + 1, data = excluded.data, over = false"""
# A member that freezes in the middle of its transaction loses it before it loses its entries (30 s).
OPTIONS = "-c idle_in_transaction_session_timeout=10s"


async def main(stream: str, database: str) -> None:
    url = os.environ.get("BRIDGE_REDIS__URL", "redis://localhost:6379")
    ledger = AsyncLedger("newest", Dialect.POSTGRES)
    async with (
        await psycopg.AsyncConnection.connect(database, autocommit=True, options=OPTIONS) as db,
        AsyncConsumer(url, stream, group="newest", in_order=True) as consumer,
    ):
        await db.execute("SELECT pg_advisory_lock(7)")  # two that create a table at once disturb each other
        await ledger.create(db)
        await db.execute(TABLES)
        await db.execute("SELECT pg_advisory_unlock(7)")
        consumer.stop_on_signals()
        async for entry in consumer:
            async with db.transaction():
                if not await ledger.add(db, entry):
                    continue  # its work was done, and whoever did it died before the acknowledgement
                match entry:
                    case Event():
                        await db.execute(NEWEST, [entry.session_id, entry.seq, entry.data])
                    case Ended():
                        await db.execute("UPDATE newest SET over = true WHERE session_id = %s", [entry.session_id])


asyncio.run(main(sys.argv[1], sys.argv[2]))
