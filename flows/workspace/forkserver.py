"""Processes that have imported slow libraries once, and fork from them in milliseconds what a run starts.

DVC takes half a second to import; torch, its optimizers and scikit-learn take longer than training a small model.
`forkservers` starts a server for each. BSS_FORKSERVERS names the folder of their sockets; where it is not set, or
where nobody answers, a process is started as anywhere. The code of this project is loaded beforehand too, and again
in a fork that finds other files on the disk.
"""

import gc
import importlib
import json
import os
import runpy
import selectors
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from flows.workspace.lifeline import VARIABLE as LIFELINE

FOLDER = "BSS_FORKSERVERS"
LIBRARIES = {
    "dvc": (
        *("dvc.analytics", "dvc.cachemgr", "dvc.cli.parser", "dvc.data_cloud", "dvc.output", "dvc.rwlock", "dvc.scm"),
        *(
            f"dvc.repo.{name}"
            for name in ("artifacts", "datasets", "metrics", "params", "plots", "reproduce", "stage")
        ),
        *("dvc.dependency.param", "dvc.stage", "dvc.utils.strictyaml", "dvc_data.hashfile.db.local"),
        *(
            "dvc_data.hashfile.status",
            "dvc_data.index",
            "dulwich.repo",
            "flatten_dict",
            "fsspec.implementations.memory",
        ),
        *("psutil", "ruamel.yaml", "scmrepo.git"),
    ),
    "stage": (
        *("torch", "torch._dynamo", "sklearn.metrics", "scipy.stats", "polars"),
        *("pydantic.fields", "yaml", "typer", "typer._adapters"),
    ),
}
"""Server -> what it imports first. None of it starts threads of which a fork would miss the work."""
CODE = {
    "dvc": ("bss.files",),
    "stage": ("bss.params", "bss.training.cell", "bss.training.warmup", "bss.evaluation.judging.judgement"),
}
"""Server -> what it loads of this project."""
ROOT = Path(__file__).parents[2]
PROGRAM = """
import sys
sys.path.insert(0, {root!r})
from flows.workspace.forkserver import serve
serve({name!r}, {listener})
"""
SECONDS_TO_END = 3.0
PID = struct.Struct("=i")


@contextmanager
def forkservers(num_stages: int) -> Iterator[None]:
    """Have servers for the length of a block, unless so few stages run that they would not pay.

    Where there are servers already, such as those of a study, they serve this run as well.
    """
    if num_stages < 2 or FOLDER in os.environ:
        yield
        return
    with tempfile.TemporaryDirectory() as folder:
        servers = [start(name, Path(folder)) for name in LIBRARIES]
        os.environ[FOLDER] = folder
        try:
            yield
        finally:
            del os.environ[FOLDER]
            for server in servers:
                server.kill()
                server.wait()


def start(name: str, folder: Path) -> "subprocess.Popen[bytes]":
    """Start a server at the socket `folder / name`; it ends when its standard input does: with this process."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / name))
        listener.listen()  # so that who comes early waits for the imports
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        return subprocess.Popen(
            # In a session of its own Ctrl-C does not reach it.
            [sys.executable, "-P", "-c", PROGRAM.format(root=str(ROOT), name=name, listener=listener.fileno())],
            env=environment,
            stdin=subprocess.PIPE,
            pass_fds=[listener.fileno()],
            start_new_session=True,
        )


@dataclass(frozen=True)
class Fork:
    """A process that a server has forked, of a process group of its own."""

    pid: int
    connection: socket.socket

    def wait(self) -> int:
        """Its exit status, when it has ended; less than 0 where it was killed."""
        with self.connection:
            answer = self.connection.recv(1)
        return answer[0] if answer else -signal.SIGKILL

    def poll(self) -> None:
        """As `Popen.poll`, which reaps a child; the system reaps forks."""


def fork(
    server: str,
    module: str,
    arguments: Sequence[str],
    folder: Path,
    environment: Mapping[str, str],
    streams: list[int],
) -> Fork | None:
    """Have a server do what `python -m module arguments` would; None where no server answers.

    Args:
        server: its name.
        streams: the files that become standard input, output and error.
    """
    if FOLDER not in environment:
        return None
    connection = socket.socket(socket.AF_UNIX)
    order = {
        "module": module,
        "arguments": [*arguments],
        "folder": str(folder.absolute()),  # the server may have been started elsewhere
        "environment": dict(environment),
    }
    try:
        connection.connect(str(Path(environment[FOLDER], server)))
        socket.send_fds(connection, [b"\0"], streams)
        connection.sendall(json.dumps(order).encode() + b"\n")
        (pid,) = PID.unpack(connection.recv(PID.size, socket.MSG_WAITALL))
    except (OSError, struct.error):  # it is gone
        connection.close()
        return None
    return Fork(pid, connection)


def serve(name: str, listening: int) -> None:
    """Fork a process for each connection to a socket, until standard input ends."""
    warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
    sys.path[0] = str(ROOT / "src")
    for library in LIBRARIES[name]:
        importlib.import_module(library)
    loaded = _files(ROOT)  # before it is loaded: what changes meanwhile is loaded again in the forks
    try:
        for module in CODE[name]:
            importlib.import_module(module)
    except Exception:  # each stage says what is wrong with the code as it then is
        loaded = {}
    del sys.path[0]
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the system reaps the forks
    gc.freeze()  # a collection in a fork would copy every page
    with socket.socket(fileno=listening) as listener, selectors.DefaultSelector() as selector:
        selector.register(listener, selectors.EVENT_READ)
        selector.register(sys.stdin, selectors.EVENT_READ)
        while all(key.fileobj is listener for key, _ in selector.select()):
            connection, _ = listener.accept()
            with connection:
                if os.fork() == 0:
                    listener.close()
                    _become(connection, loaded)
    os._exit(0)  # what is frozen is reported as leaked by the bindings of triton


def _files(folder: Path) -> dict[str, tuple[int, int]]:
    """The library of a workspace: file -> the time of its last change, and its size."""
    library = folder / "src/bss"
    states = ((path, path.stat()) for path in library.rglob("*.py"))
    return {str(path.relative_to(library)): (state.st_mtime_ns, state.st_size) for path, state in states}


def _become(connection: socket.socket, loaded: Mapping[str, tuple[int, int]]) -> None:
    """Be the process that a client has asked for, and exit."""
    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    _, streams, _, _ = socket.recv_fds(connection, 1, 3)
    order = json.loads(connection.makefile().readline())
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    connection.sendall(PID.pack(os.getpid()))
    stale = {"flows", "tasks"} if _files(Path(order["folder"])) == loaded else {"flows", "tasks", "bss"}
    for name in [name for name in sys.modules if name.partition(".")[0] in stale]:
        del sys.modules[name]
    if LIFELINE not in order["environment"]:
        threading.Thread(target=_end_with_client, args=[connection], daemon=True).start()
    status = _run(**order)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the client goes when it has the status
    with suppress(OSError):
        connection.sendall(bytes([status & 0xFF]))
    os._exit(status)


def _run(module: str, arguments: list[str], folder: str, environment: dict[str, str]) -> int:
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["", *arguments]
    sys.path[:0] = [folder, *filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return status


def _end_with_client(connection: socket.socket) -> None:
    connection.recv(1)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(SECONDS_TO_END)
    os._exit(1)
