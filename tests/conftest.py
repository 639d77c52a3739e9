"""Fixtures that several test files share."""

import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from tests.workspace import ROOT


@pytest.fixture(scope="session")
def forkserver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a running fork server, so that a stage starts in milliseconds."""
    address = tmp_path_factory.mktemp("forkserver") / "socket"
    program = f"from tasks.forkserver import serve; serve({str(address)!r})"
    server = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdin=subprocess.PIPE)
    deadline = time.monotonic() + 60
    while not address.exists():
        assert server.poll() is None, "the fork server died"
        assert time.monotonic() < deadline, "the fork server is not up after a minute"
        time.sleep(0.1)
    yield str(address)
    assert server.stdin is not None
    server.stdin.close()
    assert server.wait(timeout=20) == 0
