"""Counts events by type in SQLite: each of them once, whoever is killed. Start as many of it as you like.

pip install lens-bridge
BRIDGE_REDIS__URL=redis://localhost:6379 python kit_sqlite.py 'lens:{camera-1}:events' counts.db
"""

import os
import sqlite3
import sys

from bridge.consumer import Consumer, Event, Gap, Ledger

stream, database = sys.argv[1], sys.argv[2]
url = os.environ.get("BRIDGE_REDIS__URL", "redis://localhost:6379")

db = sqlite3.connect(database, timeout=60)
ledger = Ledger("counting")
ledger.create(db)
db.execute("CREATE TABLE IF NOT EXISTS counts (type TEXT PRIMARY KEY, n INTEGER NOT NULL)")

with Consumer(url, stream, group="counting") as consumer:
    consumer.stop_on_signals()  # SIGTERM and SIGINT end the loop behind the batch that is being worked on
    for batch in consumer.batches(100):
        with db:  # one transaction: the work, and that it is done
            for entry in ledger.fresh(db, batch):
                match entry:
                    case Event():
                        db.execute(
                            "INSERT INTO counts VALUES (?, 1) ON CONFLICT (type) DO UPDATE SET n = n + 1", [entry.type]
                        )
                    case Gap():
                        print(f"events may be missing in {entry.session_id}: {entry.reason}", file=sys.stderr)
        # acknowledged when the loop asks for the next batch
    ledger.prune(db, stream, consumer.status().settled_id)
    db.commit()
