"""A process that has imported the slow libraries once, and forks a stage from them in milliseconds.

Importing torch, its optimizers and scikit-learn takes longer than training a small model. Where BSS_FORKSERVER
names the socket of such a server, a stage's process hands its work over and waits; elsewhere it works by itself.
Only libraries are imported beforehand, never bss, so that a stage always runs the code that lies on the disk.
"""

import importlib
import json
import os
import runpy
import selectors
import signal
import socket
import sys
import threading
import time
import traceback
import warnings
from contextlib import suppress
from typing import Any

ADDRESS = "BSS_FORKSERVER"
SLOW = ("torch", "torch._dynamo", "lightning_fabric", "sklearn.metrics", "scipy.stats", "pydantic", "yaml", "typer")
"""Safe to fork once imported. polars is not: its thread pool would be lost."""


SECONDS_TO_END = 3.0
KILLED = 128 + signal.SIGKILL
"""The exit code of a stage that was killed, as a shell has it."""


def serve(address: str) -> None:
    """Fork a stage for each connection, until standard input ends: with the process that started the server."""
    warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
    for name in SLOW:
        importlib.import_module(name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the system reaps the forks
    with socket.socket(socket.AF_UNIX) as listener, selectors.DefaultSelector() as selector:
        listener.bind(address)
        listener.listen()
        selector.register(listener, selectors.EVENT_READ)
        selector.register(sys.stdin, selectors.EVENT_READ)
        while all(key.fileobj is listener for key, _ in selector.select()):
            connection, _ = listener.accept()
            with connection:
                if os.fork() == 0:
                    _become_stage(connection)


def delegate() -> int | None:
    """Have the server fork this stage, and wait; the exit code of the fork, or None where there is no server."""
    if ADDRESS not in os.environ:
        return None
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(os.environ[ADDRESS])
        except OSError:  # not up yet, or gone: the stage works by itself
            return None
        socket.send_fds(connection, [b"\0"], [0, 1, 2])
        connection.sendall(json.dumps(_order()).encode() + b"\n")
        answer = connection.recv(1)
    return answer[0] if answer else KILLED


def _order() -> dict[str, Any]:
    environment = {name: value for name, value in os.environ.items() if name != ADDRESS}
    module = sys.modules["__main__"].__spec__
    return {
        "module": module.name if module else "",
        "arguments": sys.argv,
        "path": sys.path,
        "folder": os.getcwd(),  # noqa: PTH109 - it travels as text
        "environment": environment,
    }


def _become_stage(connection: socket.socket) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    _, streams, _, _ = socket.recv_fds(connection, 1, 3)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    order = json.loads(connection.makefile().readline())
    threading.Thread(target=_end_with_client, args=[connection], daemon=True).start()
    status = _run(order)
    with suppress(OSError):
        connection.sendall(bytes([status]))
    os._exit(status)


def _run(order: dict[str, Any]) -> int:
    os.chdir(order["folder"])
    os.environ.clear()
    os.environ.update(order["environment"])
    sys.argv, sys.path = order["arguments"], order["path"]
    for name in [name for name in sys.modules if name.partition(".")[0] == "tasks"]:
        del sys.modules[name]
    try:
        runpy.run_module(order["module"], run_name="__main__", alter_sys=True)
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
