"""A service that reads a stream, as a process: `python -m tests.support.consuming_member` and a JSON object.

For each event it writes a row into its own database. Nothing there keeps two rows of one event apart, so that whoever
looks can count them.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import sys
import time
from dataclasses import asdict, dataclass
from typing import Any

import psycopg

from bridge.consumer import Consumer, Dialect, Entry, Event, Ledger, Limits

__all__ = ["Service", "connected", "prepare"]

LIMITS = Limits(
    claim_after_seconds=1.0, block_seconds=0.2, retry_seconds=0.05, backoff_max_seconds=0.3, max_deliveries=999
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """``place`` is where it keeps what it has worked on: in the ``transaction`` of the work, or ``nowhere``.

    ``dies``: it kills itself at its third event, ``before`` the commit or ``behind`` it.
    """

    url: str
    stream: str
    group: str
    dialect: Dialect
    database: str
    in_order: bool = False
    batch: int = 1
    place: str = "transaction"
    dies: str = ""

    def command(self) -> list[str]:
        """How it is started."""
        return [sys.executable, "-m", "tests.support.consuming_member", json.dumps(asdict(self))]


def connected(service: Service) -> Any:
    """A connection whose ``with`` block is a transaction."""
    if service.dialect is Dialect.SQLITE:
        return sqlite3.connect(service.database, timeout=120)
    # Who freezes in the middle of a transaction loses it, and not only its turn.
    return psycopg.connect(service.database, options="-c idle_in_transaction_session_timeout=1500", autocommit=True)


def prepare(service: Service) -> None:
    """Make the tables of a service."""
    number = "INTEGER PRIMARY KEY" if service.dialect is Dialect.SQLITE else "BIGSERIAL PRIMARY KEY"
    connection = connected(service)
    connection.execute(f"CREATE TABLE effects_{service.group} (n {number}, session_id TEXT, seq BIGINT, id TEXT)")
    _ledger(service).create(connection)
    connection.commit()
    connection.close()


def main() -> None:
    """Read until SIGTERM."""
    given = json.loads(sys.argv[1])
    service = Service(**given | {"dialect": Dialect(given["dialect"])})
    connection, ledger = connected(service), _ledger(service)
    mark = "?" if service.dialect is Dialect.SQLITE else "%s"
    effect = f"INSERT INTO effects_{service.group} (session_id, seq, id) VALUES ({mark}, {mark}, {mark})"
    events = 0
    with Consumer(service.url, service.stream, service.group, in_order=service.in_order, limits=LIMITS) as consumer:
        consumer.stop_on_signals()
        for batch in consumer.batches(service.batch):
            with connection if service.dialect is Dialect.SQLITE else connection.transaction():
                fresh: list[Entry] = ledger.fresh(connection, batch) if service.place == "transaction" else batch
                for entry in fresh:
                    if isinstance(entry, Event):
                        connection.execute(effect, (entry.session_id, entry.seq, entry.id))
                        events += 1
                if service.dies == "before" and events >= 3:
                    os.kill(os.getpid(), signal.SIGKILL)
            if service.dies == "behind" and events >= 3:
                os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(random.uniform(0, 0.004))  # so that some die between work and acknowledgement


def _ledger(service: Service) -> Ledger:
    return Ledger(service.group, service.dialect)


if __name__ == "__main__":
    main()
