"""Starts the fork server of `tasks/_forkserver.py` for the length of one run."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PROGRAM = "import sys; from tasks._forkserver import serve; serve(sys.argv[1])"


@contextmanager
def forkserver(num_stages: int) -> Iterator[dict[str, str]]:
    """The environment with which stages find the server; empty where too few run for it to pay.

    Where the environment names a server already, such as that of a comparison, it serves this run as well. A stage
    that starts before the server is up works by itself.
    """
    if num_stages < 2 or not Path("tasks/_forkserver.py").exists():
        yield {}
        return
    from tasks._forkserver import ADDRESS

    if ADDRESS in os.environ:
        yield {}
        return
    with tempfile.TemporaryDirectory() as folder:
        address = str(Path(folder) / "socket")
        # In a session of its own Ctrl-C does not reach it. Where this run is killed, its standard input ends.
        server = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, address], stdin=subprocess.PIPE, start_new_session=True
        )
        try:
            yield {ADDRESS: address}
        finally:
            server.kill()
            server.wait()
