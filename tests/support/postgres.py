"""A real PostgreSQL of the tests' own: in a directory of its own, on a Unix socket, gone with the context."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

__all__ = ["postgres_server"]

INSTALLED = Path("/usr/lib/postgresql")
UP_SECONDS = 60.0
FAST = ("-c", "fsync=off", "-c", "listen_addresses=", "-c", "max_connections=50")  # no test loses its machine's power


@contextmanager
def postgres_server() -> Iterator[str]:
    """Gives its connection string. Skips where none is installed, but not where every change has to pass."""
    programs = sorted(INSTALLED.glob("*/bin/initdb"))
    if not programs:
        if os.environ.get("BRIDGE_TEST_CI") == "1":
            pytest.fail("needs PostgreSQL; BRIDGE_TEST_CI=1 says that it is there", pytrace=False)
        pytest.skip("needs PostgreSQL: apt-get install postgresql")
    initdb, server = programs[-1], programs[-1].with_name("postgres")
    directory = Path(tempfile.mkdtemp(prefix="lens-bridge-postgres-"))
    try:
        owner = _not_root(directory)
        data = directory / "data"
        made = [*owner, str(initdb), "-D", str(data), "-U", "tester", "-A", "trust", "--no-sync", "-E", "UTF8"]
        subprocess.run(made, check=True, capture_output=True, cwd=directory, timeout=UP_SECONDS)
        with (directory / "log").open("wb") as log:
            process = subprocess.Popen(
                [*owner, str(server), "-D", str(data), "-k", str(directory), *FAST],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=directory,
                start_new_session=True,
            )
        try:
            address = f"host={directory} user=tester dbname=postgres"
            _wait_for(address, process, directory / "log")
            yield address
        finally:
            process.send_signal(signal.SIGINT)  # a fast stop: it waits for no client
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _wait_for(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + UP_SECONDS
    while True:
        assert process.poll() is None, log.read_text(errors="replace")
        assert time.monotonic() < deadline, f"PostgreSQL did not come up:\n{log.read_text(errors='replace')}"
        try:
            psycopg.connect(address, connect_timeout=2).close()
            return
        except psycopg.OperationalError:
            time.sleep(0.05)


def _not_root(directory: Path) -> list[str]:
    """A prefix for a command line: PostgreSQL runs under no root, and not without its parent (Linux)."""
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        return []
    if os.getuid() != 0:
        return [setpriv, "--pdeathsig", "INT"]
    user = pwd.getpwnam("postgres")
    os.chown(directory, user.pw_uid, user.pw_gid)
    return [setpriv, f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups", "--pdeathsig", "INT"]
