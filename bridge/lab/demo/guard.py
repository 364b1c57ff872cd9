"""Ends what a demo has started when the demo itself was killed. A process of its own, run by its path.

    python -I guard.py REDIS_PID REDIS_DIRECTORY

It leads the process group of the demo's workers and waits for its standard input to end, which the kernel does when
the demo dies, whatever from. A demo that ends in good order kills its guard first.
"""

import contextlib
import os
import shutil
import signal
import sys


def main() -> None:
    """Wait, then leave nothing behind."""
    redis_pid, directory = int(sys.argv[1]), sys.argv[2]
    sys.stdin.buffer.read()
    with contextlib.suppress(ProcessLookupError):
        os.kill(redis_pid, signal.SIGKILL)
    shutil.rmtree(directory, ignore_errors=True)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main()
