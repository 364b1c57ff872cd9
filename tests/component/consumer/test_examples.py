"""The examples of a service with the kit are programs that work, and that a SIGTERM ends in good order."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psycopg
import redis

from bridge.lab.redis_server import RedisServer
from tests.support.consuming import STREAM, add, add_events, eventually
from tests.support.worker import ROOT, python_environment

EXAMPLES = ROOT / "config" / "examples" / "consumers"


def run(name: str, server: RedisServer, database: str, done: Callable[[], bool]) -> str:
    """Two of it, one killed as soon as something is done; what the other one said on standard error."""
    environment = python_environment() | {"BRIDGE_REDIS__URL": server.url}
    command = [sys.executable, str(EXAMPLES / name), STREAM, database]
    both = [subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    try:
        eventually(done, "all is worked on", timeout=60)
        eventually(lambda: heeds_sigterm(both[1].pid), "the other one has begun as well", timeout=60)
        both[0].send_signal(signal.SIGKILL)
        both[0].communicate(timeout=60)
        both[1].send_signal(signal.SIGTERM)
        _, said = both[1].communicate(timeout=60)
        assert both[1].returncode == 0, said
        return said
    finally:
        for one in both:
            one.kill()
            one.communicate()


def heeds_sigterm(pid: int) -> bool:
    """Whether it has a handler; taken for granted where the system does not tell."""
    status = Path(f"/proc/{pid}/status")
    if not status.exists():
        return True
    caught = next(line for line in status.read_text().splitlines() if line.startswith("SigCgt:"))
    return bool(int(caught.split()[1], 16) & 1 << (signal.SIGTERM - 1))


def rows(database: Path | str, sql: str) -> list[tuple[object, ...]]:
    """Of either database; none as long as the table is not there."""
    try:
        if isinstance(database, Path):
            connection = sqlite3.connect(database, timeout=60)
            try:
                return connection.execute(sql).fetchall()
            finally:
                connection.close()
        with psycopg.connect(database) as other:
            return list(other.execute(sql.encode()).fetchall())
    except (sqlite3.OperationalError, psycopg.errors.UndefinedTable):
        return []


def test_sqlite_counts_each_event_once(redis_server: RedisServer, client: redis.Redis, tmp_path: Path) -> None:
    """Also those that come again after a rollback, under other entry ids."""
    add_events(client, 250)
    add(client, 250, id="bridge-gap-1", type="bridge.gap", data='{"reason": "no_cursor"}')
    add_events(client, 100, first=151)
    database = tmp_path / "counts.db"

    def done() -> bool:
        groups = {one["name"]: one for one in client.xinfo_groups(STREAM)} if client.exists(STREAM) else {}
        group = groups.get(b"counting", {})
        newest = client.xinfo_stream(STREAM)["last-generated-id"]
        return bool(group.get("pending") == 0 and group["last-delivered-id"] == newest)

    run("kit_sqlite.py", redis_server, str(database), done)
    assert rows(database, "SELECT type, n FROM counts") == [("inference.result", 250)]


def test_postgres_keeps_the_newest_in_order(redis_server: RedisServer, client: redis.Redis, postgres: str) -> None:
    """And learns of the end."""
    add_events(client, 60)
    add(client, 60, id="bridge-session.ended-1", type="bridge.session.ended", data='{"reason": "destroyed"}')
    query = "SELECT seq, n, over FROM newest"
    run("kit_postgres.py", redis_server, postgres, lambda: rows(postgres, query) == [(60, 60, True)])
    assert rows(postgres, query) == [(60, 60, True)]
